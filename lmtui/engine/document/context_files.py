"""Other files as context of a text: which of their tokens are read before it.

Where the vocabulary has a token that separates files, as models of code do, it begins
each of them. Knows tokens only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lmtui.engine.document.types import (
    ContextFile,
    ContextPart,
)

Encode = Callable[[str], Sequence[int]]


def context_ids(
    files: Sequence[ContextFile],
    name: str,
    encode: Encode,
    *,
    budget: int,
    separator: int | None,
) -> tuple[tuple[int, ...], tuple[ContextPart, ...]]:
    """Return the tokens to read before a text called `name`, at most `budget`, and how
    many of them are of each file.

    What a small file does not need goes to the others; of a file that does not fit, the
    beginning is read.
    """
    if not files:
        return (), ()
    mark = () if separator is None else (separator,)
    last = (*mark, *encode(f"{name}\n")) if name else mark
    ids_of_files = [(*mark, *encode(f"{file.name}\n{file.text}\n")) for file in files]
    sizes = shares([len(ids) for ids in ids_of_files], max(0, budget - len(last)))
    read = [
        token
        for ids, size in zip(ids_of_files, sizes, strict=True)
        for token in ids[:size]
    ]
    parts = (
        ContextPart(file.name, size, len(ids))
        for file, ids, size in zip(files, ids_of_files, sizes, strict=True)
    )
    return (*read, *last)[:budget], tuple(parts)


def shares(wanted: Sequence[int], budget: int) -> list[int]:
    """Return how much of a budget each gets: as much as it wants, or an equal share of
    what the smaller ones leave."""
    given = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    for count, at in enumerate(order):
        given[at] = min(wanted[at], budget // (len(order) - count))
        budget -= given[at]
    return given
