"""Differences of two versions of a text, word by word. Knows no screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

Kind = Literal["same", "removed", "added"]

_PIECES = re.compile(r"\w+|\s+|[^\w\s]")


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
