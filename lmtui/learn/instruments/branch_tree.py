"""Continuations of one text as a tree of lines: what they share stands once."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lmtui.engine.common_prefix import common_prefix_len
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

    def after(self, count: int) -> Leaf[Name]:
        """Return what is left without the first tokens."""
        return Leaf(self.name, self.ids[count:], self.pieces[count:])


@dataclass(frozen=True, slots=True)
class TreeLine(Generic[Name]):
    text: str
    name: Name | None = None
    """Name of the continuation that ends here, if one does."""


def tree_lines(leaves: Sequence[Leaf[Name]]) -> Iterator[TreeLine[Name]]:
    """Yield the lines of the tree of one continuation or more; the last line of each
    has its name, and of equal ones as many lines as there are names."""
    yield from _Part.of(leaves).lines("", "")


@dataclass(frozen=True, slots=True)
class _Part(Generic[Name]):
    """Part of the tree: the text that its continuations share, then its branches."""

    text: str
    names: list[Name] = field(default_factory=list)
    """Continuations that end here."""
    branches: list[_Part[Name]] = field(default_factory=list)

    @classmethod
    def of(cls, leaves: Sequence[Leaf[Name]]) -> _Part[Name]:
        first = leaves[0]
        shared = min(common_prefix_len(first.ids, each.ids) for each in leaves)
        part = cls(b"".join(first.pieces[:shared]).decode(errors="replace"))
        groups: dict[int, list[Leaf[Name]]] = {}
        for leaf in (each.after(shared) for each in leaves):
            if leaf.ids:
                groups.setdefault(leaf.ids[0], []).append(leaf)
            else:
                part.names.append(leaf.name)
        part.branches.extend(map(cls.of, groups.values()))
        return part

    def lines(self, begin: str, rest: str) -> Iterator[TreeLine[Name]]:
        """Yield the lines; the first one begins with `begin`, all others with
        `rest`."""
        texts = _wrapped(self.text, WIDTH - len(rest))
        if not texts and (self.names or begin):
            texts = [""]
        texts += [""] * (len(self.names) - len(texts))
        names = [None] * (len(texts) - len(self.names)) + self.names
        below = "│" if self.branches else ""
        for number, (text, name) in enumerate(zip(texts, names, strict=True)):
            lead = rest if number else begin
            yield TreeLine(f"{lead}{text or below}", name)
        for branch in self.branches:
            is_last = branch is self.branches[-1]
            yield from branch.lines(
                rest + ("└─ " if is_last else "├─ "),
                rest + ("   " if is_last else "│  "),
            )


def _wrapped(text: str, width: int) -> list[str]:
    shown = "⏎".join(map(visible_line, text.split("\n")))
    lines = textwrap.wrap(shown.removeprefix(" "), max(8, width))
    return [line.lstrip() for line in lines]
