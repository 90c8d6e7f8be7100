"""Dialogs of the editor: replacements for a word, and the most surprising words.

`lmtui.editing.surprises` finds the surprising words. Knows no engine and no editor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content

from lmtui.editing import surprises
from lmtui.editing.positions import location_of
from lmtui.editing.surprises import SurprisingWord, most_surprising
from lmtui.engine.types import Replacement
from lmtui.errors import LmtuiError
from lmtui.notation import LN2, count, difference, in_bits, percent
from lmtui.text import visible, visible_line, visible_token
from lmtui.tui.background import run_in_thread
from lmtui.tui.picker import Picker, PickerRows
from lmtui.tui.widgets.cells import clip, clusters, limit_combining, pad_to

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


class ReplacementsScreen(Picker[Replacement, Replacement]):
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
        self._present = present
        self._early = 0  # cursor movement requested before the list has arrived
        self._waits = True
        word = clip(visible_line(present), _WIDEST)
        super().__init__(f"In place of “{word}”", _no_rows(ASKING, _WAITING))

    def show(self, replacements: Sequence[Replacement]) -> None:
        """Show the replacements that the model found."""
        self._waits = False
        if not replacements:
            self.show_rows(_no_rows(NOTHING))
            return
        heads, lines = replacement_rows(replacements, self._present)
        self.show_rows(
            PickerRows(
                replacements,
                lines,
                heads=heads,
                note=LEGEND,
                foot=_REPLACEMENTS_FOOT,
                at=self._early,
            )
        )

    def show_progress(self, done: int, total: int) -> None:
        """Show how many of the words are scored."""
        words = f"{ASKING} {done} of {total} words are scored"
        self.show_rows(_no_rows(words, _WAITING))

    def show_error(self, error: LmtuiError) -> None:
        """Show why the model can't answer."""
        self._waits = False
        parts = (f"{error}.", error.hint)
        self.show_rows(_no_rows(visible(" ".join(filter(None, parts)))))

    def on_key(self, event: events.Key) -> None:
        """Remember Up and Down pressed before the list has arrived. Nothing is selected
        then: Enter must not take a word that the user has not seen."""
        if self._waits and event.key in ("up", "down"):
            event.stop()
            self._early = max(0, self._early + (1 if event.key == "down" else -1))


def _no_rows(note: str, foot: str = "Esc closes") -> PickerRows[Replacement]:
    return PickerRows((), (), note=note, foot=foot)


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


class SurprisesScreen(Picker[SurprisingWord, SurprisingWord]):
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

    def __init__(self, text: str, words: Sequence[SurprisingWord]) -> None:
        self._text, self._words = text, list(words)
        super().__init__("What surprised the model most", self._listed())

    def _listed(self) -> PickerRows[SurprisingWord]:
        words = most_surprising(self._words)
        if not words:
            return PickerRows((), (), note=EMPTY)
        return PickerRows(words, surprise_rows(self._text, words), foot=_SURPRISES_FOOT)

    def action_ignore(self) -> None:
        """Remove the word from the list, and save it among the ignored words."""
        if self.marked is None:
            return
        word = self.marked.word
        self._words = [each for each in self._words if each.word != word]
        self.show_rows(self._listed())

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
