"""Two status texts of the editor: the prediction at the cursor, and the file line.

Names from outside have control characters made visible. Knows no file and no screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmtui.engine.document.types import CursorPrediction
from lmtui.notation import (
    NONE,
    counted,
    difference,
    log_prob,
    part_of_tokens,
    percent,
    probability,
    surprisal,
)
from lmtui.text import visible_line, visible_token
from lmtui.tui.widgets.cells import Forms, clip, fit_best
from lmtui.tui.widgets.styled_lines import Line, StyledLines

_WORD = 16  # cells of a word


class ExpectedLines(StyledLines):
    HELP = """\
The probability of the typed part of the word, and the row of the panel that the text
continues with. The same letters can be tokenised in several ways: p and rank here are
summed over all of them, while the heat map, F8 and Ctrl+L show the rank of the token in
the text. "not searched" bounds the probability of the ways that were not searched.
"""
    DEFAULT_CSS = """
    ExpectedLines { height: 2; color: $quiet; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._prediction: CursorPrediction | None = None
        self._at_end = False

    def show(
        self, prediction: CursorPrediction | None, *, at_end: bool = False
    ) -> None:
        """Show a prediction, or none; `at_end`: the cursor is at the end of the
        text."""
        self._prediction, self._at_end = prediction, at_end
        self.renew()
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        if self._prediction is None:
            return []
        following = following_forms(self._prediction, at_end=self._at_end)
        forms = (typed_forms(self._prediction), following)
        return [[(fit_best(form, width)[0], "")] for form in forms]


def typed_forms(prediction: CursorPrediction) -> Forms:
    logprob = prediction.typed_logprob
    if not prediction.typed or logprob is None:
        return (("typed: nothing of the next word",), ("typed: nothing",))
    word, short = (f"“{word}”" for word in _long_and_short(prediction.typed))
    if prediction.typed == " ":
        word = short = "a space"
    if prediction.is_mostly_unlisted:
        return ((f"typed: {word} is not listed",), (f"typed: {short} not listed",))
    prob, in_bits = percent(math.exp(min(0.0, logprob))), surprisal(logprob)
    left = percent(prediction.unexplored)
    return (
        (f"typed: {word} p {prob} ({in_bits} bits)", f"{left} not searched"),
        (f"typed: {word} p {prob} ({in_bits} bits)",),
        (f"typed: {word} {in_bits} bits",),
        (f"typed: {short} {in_bits} bits",),
    )


def following_forms(prediction: CursorPrediction, *, at_end: bool) -> Forms:
    following = prediction.following
    if following is None:
        return (("follows: end of text" if at_end else "follows: not searched",),)
    word, short = _long_and_short(following.candidate.text)
    prob, rank = probability(following.candidate.logprob), f"rank {following.rank:,}"
    return (
        (f"follows: “{word}” p {prob}", f"{rank} over all cuts"),
        (f"follows: “{word}” p {prob}", rank),
        (f"follows: “{short}” p {prob}", rank),
        (f"follows: “{short}”", rank),
    )


def _long_and_short(text: str) -> tuple[str, str]:
    visible = visible_token(text)
    return clip(visible, _WORD), clip(visible, _WORD // 2)


@dataclass(frozen=True, slots=True)
class FileStatus:
    name: str = ""
    modified: bool = False
    read_only: bool = False
    change: str = ""
    """What another program did to the file; "" for nothing."""
    endings: str = "LF"
    """The line endings: LF, CRLF, CR or mixed."""
    encoding: str = "UTF-8"
    bom: bool = False
    line: int = 1
    column: int = 1
    words: int = 0
    characters: int = 0
    selected: int = 0
    tokens: int | None = None
    """None while they are not counted."""
    tokens_stale: bool = False
    """Whether they were counted before an edit."""
    logprob: float | None = None
    """Σ log P of the scored tokens in nats."""
    scored: int | None = None
    """How many tokens are scored; None if all of the text's are."""
    stale: bool = False
    """Whether some scores are from before an edit."""
    context_files: int = 0
    edit_bits: float | None = None
    """By how many bits the edits since the last save changed the surprisal of the
    paragraph at the cursor; None where it was not edited, or that is not known."""


class FileLine(StyledLines):
    HELP = """\
The line below the text has Σ log P of all of it. "edit −12.3 bits" is what your edits
of the paragraph at the cursor changed since the file was saved: its surprisal now, less
its surprisal before; fewer bits are likelier words, not better ones.
"""

    DEFAULT_CSS = """
    FileLine { height: 1; padding: 0 1; color: $foreground; background: $surface; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._status = FileStatus()

    def show(self, status: FileStatus) -> None:
        if status != self._status:
            self._status = status
            self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        return [[(fit_best(forms(self._status), width)[0], "")]]


def forms(status: FileStatus) -> Forms:
    mark = "● " if status.modified else ""
    name = mark + visible_line(status.name or "new file")
    location = f"line {status.line:,}, column {status.column:,}"
    short = f"{status.line}:{status.column}"
    size = (counted(status.words, "word"), counted(status.characters, "character"))
    approx = "≈" * status.tokens_stale
    counts = [] if status.tokens is None else [approx + counted(status.tokens, "token")]
    total, part = _sum(status)
    unusual = _format(status, plain=False)
    formats = _format(status, plain=True), unusual, ()
    notes = ["read-only"] if status.read_only else []
    notes += [status.change] if status.change else []
    if status.context_files:
        notes.append(f"{counted(status.context_files, 'file')} read first")
    if status.selected:
        notes.append(f"{status.selected:,} selected")
    has_edit = status.edit_bits is not None
    edit = [f"edit {difference(status.edit_bits)} bits"] if has_edit else []
    return (
        *(
            (name, *notes, location, *size, part, *edit, *kind)
            for kind in formats
            if part
        ),
        *(
            (name, *notes, location, *size, *counts, total, *edit, *kind)
            for kind in formats[:2]
        ),
        (name, *notes, location, size[0], *counts, total, *edit, *unusual),
        *((name, *notes, location, total, change, *unusual) for change in edit),
        (name, *notes, short, size[0], total, *edit, *unusual),
        (name, *notes, short, total, *edit, *unusual),
        (name, *notes, short, total, *edit),
        (name, *notes, short, total),
        (name, *notes, short),
        (clip(name, 24), short),
    )


def _format(status: FileStatus, *, plain: bool) -> tuple[str, ...]:
    """Return encoding, line endings and byte-order mark; unless `plain`, without LF,
    which most files have. UTF-8 is not named."""
    usual = FileStatus()
    mixed = status.endings == "mixed"
    endings = "mixed line endings" if mixed else status.endings
    is_usual = status.encoding == usual.encoding
    return (
        *([] if is_usual else [status.encoding]),
        *([endings] if plain or status.endings != usual.endings else []),
        *(["BOM"] if status.bom and is_usual else []),
    )


def _sum(status: FileStatus) -> tuple[str, str]:
    """Return Σ log P of the whole text, and that of its scored part; "" where all is
    scored."""
    is_known = status.logprob is not None
    approx = "≈ " if status.stale and is_known else ""
    nats = f"{approx}{log_prob(status.logprob)} nats"
    if not is_known or (status.scored is not None and status.tokens is None):
        return f"Σ log P {NONE}", ""
    if status.scored is None or status.tokens is None:
        return f"Σ log P {nats}", ""
    part = part_of_tokens(status.scored, status.tokens, about=status.tokens_stale)
    return f"Σ log P {NONE}", f"{part} {nats}"
