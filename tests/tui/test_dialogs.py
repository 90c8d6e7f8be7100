"""Questions: every way out by letter and by list, and none taken by accident."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events
from textual.widgets import Input

from lmtui.tui.dialogs import Choice, ConfirmDialog
from tests.tui.hosts import HOSTILE, Host, safe, until

CHOICES = (
    Choice("o", "Overwrite", "put your text in its place"),
    Choice("r", "Reload", "take the file's text"),
    Choice("c", "Cancel", "go on writing"),
)
TIMES = ("as opened    2026-03-01 12:00:00", "on disk now  2026-03-01 12:00:05")


KEYS = st.sampled_from([*"aorc Ox?", "é", "paste", "up", "down", "home", "f5"])


class Asker(Host):
    """Asks, and keeps the answer."""

    def __init__(self, *details: str, asked: bool = False) -> None:
        super().__init__(Input())
        self._details, self._asked = details, asked
        self.answers: list[str | None] = []

    def on_mount(self) -> None:
        self.ask(*self._details)

    def ask(self, *details: str) -> None:
        title = "The file has changed"
        question = ConfirmDialog(
            title, details, CHOICES, harmless="c", asked=self._asked
        )
        self.push_screen(question, self.answers.append)

    @property
    def written(self) -> str:
        assert isinstance(self.widget, Input)
        return self.widget.value


def send(app: Asker, keys: Iterable[str]) -> str:
    """Have keys come without a wait between them; the text that they type."""
    typed = ""
    for key in keys:
        words = "pasted" if key == "paste" else key if len(key) == 1 else ""
        event = (
            events.Paste(words) if key == "paste" else events.Key(key, words or None)
        )
        app.post_message(event)
        typed += words
    return typed


@settings(max_examples=20, deadline=None)
@given(
    before=st.lists(KEYS, max_size=12),
    last=st.sampled_from(["enter", "escape"]),
    after=st.lists(st.sampled_from([*"aorc ", "paste"]), max_size=12),
)
def test_all_that_is_typed_around_an_unasked_dialog_is_in_the_field_in_order(
    before: list[str], last: str, after: list[str]
) -> None:
    async def run() -> None:
        app = Asker(*TIMES)
        async with app.run_test(size=(80, 24)) as pilot:
            typed = send(app, [*before, last, *after])
            while not app.answers or len(app.written) < len(typed):
                await pilot.pause(0.001)
            assert app.written == typed
            if last == "escape" or not {"up", "down", "home"} & {*before}:
                assert app.answers == ["c"]

    asyncio.run(run())


async def test_unasked_dialog_shows_no_letters() -> None:
    async with Asker(*TIMES).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        assert isinstance(app, Asker)
        lines = [line.strip("│ ") for line in app.text().splitlines()]
        for start in ("Overwrite", "Reload", "Esc  Cancel"):
            assert any(line.startswith(start) for line in lines)


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ("escape", "c"),
        ("enter", "c"),
        ("up enter", "r"),
        ("up up enter", "o"),
        ("o r enter", "c"),
        ("x up S tab enter", "r"),
    ],
)
async def test_unasked_dialog_is_answered_from_its_list(keys: str, answer: str) -> None:
    app = Asker(*TIMES)
    async with app.run_test(size=(80, 24)) as pilot:
        *before, last = keys.split()
        await pilot.press(*before)
        assert app.answers == []
        await pilot.press(last)
        assert app.answers == [answer]
        assert app.written == "".join(key for key in before if len(key) == 1)


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ("o", "o"),
        ("r", "r"),
        ("escape", "c"),
        ("enter", "c"),
        ("up enter", "r"),
        ("x S tab r", "r"),
        ("c up r", "r"),
    ],
)
async def test_asked_dialog_takes_its_letters_at_once(keys: str, answer: str) -> None:
    app = Asker(*TIMES, asked=True)
    async with app.run_test(size=(80, 24)) as pilot:
        send(app, keys.split())
        await until(pilot, lambda: app.answers)
        assert app.answers == [answer]
        assert app.written == ""


@pytest.mark.parametrize("size", [(80, 24), (40, 14)])
async def test_confirm_dialog_shows_its_details_and_every_choice(
    size: tuple[int, int],
) -> None:
    app = Asker("/home/a/note.md", *TIMES)
    async with app.run_test(size=size):
        labels = [choice.label for choice in CHOICES]
        for words in ("The file has changed", "/home/a/note.md", *TIMES, *labels):
            assert words in app.text()


async def test_confirm_dialog_wraps_choices_where_there_is_room() -> None:
    app = Asker(*TIMES)
    async with app.run_test(size=(36, 24)):
        assert "…" not in app.text()


async def test_confirm_dialog_draws_hostile_names_safely() -> None:
    app = Asker(*TIMES)
    async with app.run_test(size=(40, 16)) as pilot:
        for name, words in HOSTILE.items():
            await pilot.press("escape")
            app.ask(words)
            await until(pilot, lambda: "Reload" in app.text())
            assert safe(app.text()), name
        assert app.answers == ["c"] * len(HOSTILE)
