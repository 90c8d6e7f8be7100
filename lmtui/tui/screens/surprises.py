"""The words that surprised the model the most, to go to or to ignore.

Owns the list and which word is passed over from now on. Which places there are is
`edit.surprises`'. Knows no engine and no editor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui.edit import words
from lmtui.edit.positions import place_of
from lmtui.edit.surprises import Place, most_surprising
from lmtui.notation import count, in_bits
from lmtui.text import visible_line, visible_token
from lmtui.tui.aside import aside
from lmtui.tui.widgets.cells import clip, clusters, tame
from lmtui.tui.widgets.dialog_list import DialogList

EMPTY = "Nothing is scored yet: once the model has read the text, come again."
_FOOT = "Enter goes there · i ignores the word from now on · Esc closes"
_BEFORE = 16  # cells of the text that are shown before a word
_WORD = 30
_AFTER = 80


class SurprisesScreen(ModalScreen[Place | None]):
    """Up to twenty places, the most surprising first. Answers the one to go to."""

    HELP = """\
Surprisal in bits says how unlikely the word was: each bit halves its probability. Rank
1 would have been the model's own first choice. Both are of the text's own token; the
panel sums over all ways to cut the same letters, so its rank may be another one. A word
that is ignored is passed over in every text.
"""
    CSS_PATH = "surprises.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (28, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "ignore", "Ignore", id="surprises.ignore",
                tooltip="Pass this word over, here and in every text from now on."),
        Binding("escape", "close", "Close", id="surprises.close",
                tooltip="Back to the text."),
    ]  # fmt: skip

    @dataclass
    class Ignored(Message):
        """A word was put among those to ignore, or could not be."""

        word: str
        remembered: bool

    def __init__(self, text: str, places: Sequence[Place]) -> None:
        super().__init__()
        self._text = text
        self._places = list(places)
        self._listed: list[Place] = []

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Vertical(id="dialog"):
            yield Static(Content("What surprised the model most"), id="title")
            yield Static(Content(EMPTY), id="empty")
            yield DialogList(id="list")
            yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        """List the places."""
        self._list()
        self.query_one(DialogList).focus()

    def _list(self) -> None:
        self._listed = most_surprising(self._places)
        rows = self.query_one(DialogList)
        at = rows.highlighted or 0
        rows.clear_options()
        lines = rows_of(self._text, self._listed)
        rows.add_options([Option(line) for line in lines])
        rows.display = bool(lines)
        self.query_one("#empty").display = not lines
        foot = _FOOT if lines else "Esc closes"
        self.query_one("#foot", Static).update(Content(foot))
        if lines:
            rows.highlighted = min(at, len(lines) - 1)

    @property
    def _place(self) -> Place | None:
        at = self.query_one(DialogList).highlighted
        return None if at is None else self._listed[at]

    @on(OptionList.OptionSelected)
    def take(self) -> None:
        """Go there."""
        self.dismiss(self._place)

    def action_ignore(self) -> None:
        """Take the word from the list, and remember that."""
        if (place := self._place) is None:
            return
        word = place.word
        self._places = [each for each in self._places if each.word != word]
        self._list()

        def work() -> Message:
            return self.Ignored(word, words.ignore(word))

        aside(work, self.post_message, otherwise=self.Ignored(word, False))

    @on(Ignored)
    def tell_ignored(self, event: Ignored) -> None:
        """Say where it will not last."""
        if not event.remembered:
            shown = clip(visible_line(event.word), _WORD)
            self.notify(
                f"“{shown}” is passed over only now: it could not be remembered.",
                severity="warning",
                markup=False,
            )

    def action_close(self) -> None:
        """Go nowhere."""
        self.dismiss(None)


def rows_of(text: str, places: Sequence[Place]) -> list[Content]:
    """A line for each place: where it is, its numbers, and the word in its line."""
    where = [":".join(map(str, place_of(text, place.start))) for place in places]
    width = max(map(len, where), default=0)
    return [
        Content.assemble(
            (f"{at:>{width}}  ", "$quiet"),
            f"{in_bits(place.bits):>5} bits  ",
            (f"rank {count(place.rank):<7}  ", "$quiet"),
            *_surroundings(text, place),
        )
        for at, place in zip(where, places, strict=True)
    ]


def _surroundings(text: str, place: Place) -> tuple[tuple[str, str], ...]:
    """What is before the word in its line, the word, and what is behind it; the words
    of all places stand below each other."""
    start = max(place.start - 2 * _BEFORE, text.rfind("\n", 0, place.start) + 1)
    end = text.find("\n", place.end)
    end = min(place.end + _AFTER, len(text) if end < 0 else end)
    word = visible_token(text[place.start : place.end][: 16 * _WORD])
    return (
        (_tail(visible_line(text[start : place.start]), _BEFORE), "$quiet"),
        (clip(word, _WORD), "bold underline"),
        (clip(visible_line(text[place.end : end]), _AFTER), "$quiet"),
    )


def _tail(text: str, width: int) -> str:
    """The end of a text in exactly `width` cells, after `…` where it is not all."""
    text = tame(text)
    if cell_len(text) <= width:
        return " " * (width - cell_len(text)) + text
    taken = ""
    for cluster in reversed(list(clusters(text))):
        if cell_len(cluster + taken) > width - 1:
            break
        taken = cluster + taken
    return " " * (width - 1 - cell_len(taken)) + "…" + taken
