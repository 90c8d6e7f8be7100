"""Measuring and clipping text in terminal cells.

All text that is laid out passes through here. Clipping makes control characters
visible, never splits a character from its combining marks, and leaves none with an
excess of marks. Knows no widget.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from functools import cache, lru_cache

from rich.cells import cell_len

from lmtui.text import visible_line, visible_same_length

_WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\U0001b000-\U0001b2ff\U00020000-\U0003fffd"
)
_OPENS = r"（〔［｛〈《「『【〘〖“‘(\[{"
_CLOSES = (
    r"、。，．・：；？！…‥ー々〻ゝゞヽヾ％」』】〕］）｝〉》〗〙”’,.:;?!)\]}%"
    "\u3099\u309a\ufe00-\ufe0f\u200d\u0300-\u036f"  # marks are part of a character
)
_UNIT = f"[{_OPENS}]*(?:[{_WIDE}]|[^\\s{_WIDE}]+)[{_CLOSES}]*"

_PLAIN = re.compile(r"\S+\s*|\s+")

_REPLACEMENT = "\ufffd"
_MARKS = 4  # marks on one character; more only paint over the neighbours
_JOINER = "\u200d"
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")  # a letter: two make a flag
_HEAP = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f"
    f"\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe2f]{{{_MARKS + 1},}}"
)


Forms = Sequence[Sequence[str]]
"""One sentence in forms of decreasing length; each form is a sequence of parts."""

# Compiled when first used: that takes 3 ms each, and few texts need them.


@cache
def words() -> re.Pattern[str]:
    """Return a pattern that matches an unbreakable unit or a run of spaces; all matches
    together are the text."""
    return re.compile(rf"{_UNIT}|\s+")


@cache
def _with_spaces() -> re.Pattern[str]:
    return re.compile(rf"{_UNIT}\s*|\s+")


def chunks(line: str) -> re.Pattern[str]:
    """Return a pattern that matches the unbreakable parts of a line, each with the
    spaces behind it. ASCII lines get a simpler pattern: the same matches, but
    faster."""
    return _PLAIN if line.isascii() else _with_spaces()


def clusters(text: str) -> Iterator[str]:
    """Yield each character together with its combining marks; a newline stands
    alone."""
    cluster = ""
    for character in text:
        joins = cluster.endswith(_JOINER) or cell_len(character) == 0
        joins = joins or bool(_FLAG.fullmatch(cluster) and _FLAG.match(character))
        if cluster and joins and "\n" not in (cluster, character):
            cluster += character
            continue
        if cluster:
            yield cluster
        cluster = character
    if cluster:
        yield cluster


def limit_combining(text: str) -> str:
    """Return `text` without an excess of combining marks: those left out become `…`,
    and a mark without a base character gets one (`◌`)."""
    if text.isascii() and text.isprintable():
        return text
    if all(map(cell_len, set(text) - {"\n"})):
        return text  # without marks
    return "".join(_limit_marks(cluster) for cluster in clusters(text))


def tame_heaps(text: str) -> str:
    """Return `limit_combining(text)` where a character has too many marks, else `text`
    itself. Cheap for texts without such characters."""
    return limit_combining(text) if _HEAP.search(text) else text


def limit_combining_same_length(text: str) -> str:
    """Return a line of the same length in which excess marks, and a mark without a base
    character at the beginning, are replaced by `\ufffd`. Tabs stay."""
    if text.isascii():
        return text
    if cell_len(text[:1]) == 0 and not text.startswith("\t"):
        text = _REPLACEMENT + text[1:]
    return _HEAP.sub(
        lambda heap: heap[0][:_MARKS].ljust(len(heap[0]), _REPLACEMENT), text
    )


def _limit_marks(cluster: str) -> str:
    if cluster == "\n":
        return cluster
    base, marks = cluster[0], cluster[1:]
    if cell_len(base) == 0:
        base, marks = "◌", cluster
    if len(marks) > _MARKS:
        return base + marks[:_MARKS] + "…"
    return base + marks


def _safe(text: str) -> str:
    """Return a line from anywhere as it is drawn: with control characters visible."""
    if text.isascii() and text.isprintable():
        return text
    return limit_combining(visible_line(text))


def clip(text: str, width: int) -> str:
    """Cut a line to at most `width` cells; it ends in `…` where a part is missing.
    Control characters in it are drawn, here and below."""
    # Bounds the work: a character and its marks are far less than 16 code points.
    text = _safe(text[: 16 * (width + 1)])
    if cell_len(text) <= width:
        return text
    parts, used = [], 0
    for cluster in clusters(text):
        used += cell_len(cluster)
        if used > width - 1:
            break
        parts.append(cluster)
    return "".join(parts) + "…" if width > 0 else ""


def clip_middle(text: str, width: int) -> str:
    """Cut `text` to at most `width` cells, with `…` where its middle is missing."""
    text = _safe(text)
    if cell_len(text) <= width:
        return text
    parts, head, tail = list(clusters(text)), "", ""
    while parts and width > 0:
        first = len(head) <= len(tail)
        part = parts.pop(0 if first else -1)
        if cell_len(head + part + tail) > width - 1:
            break
        head, tail = (head + part, tail) if first else (head, part + tail)
    return f"{head}…{tail}" if width > 0 else ""


def pad_to(text: str, width: int) -> str:
    """Cut or pad `text` to exactly `width` cells."""
    clipped = clip(text, width)
    return clipped + " " * (width - cell_len(clipped))


def aligned(
    rows: Sequence[Sequence[str]], *, right: Container[int] = (), most: int = 10_000
) -> list[str]:
    """Return rows as lines with their columns below each other: those whose numbers are
    in `right` are right-aligned, all but the last are cut to `most` cells."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    widths[:-1] = [min(most, width) for width in widths[:-1]]

    def cell(text: str, column: int) -> str:
        text = clip(text, widths[column])
        space = " " * (widths[column] - cell_len(text))
        return space + text if column in right else text + space

    return ["  ".join(map(cell, row, range(len(row)))).rstrip() for row in rows]


def pack(parts: Sequence[str], width: int, *, lines: int) -> list[str] | None:
    """Arrange the parts on at most `lines` lines; None where they do not fit."""
    packed: list[str] = []
    for part in parts:
        longer = f"{packed[-1]} · {part}" if packed else part
        if packed and cell_len(longer) <= width:
            packed[-1] = longer
        elif cell_len(part) <= width:
            packed.append(part)
        else:
            return None
    return packed if len(packed) <= lines else None


def fit_best(forms: Forms, width: int, *, lines: int = 1) -> list[str]:
    """Return the lines of the first form that fits; where none does, the last form,
    clipped."""
    for parts in forms:
        packed = pack(parts, width, lines=lines)
        if packed is not None:
            return packed
    return [clip(" · ".join(forms[-1]), width)]


def progress_bar(share: float) -> str:
    """Return a bar of 10 cells that shows how much is done (`share`, 0 to 1)."""
    done = int(min(1.0, max(0.0, share)) * 10)
    return "█" * done + "░" * (10 - done)


# Text that keeps every character, drawn with as many.


@lru_cache(maxsize=256)
def drawn(line: str) -> str:
    """Return a line as it is drawn, with as many characters; tabs stay."""
    plain = line.isascii() and line.isprintable()
    return line if plain else limit_combining_same_length(visible_same_length(line))


def is_plain(text: str) -> bool:
    """Return whether each character of a drawn text takes one cell."""
    return text.isascii() and "\t" not in text


def cells_of(text: str, tab: int, *, at: int = 0) -> int:
    """Return the number of cells of a drawn text that begins at cell `at` of its
    row."""
    if is_plain(text):
        return len(text)
    first, *others = text.split("\t")
    used = at + cell_len(first)
    for part in others:
        used += tab - used % tab + cell_len(part)
    return used - at
