"""Tokens on lines of cells: what is drawn where, as pure functions.

Tokens that are parts of one character are one piece. A newline is drawn and ends the
line; everything else breaks where the cells end. Knows no widget and no colour.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len

from lmtui.engine.types import ScoredToken, Step
from lmtui.text import bytes_text, visible_codes
from lmtui.tui.widgets.cells import clusters, tame

Token = ScoredToken | Step
_WORDS = re.compile(r"\s?\S{1,64}|\s")
_NEWLINE = "⏎"
_LONGEST = 4096  # characters of one token that are drawn; none is longer by itself


@dataclass(frozen=True, slots=True)
class Piece:
    """One or several tokens that are drawn together."""

    first: int
    """Index of the first token."""
    count: int
    text: str
    """What is drawn; safe, and at least a cell wide."""


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a piece on one line."""

    start: int
    """First cell."""
    width: int
    text: str
    piece: int
    """Index of the piece."""

    def distance(self, cell: int) -> int:
        """How many cells away; 0 inside."""
        return max(self.start - cell, cell - self.start - self.width + 1, 0)


def pieces_of(tokens: Sequence[Token], *, spaces: bool = False) -> Iterator[Piece]:
    """The tokens, those of one character joined; with `spaces`, white space is drawn
    as signs."""
    first = 0
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for index, token in enumerate(tokens):
        if first < index or not token.bytes.isascii():
            decoder.decode(token.bytes)
            if decoder.getstate()[0] and index + 1 < len(tokens):
                continue  # a character is still open
        yield _piece(tokens[first : index + 1], first, spaces)
        first = index + 1


def _piece(parts: Sequence[Token], first: int, spaces: bool) -> Piece:
    text = parts[0].text
    if len(parts) > 1:
        text = bytes_text(b"".join(part.bytes for part in parts))
    return Piece(first, len(parts), picture(text, spaces=spaces))


@lru_cache(1 << 14)  # the same tokens come again and again
def picture(text: str, *, spaces: bool = False) -> str:
    """A token's text as it is drawn: spaces stay, since this is a text to read, unless
    they are to be seen."""
    cut = text[:_LONGEST] + ("…" if len(text) > _LONGEST else "")
    cut = cut.replace(" ", "·") if spaces else cut
    shown = tame(visible_codes(cut).replace("\t", "→").replace("\n", f"{_NEWLINE}\n"))
    return shown if any(cell_len(line) for line in shown.split("\n")) else "∅"


def words_of(text: str) -> Iterator[Piece]:
    """A text that has no tokens yet, to be laid out as if it had."""
    return (Piece(0, 1, picture(word)) for word in _WORDS.findall(text))


def wrap(pieces: Iterable[Piece], width: int) -> Iterator[list[Run]]:
    """Lines of at most `width` cells, at least one; a wide character never straddles
    an edge. Where a line goes on, a space at its beginning is drawn as a sign: it is
    no indent."""
    line: list[Run] = []
    used, goes_on = 0, False
    for index, piece in enumerate(pieces):
        for part in _parts(piece.text, width, used):
            if part == "\n":
                yield line
                goes_on = bool(line) and not line[-1].text.endswith(_NEWLINE)
                line, used = [], 0
                continue
            if goes_on and not line and part.startswith(" "):
                part = "·" + part[1:]
            cells = cell_len(part)
            line.append(Run(used, cells, part, index))
            used += cells
    yield line


def _parts(text: str, width: int, used: int) -> Iterator[str]:
    """The stretches between line breaks, and each break as a newline."""
    taken, room = "", max(0, width - used)
    if text.isascii() and text.isprintable() and len(text) <= width:
        if len(text) > room:  # rather on the next line than in two parts
            yield "\n"
        yield text
        return
    for cluster in clusters(text):
        if cluster == "\n":
            if taken:
                yield taken
            yield "\n"
            taken, room = "", width
            continue
        cells = cell_len(cluster)
        if cells > room:
            if taken:
                yield taken
            yield "\n"
            taken, room = "", width
        taken += cluster
        room -= cells
    if taken:
        yield taken
