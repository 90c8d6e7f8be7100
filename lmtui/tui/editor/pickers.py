"""Dialogs of the editor: replacements for a word, corrections of the text, and its
most surprising words.

`lmtui.editing.surprises` finds the surprising words. Knows no engine and no editor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content

from lmtui.editing.corrections import ProofreadText
from lmtui.editing.positions import location_of
from lmtui.editing.surprises import SurprisingWord, most_surprising
from lmtui.engine.document.types import Correction, Replacement, ReplacementList
from lmtui.errors import LmtuiError
from lmtui.notation import LN2, counted, in_bits, percent, rank, surprisal
from lmtui.text import visible_line, visible_token
from lmtui.tui.picker import Picker, PickerRows
from lmtui.tui.widgets.cells import clip, clusters, limit_combining, pad_to
from lmtui.tui.widgets.dialog_list import DialogList

ASKING = "Asking the model…"
NOTHING = "The model has nothing to put there."
LEGEND = """\
Surprisal in bits, lower is better: of the word, of the text that follows,
and of both together. ● marks the word in the text."""
_WAITING = "Esc closes · Enter works once the words are there"
_REPLACEMENTS_FOOT = "Enter replaces the word · Esc cancels"
_WIDEST = 24  # most cells of a word
_AHEAD = 80
_COLUMNS = f"{'word':>7}  {'follows':>7}  {'sum':>7}"

NO_CORRECTIONS = "The model would change nothing here."
CORRECTION_LIMITS = (
    "Finds misspelt and confused words; not style, missing words, facts."
)
_CORRECTIONS_FOOT = "a apply · A all but ? · i ignore · n next · Enter there"
_DROPPED = "(dropped)"
_READING, _STOPPED = "reading", "stopped"

SURPRISES = "What surprised the model most"
EMPTY = "Nothing is scored yet; the words come here as they are scored."
_SURPRISES_FOOT = "Enter goes there · Esc closes"
_BEFORE = 16  # cells of text shown before a word
_WORD = 30
_AFTER = 80


class ReplacementsScreen(Picker[Replacement]):
    """A list of replacements, the most probable together with the text that follows
    first. Returns the chosen one."""

    HELP = """\
Three columns are surprisal in bits; lower is better, and each bit halves a probability.
“word” is that of the word, given the text before it. “follows” is that of the text that
follows, up to 64 tokens of it, given the word. “sum” adds both: a word with a lower sum
than yours (●) makes the text more probable to the model, which does not make it right.
“goes on” is how the model would continue after the word.
"""
    CSS_PATH = "replacements.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]  # noqa: RUF012 (as the base's)

    def __init__(self, present: str) -> None:
        self._present = present
        self._early_moves = 0  # cursor movement requested before the list has arrived
        self._is_waiting = True
        word = clip(present, _WIDEST)
        super().__init__(f"In place of “{word}”", _no_rows(ASKING, _WAITING))

    def show(self, listed: ReplacementList) -> None:
        """Show the replacements that are known by now; the mark stays on its word where
        that is still there."""
        asking = ""
        if not listed.is_complete:
            asking = f"{ASKING} {percent(listed.done / listed.total)}"
        replacements, index = listed.rows, self._early_moves
        self._is_waiting = bool(asking) and not replacements
        if not replacements:
            self.show_rows(_no_rows(asking, _WAITING) if asking else _no_rows(NOTHING))
            return
        foot = " · ".join(filter(None, (asking, _REPLACEMENTS_FOOT)))
        if self.is_mounted and self.marked is not None:
            word = self.marked.text
            same = (i for i, row in enumerate(replacements) if row.text == word)
            index = next(same, 0)
        heads, lines = replacement_rows(replacements, self._present)
        self.show_rows(
            PickerRows(
                replacements, lines, heads=heads, note=LEGEND, foot=foot, at=index
            )
        )

    def show_error(self, error: LmtuiError) -> None:
        self._is_waiting = False
        parts = (f"{error}.", error.hint)
        self.show_rows(_no_rows(" ".join(filter(None, parts))))

    def on_key(self, event: events.Key) -> None:
        """Remember Up and Down pressed before the list has arrived. Nothing is selected
        then: Enter must not take a word that the user has not seen."""
        if self._is_waiting and event.key in ("up", "down"):
            event.stop()
            self._early_moves = max(
                0, self._early_moves + (1 if event.key == "down" else -1)
            )


def _no_rows(note: str, foot: str = "Esc closes") -> PickerRows[Replacement]:
    return PickerRows((), (), note=note, foot=foot)


def replacement_rows(
    replacements: Sequence[Replacement], present: str
) -> tuple[str, list[Content]]:
    words = [clip(visible_token(row.text), _WIDEST) for row in replacements]
    width = max(map(cell_len, words), default=0)
    heads = f"  {'':<{width}}  {_COLUMNS}  goes on"
    lines = []
    for row, word in zip(replacements, words, strict=True):
        is_there = row.text == present
        total = row.total if row.is_scored else None
        parts = (row.logprob, row.following, total)
        figures = "  ".join(f"{surprisal(part):>7}" for part in parts)
        lines.append(
            Content.assemble(
                ("● " if is_there else "  ", "$accent"),
                (pad_to(word, width), "bold"),
                f"  {figures}  ",
                (clip(row.ahead.replace("\n", "⏎"), _AHEAD), "$quiet"),
            )
        )
    return heads, lines


class CorrectionsScreen(Picker[Correction]):
    """A list of corrections that grows while the text is read. Returns the one to go
    to."""

    HELP = """\
Rules and a dictionary propose what may be meant: for words that are misspelt, written
for each other (its and it's, then and than) or at odds with their neighbours (they was,
have went). The model decides; gains says by how many bits a change lowers the surprisal
of the word and of what follows, earlier changes taken as made. Quotations, code, names
and other languages are left alone; missing words, style and wrong facts are not looked
for, and a small model does not see every slip.
a applies one change, A all but those marked ?, of which the program is not sure; Ctrl+Z
undoes either. An ignored change is not listed again in this reading. While the text
stays, the same key opens the list again, and reading goes on where Esc stopped it.
"""
    CSS_PATH = "corrections.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (28, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "apply", "Apply", id="corrections.apply",
                tooltip="Put this one correction into the text; Ctrl+Z undoes it."),
        Binding("A", "apply_all", "Apply all", id="corrections.apply-all",
                tooltip="Put all rows without ? into the text; one Ctrl+Z undoes it."),
        Binding("i", "ignore", "Ignore", id="corrections.ignore",
                tooltip="List this change no more in this reading."),
        Binding("n", "next", "Next in text", id="corrections.next",
                tooltip="Show the marked place in the text, then the next one."),
    ]  # fmt: skip

    def __init__(
        self,
        proofread: ProofreadText,
        apply: Callable[[Sequence[Correction]], object],
        show: Callable[[Correction], object],
        *,
        stop: Callable[[], object],
    ) -> None:
        """`apply` puts corrections into the text, `show` moves the text to one, `stop`
        ends the reading."""
        self._proofread = proofread
        self._apply, self._show_in_text, self._stop_reading = apply, show, stop
        self._shown_correction: Correction | None = None
        self._status = "" if proofread.is_read else _READING
        super().__init__("Corrections by the model", self._picker_rows())

    def show(self) -> None:
        if self._proofread.is_read and self._status == _READING:
            self._status = ""
        self.show_rows(self._picker_rows())

    def stopped(self) -> None:
        self._status = _STOPPED
        self.show()

    def show_error(self, error: LmtuiError) -> None:
        self._status = f"{error}. {error.hint}"
        self.show()

    def action_apply(self) -> None:
        if self.marked is not None:
            self._apply([self.marked])
            self.show()

    def action_apply_all(self) -> None:
        if sure := [each for each in self.items if each.is_sure]:
            self._apply(sure)
        self.show()

    def action_ignore(self) -> None:
        if self.marked is not None:
            self._proofread.ignore(self.marked)
            self.show()

    def action_next(self) -> None:
        if self.marked is None:
            return
        option_list = self.query_one(DialogList)
        if self.marked == self._shown_correction:
            option_list.action_cursor_down()
        self._shown_correction = self.marked
        self._show_in_text(self.marked)

    def action_close(self) -> None:
        if self._status == _READING:
            self._stop_reading()
            self.stopped()
        else:
            super().action_close()

    def _picker_rows(self) -> PickerRows[Correction]:
        proofread, rows = self._proofread, tuple(self._proofread.corrections)
        closing = f"Esc {'stops' if self._status == _READING else 'closes'}"
        return PickerRows(
            rows,
            correction_rows(proofread, rows),
            heads=_CORRECTION_HEADS if rows else "",
            note=self._note(),
            foot=f"{_CORRECTIONS_FOOT} · {closing}" if rows else closing,
        )

    def _note(self) -> str:
        proofread = self._proofread
        if self._status not in ("", _READING, _STOPPED):  # an error
            return self._status
        if proofread.is_read and not proofread.found:
            return f"{NO_CORRECTIONS}\n{CORRECTION_LIMITS}"
        left, applied = proofread.corrections, len(proofread.applied)
        ignored = len(proofread.found) - applied - len(left)
        unsure = sum(not each.is_sure for each in left)
        parts = (
            self._status,
            f"{percent(proofread.share)} of the text read" * (not proofread.is_read),
            counted(len(left), "correction") + f", {unsure} unsure" * bool(unsure),
            f"{applied} applied" * bool(applied),
            f"{ignored} ignored" * bool(ignored),
        )
        return f"{' · '.join(filter(None, parts))}\n{CORRECTION_LIMITS}"


_CORRECTION_HEADS = f"{'gains':>10}  {'at':<9}   change"


def correction_rows(
    proofread: ProofreadText, corrections: Sequence[Correction]
) -> list[Content]:
    changes = [
        (_short(proofread.original(each)), _short(each.text) or _DROPPED)
        for each in corrections
    ]
    width = max((cell_len(old + new) for old, new in changes), default=0)
    rows = []
    for correction, (old, new) in zip(corrections, changes, strict=True):
        start, end = proofread.span(correction)
        line, column = location_of(proofread.current, start)
        rows.append(
            Content.assemble(
                f"{in_bits(correction.gain / LN2):>5} bits  ",
                (f"{f'{line}:{column}':<9} ", "$quiet"),
                "  " if correction.is_sure else "? ",
                (old, "bold"),
                (" → ", "$quiet"),
                (pad_to(new, width - cell_len(old)), "bold $accent"),
                (f"   {_context(proofread.current, start, end)}", "$quiet"),
            )
        )
    return rows


def _short(text: str) -> str:
    return clip(text.strip(), _WORD)


def _context(text: str, start: int, end: int) -> str:
    line = text.rfind("\n", 0, start) + 1
    first = max(line, start - _BEFORE)
    after = text[end : end + _AFTER].partition("\n")[0]
    cut = "…" if first > line else ""
    return clip(cut + text[first:end] + after, _AFTER)


class SurprisesScreen(Picker[SurprisingWord]):
    """A list of up to twenty words, the most surprising first, which grows while the
    text is scored. Returns the one to go to."""

    HELP = """\
Surprisal in bits says how unlikely the word was: each bit halves its probability. Rank
1 is the model's first choice. Both are those of the token in the text; the panel sums
over all ways to tokenise the same letters, so its rank can differ.
"""
    CSS_PATH = "surprises.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (28, "-high")]  # noqa: RUF012 (as the base's)

    def __init__(
        self, text: str, words: Sequence[SurprisingWord], part: str = ""
    ) -> None:
        """`part` names the part of the text whose words these are; "" for all of it."""
        self._text, self._words = text, list(words)
        super().__init__(SURPRISES + part, self._picker_rows())

    def show(self, words: Sequence[SurprisingWord], part: str) -> None:
        highlighted = self.marked if self.is_mounted else None
        self._words = list(words)
        rows = self._picker_rows()
        starts = [word.start for word in rows.items]
        if highlighted is not None and highlighted.start in starts:
            rows = replace(rows, at=starts.index(highlighted.start))
        self.show_rows(rows, title=SURPRISES + part)

    def _picker_rows(self) -> PickerRows[SurprisingWord]:
        words = most_surprising(self._words)
        if not words:
            return PickerRows((), (), note=EMPTY)
        return PickerRows(words, surprise_rows(self._text, words), foot=_SURPRISES_FOOT)


def surprise_rows(text: str, words: Sequence[SurprisingWord]) -> list[Content]:
    locations = [":".join(map(str, location_of(text, word.start))) for word in words]
    width = max(map(len, locations), default=0)
    return [
        Content.assemble(
            (f"{location:>{width}}  ", "$quiet"),
            f"{in_bits(word.bits):>5} bits  ",
            (f"rank {rank(word.rank):<7}  ", "$quiet"),
            *_surroundings(text, word),
        )
        for location, word in zip(locations, words, strict=True)
    ]


def _surroundings(text: str, surprise: SurprisingWord) -> tuple[tuple[str, str], ...]:
    start = max(surprise.start - 2 * _BEFORE, text.rfind("\n", 0, surprise.start) + 1)
    end = text.find("\n", surprise.end)
    end = min(surprise.end + _AFTER, len(text) if end < 0 else end)
    word = visible_token(text[surprise.start : surprise.end][: 16 * _WORD])
    return (
        (_tail(visible_line(text[start : surprise.start]), _BEFORE), "$quiet"),
        (clip(word, _WORD), "bold underline"),
        (clip(text[surprise.end : end], _AFTER), "$quiet"),
    )


def _tail(text: str, width: int) -> str:
    """Return the end of a text in exactly `width` cells, after `…` where it is cut."""
    text = limit_combining(text)
    if cell_len(text) <= width:
        return " " * (width - cell_len(text)) + text
    tail = ""
    for cluster in reversed(list(clusters(text))):
        if cell_len(cluster + tail) > width - 1:
            break
        tail = cluster + tail
    return " " * (width - 1 - cell_len(tail)) + "…" + tail
