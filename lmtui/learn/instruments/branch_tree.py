"""Continuations of one text as a tree of lines: what they share stands once."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from lmtui.engine.text.common_prefix import common_prefix_len
from lmtui.text import visible_line

Name = TypeVar("Name")
WIDTH = 38
"""Cells of a line, about."""


@dataclass(frozen=True, slots=True)
class Leaf(Generic[Name]):
    """A continuation: the ids and the bytes of its tokens."""

    name: Name
    ids: tuple[int, ...]
    pieces: tuple[bytes, ...]


def tree_lines(
    leaves: Sequence[Leaf[Name]], begin: str = "", rest: str = ""
) -> Iterator[tuple[str, Name | None]]:
    """Yield the lines of the tree of one continuation or more: the text that they
    share, then its branches. The last line of each has its name, and of equal ones as
    many lines as there are names. The first line begins with `begin`, all others with
    `rest`."""
    first = leaves[0]
    shared = min(common_prefix_len(first.ids, leaf.ids) for leaf in leaves)
    names = [leaf.name for leaf in leaves if len(leaf.ids) == shared]
    groups: dict[int, list[Leaf[Name]]] = {}
    for leaf in leaves:
        if len(leaf.ids) > shared:
            left = Leaf(leaf.name, leaf.ids[shared:], leaf.pieces[shared:])
            groups.setdefault(left.ids[0], []).append(left)
    text = b"".join(first.pieces[:shared]).decode(errors="replace")
    texts = _wrapped(text, WIDTH - len(rest))
    if not texts and (names or begin):
        texts = [""]
    texts += [""] * (len(names) - len(texts))
    below = "│" if groups else ""
    unnamed = len(texts) - len(names)
    for number, text in enumerate(texts):
        lead = rest if number else begin
        name = names[number - unnamed] if number >= unnamed else None
        yield f"{lead}{text or below}", name
    for number, branch in enumerate(groups.values(), 1):
        is_last = number == len(groups)
        yield from tree_lines(
            branch,
            rest + ("└─ " if is_last else "├─ "),
            rest + ("   " if is_last else "│  "),
        )


def _wrapped(text: str, width: int) -> list[str]:
    shown = "⏎".join(map(visible_line, text.split("\n")))
    lines = textwrap.wrap(shown.removeprefix(" "), max(8, width))
    return [line.lstrip() for line in lines]
