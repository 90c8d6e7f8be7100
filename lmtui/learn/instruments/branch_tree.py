"""Continuations of one text as a tree of lines: what they share stands once."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TypeVar

from lmtui.engine.text.common_prefix import common_prefix_len
from lmtui.engine.types import ScoredToken, Step
from lmtui.text import visible_line

Name = TypeVar("Name")
Tokens = Sequence[ScoredToken | Step]
WIDTH = 38
"""Cells of a line, about."""


def tree_lines(
    leaves: Sequence[tuple[Name, Tokens]], begin: str = "", rest: str = ""
) -> Iterator[tuple[str, Name | None]]:
    """Yield the lines of the tree of one continuation or more, each with its name: the
    text that they share, then its branches. The last line of each has its name, and of
    equal ones as many lines as there are names. The first line begins with `begin`, all
    others with `rest`."""
    first, *_ = ids = [[token.id for token in tokens] for _, tokens in leaves]
    shared = min(common_prefix_len(first, other) for other in ids)
    names = [name for name, tokens in leaves if len(tokens) == shared]
    groups: dict[int, list[tuple[Name, Tokens]]] = {}
    for name, tokens in leaves:
        if left := tokens[shared:]:
            groups.setdefault(left[0].id, []).append((name, left))
    read = b"".join(token.bytes for token in leaves[0][1][:shared])
    texts = _wrapped(read.decode(errors="replace"), WIDTH - len(rest))
    if not texts and (names or begin):
        texts = [""]
    texts += [""] * (len(names) - len(texts))
    below = "│" if groups else ""
    unnamed = len(texts) - len(names)
    for number, text in enumerate(texts):
        lead = rest if number else begin
        named = names[number - unnamed] if number >= unnamed else None
        yield f"{lead}{text or below}", named
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
