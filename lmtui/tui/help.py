"""The help screen, generated from the bindings of the screen below it.

Texts come from the bindings, and from the `HELP` of each screen and widget. Knows no
screen by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import on
from textual.actions import parse
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from lmtui.tui.keys import Bound, bound_to
from lmtui.tui.widgets.plain_text import PlainLine, PlainText


@dataclass
class Section:
    title: str
    text: str = ""
    bound: list[Bound] = field(default_factory=list)


class HelpScreen(ModalScreen[None]):
    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Close", id="help.close",
                tooltip="Leave the search; else back to where you were."),
        Binding("slash", "find", "Search", id="help.find",
                tooltip="Show only the keys and texts with these words."),
    ]  # fmt: skip
    COMPONENT_CLASSES: ClassVar[set[str]] = {"help--key", "help--name", "help--what"}

    def __init__(self, about: Screen[object], keymap: Mapping[str, str]) -> None:
        super().__init__()
        self._sections = sections(about)
        self._keymap = keymap

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Input(id="words", placeholder="/ searches keys and words")
            with VerticalScroll(id="sections"):
                for section in self._sections:
                    yield PlainLine(section.title, classes="title")
                    yield Static(classes="keys")
                    yield PlainText(section.text, classes="text")
            yield PlainLine("/ search · ↑ ↓ scroll · Esc closes", id="foot")

    def on_mount(self) -> None:
        self._show("")
        self.query_one("#sections").focus()

    @on(Input.Changed)
    def search(self, event: Input.Changed) -> None:
        self._show(event.value)

    @on(Input.Submitted)
    def focus_sections(self) -> None:
        self.query_one("#sections").focus()

    def action_find(self) -> None:
        self.query_one(Input).focus()

    def action_leave(self) -> None:
        field = self.query_one(Input)
        if not (field.value or field.has_focus):
            self.dismiss()
            return
        field.value = ""
        self.focus_sections()

    def _show(self, text: str) -> None:
        words = text.casefold().split()

        def matches(*texts: str) -> bool:
            searched = " ".join(texts).casefold()
            return all(word in searched for word in words)

        kinds = (self.query(f".{kind}") for kind in ("title", "keys", "text"))
        for section, title, keys, paragraph in zip(self._sections, *kinds, strict=True):
            bound = [
                item
                for item in section.bound
                if matches(self._keys(item), item.name, item.what)
            ]
            keys.display = bool(bound)
            fits = matches(section.title, section.text)
            paragraph.display = bool(section.text) and fits
            title.display = keys.display or paragraph.display
            assert isinstance(keys, Static)
            keys.update(self._table(bound))

    def _table(self, bound: list[Bound]) -> Table:
        key, name, what = (
            self.get_component_rich_style(f"help--{part}", partial=True)
            for part in ("key", "name", "what")
        )
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(width=16)
        table.add_column(width=18)
        table.add_column(ratio=1)
        for item in bound:
            parts = ((self._keys(item), key), (item.name, name), (item.what, what))
            table.add_row(*(Text(text, style) for text, style in parts))
        return table

    def _keys(self, item: Bound) -> str:
        keys = self._keymap.get(item.id, ",".join(item.keys)).split(",")
        displayed = (self.app.get_key_display(Binding(key, "")) for key in keys)
        return " or ".join(dict.fromkeys(displayed))


def sections(screen: Screen[object]) -> list[Section]:
    """Return the sections of the help, beginning with the widget that has the focus. A
    screen with `help_terms`, lines of text, has a section for them, the first one.

    A key is listed if it does something now: its action is enabled, and its widget is
    shown and can have the focus. Over a dialog only the app's keys with priority work.
    """
    app = screen.app
    of_app = [item for item in bound_to(type(app)) if item.priority]
    everywhere = of_app if screen.is_modal else bound_to(type(app))
    here = [*_working(screen), *(item for item in everywhere if _works(app, item))]
    by_class: dict[type[DOMNode], Section] = {}
    focusable = {n for w in screen.focus_chain for n in w.ancestors_with_self}
    for widget in screen.walk_children(with_self=False):
        if not _is_shown(widget):
            continue
        keys = _working(widget) if widget in focusable else []
        owner = type(_node_with_help(widget))
        if (keys or _help(widget)) and owner not in by_class:
            by_class[owner] = Section(_title(owner), _help(_node_with_help(widget)))
        if keys and keys[0] not in by_class[owner].bound:
            by_class[owner].bound += keys
    focused = screen.focused
    first = by_class.pop(type(_node_with_help(focused)), None) if focused else None
    terms = getattr(screen, "help_terms", "")
    glossary = [Section("Words", terms)] if terms else []
    section = Section("Here", _help(screen), here)
    return [*glossary, *([first] if first else []), section, *by_class.values()]


def _working(node: DOMNode) -> list[Bound]:
    return [item for item in bound_to(type(node)) if _works(node, item)]


def _works(node: DOMNode, item: Bound) -> bool:
    _, name, parameters = parse(item.action)
    return all(each.check_action(name, parameters) for each in (node, node.app))


def _is_shown(widget: DOMNode) -> bool:
    return all(node.display for node in widget.ancestors_with_self)


def _node_with_help(widget: DOMNode) -> DOMNode:
    """Return the nearest node with a `HELP` from the widget outwards, or itself."""
    for node in widget.ancestors_with_self:
        if isinstance(node, App | Screen):
            break
        if _help(node):
            return node
    return widget


def _help(node: DOMNode) -> str:
    if not type(node).__module__.startswith("lmtui."):
        return ""
    return " ".join((node.HELP or "").split())


def _title(owner: type[DOMNode]) -> str:
    """Return the `HELP_TITLE` of a class, or its name in words: `Probability panel`."""
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", owner.__name__).capitalize()
    title: str = getattr(owner, "HELP_TITLE", words)
    return title
