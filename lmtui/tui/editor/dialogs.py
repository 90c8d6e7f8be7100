"""Dialogs of the editor: replacements for a word, and the most surprising words.

`lmtui.editing.surprises` finds the surprising words. Knows no engine and no editor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui.editing import surprises
from lmtui.editing.positions import location_of
from lmtui.editing.surprises import SurprisingWord, most_surprising
from lmtui.engine.types import Replacement
from lmtui.errors import LmtuiError
from lmtui.notation import LN2, count, difference, in_bits, percent
from lmtui.text import visible, visible_line, visible_token
from lmtui.tui.background import run_in_thread
from lmtui.tui.widgets.cells import clip, clusters, limit_combining, pad_to
from lmtui.tui.widgets.dialog_list import DialogList

ASKING = "Asking the model…"
NOTHING = "The model has nothing to put there."
LEGEND = """\
Δ log P: by how many nats what follows gets more (+) or less (−) likely.
Rare, yet about 0 or +: it may be right. Far below 0: it does not fit."""
_WAITING = "Esc closes · Enter works once the words are there"
_REPLACEMENTS_FOOT = "Enter replaces the word · Esc cancels"
_WIDEST = 24  # most cells of a word
_AHEAD = 80
_PROBABILITY, _CHANGE = "probability", " Δ log P"

EMPTY = "Nothing is scored yet; come back once the model has read the text."
_SURPRISES_FOOT = "Enter goes there · i ignores the word from now on · Esc closes"
_BEFORE = 16  # cells of text shown before a word
_WORD = 30
_AFTER = 80


class ReplacementsScreen(ModalScreen[Replacement | None]):
    """A list of replacements, the most probable first. Returns the chosen one."""

    HELP = """\
Each word is shown with its probability given the text before it, and with how the model
would continue after it. ● marks the word in the text.
"""
    CSS_PATH = "replacements.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="replacements.close",
                tooltip="Leave the text as it is."),
    ]  # fmt: skip

    def __init__(self, present: str) -> None:
        super().__init__()
        self._present = present
        self._listed: tuple[Replacement, ...] = ()
        self._state = ASKING
        self._early = 0  # cursor movement requested before the list has arrived

    def compose(self) -> ComposeResult:
        word = clip(visible_line(self._present), _WIDEST)
        with Vertical(id="dialog"):
            yield Static(Content(f"In place of “{word}”"), id="title")
            yield Static(id="heads", markup=False)
            yield DialogList(id="list")
            yield Static(id="legend", markup=False)
            yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        """Show that the model is asked, or its answer if that has arrived."""
        self._draw()
        self.query_one(DialogList).focus()

    def show(self, replacements: Sequence[Replacement]) -> None:
        """Show the replacements that the model found."""
        self._listed, self._state = tuple(replacements), NOTHING
        self._draw()

    def show_progress(self, done: int, total: int) -> None:
        """Show how many of the words are scored."""
        self._state = f"{ASKING} {done} of {total} words are scored"
        self._draw()

    def show_error(self, error: LmtuiError) -> None:
        """Show why the model can't answer."""
        parts = (f"{error}.", error.hint)
        self._listed, self._state = (), visible(" ".join(filter(None, parts)))
        self._draw()

    def _draw(self) -> None:
        if not self.query(DialogList):
            return  # the answer came before the widgets were mounted
        heads, lines = replacement_rows(self._listed, self._present)
        rows = self.query_one(DialogList)
        rows.clear_options()
        rows.add_options([Option(line) for line in lines])
        rows.display = self.query_one("#heads").display = bool(lines)
        self._tell("#heads", heads)
        self._tell("#legend", LEGEND if lines else self._state)
        waiting = _WAITING if self._state == ASKING else "Esc closes"
        self._tell("#foot", _REPLACEMENTS_FOOT if lines else waiting)
        if lines:
            rows.highlighted = min(self._early, len(lines) - 1)

    def _tell(self, where: str, words: str) -> None:
        self.query_one(where, Static).update(Content(words))

    def on_key(self, event: events.Key) -> None:
        """Remember Up and Down pressed before the list has arrived. Nothing is selected
        then: Enter must not take a word that the user has not seen."""
        if self._state == ASKING and event.key in ("up", "down"):
            event.stop()
            self._early = max(0, self._early + (1 if event.key == "down" else -1))

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._listed[event.option_index])

    def action_close(self) -> None:
        self.dismiss(None)


def replacement_rows(
    replacements: Sequence[Replacement], present: str
) -> tuple[str, list[Content]]:
    """Return the headings and a row for each replacement, with a dot at the present
    word."""
    words = [clip(visible_token(each.text), _WIDEST) for each in replacements]
    width = max(map(cell_len, words), default=0)
    heads = f"  {'':<{width}}  {_PROBABILITY}  {_CHANGE}  goes on"
    lines = []
    for each, word in zip(replacements, words, strict=True):
        is_there = each.text == present
        prob = percent(math.exp(each.logprob))
        lines.append(
            Content.assemble(
                ("● " if is_there else "  ", "$accent"),
                (pad_to(word, width), "bold"),
                f"  {prob:>{len(_PROBABILITY)}}  ",
                f"{change_words(each.change):>{len(_CHANGE)}}  ",
                (clip(visible_line(each.ahead.replace("\n", "⏎")), _AHEAD), "$quiet"),
            )
        )
    return heads, lines


def change_words(change: float | None) -> str:
    """Convert a change of surprisal in bits to a change of log P in nats, as text; 0
    has no sign."""
    return difference(None if change is None else -change * LN2)


class SurprisesScreen(ModalScreen[SurprisingWord | None]):
    """A list of up to twenty words, the most surprising first. Returns the one to go
    to."""

    HELP = """\
Surprisal in bits says how unlikely the word was: each bit halves its probability. Rank
1 is the model's first choice. Both are those of the token in the text; the panel sums
over all ways to tokenise the same letters, so its rank can differ. An ignored word is
skipped in every text.
"""
    CSS_PATH = "surprises.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (28, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "ignore", "Ignore", id="surprises.ignore",
                tooltip="Ignore this word, here and in every text from now on."),
        Binding("escape", "close", "Close", id="surprises.close",
                tooltip="Back to the text."),
    ]  # fmt: skip

    def __init__(self, text: str, places: Sequence[SurprisingWord]) -> None:
        super().__init__()
        self._text = text
        self._places = list(places)
        self._listed: list[SurprisingWord] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content("What surprised the model most"), id="title")
            yield Static(Content(EMPTY), id="empty")
            yield DialogList(id="list")
            yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        self._list()
        self.query_one(DialogList).focus()

    def _list(self) -> None:
        self._listed = most_surprising(self._places)
        rows = self.query_one(DialogList)
        at = rows.highlighted or 0
        rows.clear_options()
        lines = surprise_rows(self._text, self._listed)
        rows.add_options([Option(line) for line in lines])
        rows.display = bool(lines)
        self.query_one("#empty").display = not lines
        foot = _SURPRISES_FOOT if lines else "Esc closes"
        self.query_one("#foot", Static).update(Content(foot))
        if lines:
            rows.highlighted = min(at, len(lines) - 1)

    @property
    def _place(self) -> SurprisingWord | None:
        at = self.query_one(DialogList).highlighted
        return None if at is None else self._listed[at]

    @on(OptionList.OptionSelected)
    def take(self) -> None:
        self.dismiss(self._place)

    def action_ignore(self) -> None:
        """Remove the word from the list, and save it among the ignored words."""
        if (place := self._place) is None:
            return
        word = place.word
        self._places = [each for each in self._places if each.word != word]
        self._list()

        shown = clip(visible_line(word), _WORD)
        not_saved = LmtuiError(
            f"“{shown}” is ignored this time only", "it could not be saved."
        )

        def work() -> None:
            if not surprises.ignore(word):
                raise not_saved

        def warn(error: LmtuiError) -> None:
            self.notify(str(error), severity="warning", markup=False)

        run_in_thread(
            work, self.call_later, then=lambda _: None, failed=warn, bug=not_saved
        )

    def action_close(self) -> None:
        self.dismiss(None)


def surprise_rows(text: str, places: Sequence[SurprisingWord]) -> list[Content]:
    """Return a row for each word: location, surprisal and rank, the word in its
    line."""
    where = [":".join(map(str, location_of(text, place.start))) for place in places]
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


def _surroundings(text: str, surprise: SurprisingWord) -> tuple[tuple[str, str], ...]:
    """Return the text before the word in its line, the word, and the text after it. All
    words are aligned."""
    start = max(surprise.start - 2 * _BEFORE, text.rfind("\n", 0, surprise.start) + 1)
    end = text.find("\n", surprise.end)
    end = min(surprise.end + _AFTER, len(text) if end < 0 else end)
    word = visible_token(text[surprise.start : surprise.end][: 16 * _WORD])
    return (
        (_tail(visible_line(text[start : surprise.start]), _BEFORE), "$quiet"),
        (clip(word, _WORD), "bold underline"),
        (clip(visible_line(text[surprise.end : end]), _AFTER), "$quiet"),
    )


def _tail(text: str, width: int) -> str:
    """Return the end of a text in exactly `width` cells, after `…` where it is cut."""
    text = limit_combining(text)
    if cell_len(text) <= width:
        return " " * (width - cell_len(text)) + text
    taken = ""
    for cluster in reversed(list(clusters(text))):
        if cell_len(cluster + taken) > width - 1:
            break
        taken = cluster + taken
    return " " * (width - 1 - cell_len(taken)) + "…" + taken
