"""Line endings: a text with `\\n` alone, and the way back to the file's own bytes.

Owns the rule for files that mix LF, CRLF and CR. A line of the edited text keeps the
ending it had in the file where it is recognised as unchanged: in the run of equal
lines at the beginning and at the end, and between them each line that is there once
before and once after (in the same order), with the equal lines that touch it. In the
stretches between those, the lines that were edited, the first takes the ending of the
first line that was there, and so on. Lines that are more than before get the ending
that most lines of the file have. An empty line after one that ends in CR ends in CR
too where LF would make one CRLF of the two. Knows no file.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_ANY = re.compile(r"\r\n|\r|\n")
_NAMES = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}


@dataclass(frozen=True, slots=True)
class Endings:
    """How the lines of a file end."""

    main: str = "\n"
    """The ending of most lines, the first one's where two are as many."""
    own: tuple[str, ...] = ()
    """The ending of every line, in order; empty where all have the main one."""

    @property
    def name(self) -> str:
        """For a status line: LF, CRLF, CR or mixed."""
        return "mixed" if self.own else _NAMES[self.main]

    def of(self, line: int | None) -> str:
        """The ending of a line of the file; the main one of a line that had none."""
        if line is None or line >= len(self.own):
            return self.main
        return self.own[line]


def taken_off(raw: str) -> tuple[str, Endings]:
    """`raw` with `\\n` for every line ending, and what the endings were."""
    if "\r" not in raw:
        return raw, Endings()
    found = _ANY.findall(raw)
    counts = Counter(found)  # in order of appearance, as is `max` of equals
    main = max(counts, key=lambda ending: counts[ending])
    own = tuple(found) if len(counts) > 1 else ()
    return _ANY.sub("\n", raw), Endings(main, own)


def put_back(text: str, before: str, endings: Endings) -> str:
    """`text` with line endings of its file, which held `before` when it was read.

    A `\\r` in `text` is a line break like `\\n`: the file could not tell them apart.
    """
    text = _ANY.sub("\n", text) if "\r" in text else text
    if not endings.own:
        return text if endings.main == "\n" else text.replace("\n", endings.main)
    lines = text.split("\n")
    partners = partners_of(lines, before.split("\n"))
    parts: list[str] = []
    last = ""
    for line, partner in zip(lines[:-1], partners[:-1], strict=True):
        ending = endings.of(partner)
        if not line and last == "\r" and ending == "\n":
            ending = "\r"
        parts += (line, ending)
        last = ending
    return "".join((*parts, lines[-1]))


def partners_of(new: Sequence[str], old: Sequence[str]) -> list[int | None]:
    """For every line of `new` the line of `old` that it was; None for one more.

    The partners grow, so that no line has two and the order is kept.
    """
    partners: list[int | None] = [None] * len(new)
    whole = range(len(old)), range(len(new))
    inner_old, inner_new = _pair_ends(old, new, *whole, partners)
    low_old, low_new = inner_old.start, inner_new.start
    end = inner_old.stop, inner_new.stop
    for at_old, at_new in (*_anchors(old, new, inner_old, inner_new), end):
        stretch = range(low_old, at_old), range(low_new, at_new)
        for edited_old, edited_new in zip(
            *_pair_ends(old, new, *stretch, partners), strict=False
        ):
            partners[edited_new] = edited_old
        if (at_old, at_new) != end:
            partners[at_new] = at_old
        low_old, low_new = at_old + 1, at_new + 1
    return partners


def _pair_ends(
    old: Sequence[str],
    new: Sequence[str],
    in_old: range,
    in_new: range,
    partners: list[int | None],
) -> tuple[range, range]:
    """Pair equal lines from both ends of two stretches; what is left between them."""
    count = min(len(in_old), len(in_new))
    first = 0
    while first < count and old[in_old[first]] == new[in_new[first]]:
        partners[in_new[first]] = in_old[first]
        first += 1
    last = 0
    while last < count - first and old[in_old[-1 - last]] == new[in_new[-1 - last]]:
        partners[in_new[-1 - last]] = in_old[-1 - last]
        last += 1
    return in_old[first : len(in_old) - last], in_new[first : len(in_new) - last]


def _anchors(
    old: Sequence[str], new: Sequence[str], in_old: range, in_new: range
) -> Iterator[tuple[int, int]]:
    """Lines that are once in each stretch, the longest row of them in one order."""
    once_old = _once(old, in_old)
    once_new = _once(new, in_new)
    pairs = [(once_old[line], at) for line, at in once_new.items() if line in once_old]
    # Patience: `ends[n]` is the smallest end of a growing row of n + 1 pairs.
    ends: list[int] = []
    last: list[int] = []  # the pair that this end belongs to
    before: list[int | None] = []  # for every pair, the one before it in its row
    for number, (at_old, _) in enumerate(pairs):
        place = bisect_left(ends, at_old)
        before.append(last[place - 1] if place else None)
        ends[place : place + 1] = [at_old]
        last[place : place + 1] = [number]
    row: list[tuple[int, int]] = []
    step = last[-1] if last else None
    while step is not None:
        row.append(pairs[step])
        step = before[step]
    return reversed(row)


def _once(lines: Sequence[str], within: range) -> dict[str, int]:
    """The lines that are there once, with their places, in order."""
    counts = Counter(lines[at] for at in within)
    return {lines[at]: at for at in within if counts[lines[at]] == 1}
