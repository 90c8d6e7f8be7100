"""Lines of the probability panel: bars, numbers, marks and the summary.

Pure functions of a distribution and a width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len

from lmtui import notation
from lmtui.chart import bar_parts
from lmtui.engine.types import Candidate, Distribution
from lmtui.notation import likely
from lmtui.text import visible_token
from lmtui.tui.widgets.cells import Forms, clip, pad_to
from lmtui.tui.widgets.styled_lines import Part

_REST = "rest"
_CONTROL = re.compile(r"<.+>|\[.+\]")  # how names of control tokens are written
_WHOLE = 24  # most cells of a name that is shown whole
_LEGEND = "  ▀raw ▄drawn  "  # aligned with the numbers below
_NARROW_LEGEND = "▀raw ▄drawn"


@dataclass(frozen=True, slots=True)
class PanelRows:
    """The rows that are drawn, and the total probability of all other tokens."""

    candidates: tuple[Candidate, ...]
    rest_prob: float
    rest_sampled_prob: float | None
    """None where no sampler is involved, as for a scored text."""


def fit_rows(
    distribution: Distribution,
    count: int,
    *,
    first: int = 0,
    last: Candidate | None = None,
) -> PanelRows:
    """Return `count` rows from row `first` on, then `last`, which is none of them; all
    other rows are added to the rest."""
    rows = distribution.candidates
    visible = rows[first : first + max(0, count)]
    hidden = [*rows[:first], *rows[first + len(visible) :]]
    rest = [distribution.rest_prob, *(row.prob for row in hidden)]
    rest_drawn = [distribution.rest_sampled_prob]
    rest_drawn += [row.sampled_prob for row in hidden if row.sampled_prob]
    if last is not None:
        rest.append(-last.prob)
        rest_drawn.append(-(last.sampled_prob or 0.0))
        visible = (*visible, last)
    return PanelRows(
        candidates=visible,
        rest_prob=max(0.0, math.fsum(rest)),
        rest_sampled_prob=max(0.0, math.fsum(rest_drawn))
        if is_drawn_from(distribution)
        else None,
    )


def is_drawn_from(distribution: Distribution) -> bool:
    """Return whether a sampler draws from it: false for a text that is only scored."""
    return all(row.sampled_prob is not None for row in distribution.candidates)


def summary_forms(distribution: Distribution) -> Sequence[Sequence[str]]:
    """Return the summary of the distribution in forms of decreasing length."""
    listed = (
        (f"{distribution.top_logprobs:,} listed",) if distribution.top_logprobs else ()
    )
    if distribution.entropy is None:  # of tokens grouped by what they add to a word
        return ((*listed, "entropy not known"), listed or ("entropy not known",))
    entropy = f"entropy {notation.entropy(distribution.entropy)} bits"
    choices = notation.choices(distribution.entropy)
    named: list[tuple[str, ...]] = [
        (entropy, f"{n} {choices}") for n in notation.CHOICES
    ]
    count = notation.choices(distribution.entropy, ",.0f")
    meaning = f"as unsure as between {count} tokens" if count != "1" else "nearly sure"
    spread = ((*named[0], meaning), *named)
    if not distribution.is_certain:
        unknown = ("what is drawn is not known", "drawn: not known")
        return (
            *((words, *listed, *form) for words in unknown for form in spread),
            *((words, entropy) for words in unknown),
            (entropy,),
        )
    if not is_drawn_from(distribution):
        forms = spread[0], (entropy, meaning), *spread[1:]
        return (
            *((*listed, *form) for form in forms),
            (*listed, entropy),
            (entropy,),
        )
    kept_text = f"kept {distribution.remaining:,}"
    if distribution.allowed is not None:
        return _grammar_forms(distribution, kept_text, spread, entropy)
    mass = notation.percent(distribution.remaining_prob)
    long = (f"{kept_text} of {distribution.vocabulary:,}", f"{mass} of mass")
    short = f"{kept_text}, {mass} of mass"
    return (
        *((*long, *words) for words in spread),
        *((short, *words) for words in spread),
        (short, entropy),
        (kept_text, entropy),
        (entropy,),
    )


def _grammar_forms(
    distribution: Distribution,
    kept_text: str,
    spread: Sequence[tuple[str, ...]],
    entropy: str,
) -> Forms:
    mass = notation.percent(distribution.allowed_prob)
    count = f"grammar allows {distribution.allowed:,}"
    long = f"{count} of {distribution.vocabulary:,} tokens, {mass} of the mass"
    short = f"{count}, {mass} of mass"
    shortest = f"grammar: {distribution.allowed:,} with {mass}"
    return (
        *((long, kept_text, *words) for words in spread),
        (long, kept_text, entropy),
        *((short, kept_text, *words) for words in spread),
        (short, kept_text, entropy),
        (short, entropy),
        (shortest, kept_text, entropy),
        (shortest, entropy),
        (entropy,),
    )


@dataclass(frozen=True, slots=True)
class PanelColumns:
    """Widths of the columns of a row, in cells."""

    token: int
    bar: int
    number: int
    drawn: bool = True
    """Whether there is a second number: the probability the sampler draws from."""

    @classmethod
    def of(cls, width: int, *, drawn: bool = True, whole: int = 0) -> PanelColumns:
        """Divide `width` cells: numbers first, then the token (half of the room, more
        for a name of `whole` cells), then the bar. Below 32 cells the numbers are
        narrower."""
        number = 6 if width >= 32 or not drawn else 5
        # A mark at either end and four spaces; without a sampler, one mark and two
        # spaces.
        room = max(0, width - (2 * number + 6 if drawn else number + 3))
        token = min(room, max(7, min(22, room // 2)))
        token = max(token, min(whole, _WHOLE, room - 1))
        return cls(token, room - token, number, drawn)


def control_cells(rows: Iterable[Candidate]) -> int:
    """Return the cells of the longest name of a control token: cut, `<|im_start|>` and
    `<|im_end|>` would look the same."""
    names = (visible_token(r.text) for r in rows if _CONTROL.fullmatch(r.text))
    return max(map(cell_len, names), default=0)


def title_line(title: str, width: int, *, legend: bool, paused: bool) -> list[Part]:
    wide = PanelColumns.of(width).number >= 6
    explained = (_LEGEND if wide else _NARROW_LEGEND) if legend else ""
    forms = (f"‖ paused {explained}", "‖ paused", "‖") if paused else (explained,)
    room = width - cell_len(title) - 1
    right = next((text for text in forms if cell_len(text) <= room), "")
    if not right:
        return [(pad_to(title, width), "title")]
    left = pad_to(title, width - cell_len(right))
    return [(left, "title"), *_legend(right)]


def row_line(
    row: Candidate, columns: PanelColumns, *, chosen: bool, cursor: bool
) -> list[Part]:
    """Return the line of one token. Without a sampler, the mark of one that can't come
    stands before it."""
    style = "chosen" if chosen else "quiet" if row.cut else "token"
    first = ("●" if chosen else " ", "chosen")
    if row.cut and not chosen and not columns.drawn:
        first = (row.cut, "cut")
    return [
        first,
        (_token(row.text, columns.token), "cursor" if cursor else style),
        (" ", "token"),
        *_bar_parts(row.prob, row.sampled_prob, columns),
        (
            f" {row.cut or row.changed or ' '}" if columns.drawn else "",
            "cut" if row.cut else "quiet",
        ),
    ]


@lru_cache(maxsize=4096)
def _token(text: str, width: int) -> str:
    return pad_to(visible_token(text), width)


def rest_line(rows: PanelRows, columns: PanelColumns, *, chosen: bool) -> list[Part]:
    """Return the line of all tokens without a row; `chosen` if the chosen token is
    among them."""
    return [
        ("●" if chosen else " ", "chosen"),
        (pad_to(_REST, columns.token), "quiet"),
        (" ", "token"),
        *_bar_parts(rows.rest_prob, rows.rest_sampled_prob, columns),
    ]


def _legend(text: str) -> list[Part]:
    before, upper, rest = text.partition("▀")
    between, lower, after = rest.partition("▄")
    return [
        (before, "chosen"), (upper, "raw"), (between, "quiet"), (lower, "sampled"),
        (after, "quiet"),
    ]  # fmt: skip


def _bar_parts(prob: float, sampled: float | None, columns: PanelColumns) -> list[Part]:
    below, (above, _) = bar_parts(prob, sampled, columns.bar)
    # A small number may take the space before it: its bar is empty.
    room = columns.number + 1
    raw = likely(prob, width=room if prob < 0.5 else columns.number)
    sampled_text = likely(sampled, width=columns.number)
    return [
        below,
        (above, "raw"),
        (raw.rjust(room) + (" " if columns.drawn else ""), "raw"),
        (sampled_text.rjust(columns.number) if columns.drawn else "", "sampled"),
    ]


def message_lines(message: str, width: int) -> list[list[Part]]:
    lines = [""]
    for word in message.split():
        longer = f"{lines[-1]} {word}".strip()
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(clip(word, width))
    return [[("", "quiet")], *([(line, "quiet")] for line in lines)]
