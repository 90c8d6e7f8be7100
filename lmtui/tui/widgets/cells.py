"""Text measured in cells.

Everything that is laid out passes through here: clipping never splits a character
from its marks, and never lets a heap of marks through. Knows no widget.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

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

WORDS = re.compile(rf"{_UNIT}|\s+")
"""What may not be broken, and the spaces between: together all of a text."""
_WITH_SPACES = re.compile(rf"{_UNIT}\s*|\s+")
_PLAIN = re.compile(r"\S+\s*|\s+")


def chunks(line: str) -> re.Pattern[str]:
    """What matches the parts of a line that may not be broken, each with the spaces
    behind it; the same for every line, but quicker where all of it is ASCII."""
    return _PLAIN if line.isascii() else _WITH_SPACES


_ODD = "\ufffd"
_MARKS = 4  # marks on one character; more only paint over the neighbours
_JOINER = "\u200d"
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")  # half of one: a letter of a country
_HEAP = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f"
    f"\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe2f]{{{_MARKS + 1},}}"
)


def clusters(text: str) -> Iterator[str]:
    """Characters with the marks that belong to them; a newline stands alone."""
    held = ""
    for character in text:
        joins = held.endswith(_JOINER) or cell_len(character) == 0
        joins = joins or bool(_FLAG.fullmatch(held) and _FLAG.match(character))
        if held and joins and "\n" not in (held, character):
            held += character
            continue
        if held:
            yield held
        held = character
    if held:
        yield held


def tame(text: str) -> str:
    """`text` without heaps of marks: what is left out becomes `…`, and a mark that
    stands alone gets something to stand on."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_tame(cluster) for cluster in clusters(text))


def tame_heaps(text: str) -> str:
    """`text`, tamed only where there is a heap: cheap for texts that have none."""
    return tame(text) if _HEAP.search(text) else text


def tame_in_place(text: str) -> str:
    """A line of the same length: marks that are too many, or that have nothing to
    stand on, become `\ufffd`. Tabs stay."""
    if text.isascii():
        return text
    if cell_len(text[:1]) == 0 and not text.startswith("\t"):
        text = _ODD + text[1:]
    return _HEAP.sub(lambda heap: heap[0][:_MARKS].ljust(len(heap[0]), _ODD), text)


def _tame(cluster: str) -> str:
    if cluster == "\n":
        return cluster
    base, marks = cluster[0], cluster[1:]
    if cell_len(base) == 0:
        base, marks = "◌", cluster
    if len(marks) > _MARKS:
        return base + marks[:_MARKS] + "…"
    return base + marks


def clip(text: str, width: int) -> str:
    """`text` in at most `width` cells, ending in `…` where something is missing."""
    # A cell holds at most a character and its marks: no need to read further.
    text = tame(text[: 16 * (width + 1)])
    if cell_len(text) <= width:
        return text
    taken, used = [], 0
    for cluster in clusters(text):
        used += cell_len(cluster)
        if used > width - 1:
            break
        taken.append(cluster)
    return "".join(taken) + "…" if width > 0 else ""


def clip_middle(text: str, width: int) -> str:
    """`text` in at most `width` cells, with `…` where its middle is missing."""
    text = tame(text)
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


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells."""
    clipped = clip(text, width)
    return clipped + " " * (width - cell_len(clipped))


def pack(
    parts: Sequence[str], width: int, *, lines: int, between: str = " · "
) -> list[str] | None:
    """The parts on at most `lines` lines; None where they do not fit."""
    packed: list[str] = []
    for part in parts:
        longer = packed[-1] + between + part if packed else part
        if packed and cell_len(longer) <= width:
            packed[-1] = longer
        elif cell_len(part) <= width:
            packed.append(part)
        else:
            return None
    return packed if len(packed) <= lines else None


def pack_best(
    forms: Sequence[Sequence[str]], width: int, *, lines: int = 1
) -> list[str]:
    """The first form that fits; the last one, clipped, where none does."""
    for parts in forms:
        packed = pack(parts, width, lines=lines)
        if packed is not None:
            return packed
    return [clip(" · ".join(forms[-1]), width)]


def progress_bar(share: float, width: int = 10) -> str:
    """How much of something is done, in so many cells."""
    done = int(min(1.0, max(0.0, share)) * width)
    return "█" * done + "░" * (width - done)
