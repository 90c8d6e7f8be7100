"""Keys: each is named and explained, and the user's own take their place."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from textual.app import App
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import TextArea

from lmtui.cli.config import config
from lmtui.config.load import load
from lmtui.errors import LmtuiError
from lmtui.tui.keys import Bound, all_bound, user_keys


class Base(Screen[None]):
    """What two screens share."""


class First(Base):
    """A screen."""


class Second(Base):
    """Another screen."""


class Field(TextArea):
    """Where one writes."""


class Choice(Widget):
    """Where one chooses."""


class Program(App[None]):
    """What holds them."""


def bound(
    id: str, *keys: str, owner: type[DOMNode] = First, priority: bool = False
) -> Bound:
    """Something that a key does."""
    return Bound(id, keys, "act", id.title(), "It does.", owner, priority)


BOUND = (
    bound("app.help", "f1", owner=Program),
    bound("app.quit", "ctrl+q", owner=Program, priority=True),
    bound("base.panel", "f2", owner=Base),
    bound("first.more", "ctrl+r"),
    bound("first.less", "ctrl+g", "ctrl+o"),
    bound("second.more", "ctrl+r", owner=Second),
    bound("field.line", "ctrl+j", owner=Field),
    bound("list.open", "enter", owner=Choice),
)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"first.more": "f5,ctrl+b"},
        {"first.more": "ctrl+g", "first.less": "ctrl+r"},
        {"first.more": "f2", "base.panel": "f5"},
        {"first.more": "f9", "second.more": "f9"},
        {"second.more": "ctrl+g"},
        {"first.more": "x"},
        {"list.open": "ctrl+r"},
        {"first.less": "ctrl+o,ctrl+g"},
    ],
)
def test_user_keys_take_every_usable_key(wanted: dict[str, str]) -> None:
    assert user_keys(wanted, bound=BOUND) == user_keys(wanted, bound=reversed(BOUND))
    found = user_keys(wanted, bound=BOUND)
    assert found.keymap == wanted
    assert found.notices == ()


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("Ctrl+R", "ctrl+r"),
        ("Shift + F5", "shift+f5"),
        ("shift+ctrl+f7", "ctrl+shift+f7"),
        ("?", "question_mark"),
        ("question_mark", "question_mark"),
        ("N", "N"),
        ("shift+n", "N"),
        ("ctrl+space", "ctrl+@"),
        ("plus", "plus"),
        ("F5, f9", "f5,f9"),
    ],
)
def test_user_keys_accept_common_spellings(written: str, means: str) -> None:
    assert user_keys({"first.more": written}, bound=BOUND).keymap == {
        "first.more": means
    }


@pytest.mark.parametrize(
    ("wanted", "notice"),
    [
        (
            {"first.mor": "f5"},
            "first.mor: there is no such action; did you mean first.",
        ),
        ({"\x1b[2J": "f5"}, "␛[2J: there is no such action"),
        ({"first.more": "esc"}, "first.more: “esc” is no key; did you mean escape?"),
        ({"first.more": "cntrl+x"}, "first.more: “cntrl+x” is no key"),
        ({"first.more": "\x1b"}, "first.more: “␛” is no key"),
        ({"first.more": ""}, "first.more: “” is no key"),
        ({"first.more": "f5,,f6"}, "first.more: “” is no key"),
        ({"first.more": "ctrl+"}, "first.more: “ctrl+” is no key"),
        ({"first.more": "ctrl+o"}, "first.more: ctrl+o is taken by first.less (First"),
        ({"first.more": "f2"}, "first.more: f2 is taken by base.panel (Base.Panel)"),
        ({"base.panel": "ctrl+g"}, "base.panel: ctrl+g is taken by first.less"),
        ({"first.more": "f1"}, "first.more: f1 is taken by app.help"),
        ({"app.help": "ctrl+r"}, "app.help: ctrl+r is taken by first.more"),
        ({"first.more": "tab"}, "first.more: tab is taken by Textual (Focus Next)"),
        ({"first.more": "enter"}, "first.more: enter is taken by Textual (Submit)"),
        ({"first.more": "ctrl+i"}, "first.more: tab is taken by Textual"),
        ({"first.more": "ctrl+y"}, "first.more: ctrl+y is taken by Textual (Redo)"),
        ({"app.help": "ctrl+y"}, "app.help: ctrl+y is taken by Textual (Redo)"),
        ({"first.more": "ctrl+j"}, "first.more: ctrl+j is taken by field.line"),
        ({"field.line": "ctrl+r"}, "field.line: ctrl+r is taken by first.more"),
        ({"field.line": "ctrl+k"}, "field.line: ctrl+k is taken by Textual"),
        ({"field.line": "x"}, "field.line: x is needed for typing text"),
        ({"app.quit": "q"}, "app.quit: q is needed for typing text"),
    ],
)
def test_unusable_user_key_is_one_notice(wanted: dict[str, str], notice: str) -> None:
    found = user_keys(wanted | {"second.more": "f12"}, bound=BOUND)
    assert found.keymap == {"second.more": "f12"}
    (told,) = found.notices
    assert told.startswith(notice)


def test_first_of_two_actions_gets_the_key_both_want() -> None:
    wanted = {"first.more": "f9", "first.less": "f9"}
    found = user_keys(wanted, bound=BOUND)
    assert found.keymap == {"first.more": "f9"}
    assert found.notices == ("first.less: f9 is taken by first.more (First.More)",)


def test_user_key_that_was_not_freed_is_refused() -> None:
    # The panel can't move, so what wanted its key can't have it.
    wanted = {"first.more": "f2", "base.panel": "tab"}
    found = user_keys(wanted, bound=BOUND)
    assert found.keymap == {}
    assert len(found.notices) == 2


def test_a_key_that_is_passed_on_can_be_shared() -> None:
    field = bound("field.drop", "f9", owner=Field)
    passing = replace(field, passed_on=True)
    for wanted in ({"first.more": "f9"}, {"field.drop": "ctrl+r"}):
        assert not user_keys(wanted, bound=(*BOUND, field)).keymap
        assert user_keys(wanted, bound=(*BOUND, passing)).keymap == wanted


def test_key_of_another_screen_is_free() -> None:
    for wanted in ({"editor.select-all": "ctrl+r"}, {"chat.regenerate": "alt+a"}):
        assert user_keys(wanted).keymap == wanted
    for wanted in ({"editor.select-all": "ctrl+s"}, {"file.save": "alt+a"}):
        assert not user_keys(wanted).keymap


def test_keys_in_help_and_hints_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("keys = 3", encoding="utf-8")
    with pytest.raises(LmtuiError) as refused:
        load(environment={}, file=file)
    for text in (config.__doc__ or "", refused.value.hint):
        told = re.findall(r'"([a-z.-]+)" = "([a-z0-9+,]+)"', text)
        assert len(told) == 1, text
        assert user_keys(dict(told)).keymap == dict(told)


def test_every_binding_is_named_and_explained() -> None:
    everything = all_bound()
    assert len(everything) > 30
    for item in everything:
        assert item.id and item.name and item.what, (item.owner, item.keys)


def test_binding_ids_are_unique() -> None:
    times = Counter(item.id for item in all_bound())
    assert [id for id, count in times.items() if count > 1] == []


@pytest.mark.parametrize("item", all_bound(), ids=lambda item: item.id)
def test_every_built_in_key_could_be_written_into_the_settings(item: Bound) -> None:
    found = user_keys({item.id: ",".join(item.keys)})
    assert found.keymap == {item.id: ",".join(item.keys)}
