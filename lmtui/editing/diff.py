"""Differences of two texts: by lines, as a unified diff, in time that grows with their
length, and by words.

Lines are paired as by `text_file.partners_of`. Knows no file and no screen.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from lmtui.editing.text_file import partners_of

CONTEXT = 3
"""Unchanged lines shown before and after a change."""

Sign = Literal[" ", "-", "+"]
Kind = Literal["same", "removed", "added"]

_PIECES = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class DiffLine:
    sign: Sign
    """In both texts, only in the first, or only in the second."""
    text: str


def hunks(first: str, second: str) -> Iterator[tuple[str, Sequence[DiffLine]]]:
    """Yield the differences of two texts, in order; none of equal texts. Each is the
    header of a unified diff, and changed lines with the lines around them."""
    lines = list(diff_lines(first, second))
    changed = deque(n for n, line in enumerate(lines) if line.sign != " ")
    old = new = 1
    at = 0
    while changed:
        start = max(at, changed[0] - CONTEXT)
        end = changed.popleft() + 1
        while changed and changed[0] <= end + 2 * CONTEXT:
            end = changed.popleft() + 1
        end = min(len(lines), end + CONTEXT)
        old += start - at
        new += start - at
        part = lines[start:end]
        removed = sum(line.sign != "+" for line in part)
        added = sum(line.sign != "-" for line in part)
        yield f"@@ -{old},{removed} +{new},{added} @@", part
        old += removed
        new += added
        at = end


def diff_lines(first: str, second: str) -> Iterator[DiffLine]:
    """Yield all lines of two texts, those that both have once."""
    old, new = first.split("\n"), second.split("\n")
    partners = partners_of(new, old)
    at, added = 0, []
    for line, partner in zip(new, partners, strict=True):
        if partner is None or old[partner] != line:
            added.append(DiffLine("+", line))
            continue
        yield from (DiffLine("-", gone) for gone in old[at:partner])
        yield from added
        at, added = partner + 1, []
        yield DiffLine(" ", line)
    yield from (DiffLine("-", gone) for gone in old[at:])
    yield from added


class DiffPart(NamedTuple):
    """Consecutive words of one version, or of both."""

    kind: Kind
    text: str


def word_diff(old: str, new: str) -> Iterator[DiffPart]:
    """Yield the parts of both versions, in order; what was removed comes before what
    was added in its place. The parts without the added ones are `old`, those without
    the removed ones `new`."""
    before, after = _PIECES.findall(old), _PIECES.findall(new)
    matcher = SequenceMatcher(a=before, b=after, autojunk=False)
    for _, first, last, start, end in matcher.get_opcodes():
        removed, added = "".join(before[first:last]), "".join(after[start:end])
        if removed == added:
            yield DiffPart("same", removed)
            continue
        if removed:
            yield DiffPart("removed", removed)
        if added:
            yield DiffPart("added", added)
