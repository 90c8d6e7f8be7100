"""Comments over whole lines, added and taken off again.

A language either has a sign for the rest of a line, or a pair of signs, between which
the second one is broken up with backslashes. Knows no widget.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from lmtui.editing.indent import leading
from lmtui.editing.line_edits import LineEdit, Selected, Splice, lines_of, spliced


@dataclass(frozen=True, slots=True)
class Signs:
    begin: str
    end: str = ""
    """Empty where a comment ends with its line."""


_MARKUP = Signs("<!--", "-->")
_SIGNS = {
    **dict.fromkeys(("python", "toml", "yaml", "bash"), Signs("#")),
    **dict.fromkeys(("javascript", "rust", "go", "java"), Signs("//")),
    **dict.fromkeys(("html", "xml", "markdown"), _MARKUP),
    "sql": Signs("--"),
    "css": Signs("/*", "*/"),
}


def signs_of(language: str | None) -> Signs | None:
    """Return the signs of a language; None where it has no comments."""
    return _SIGNS.get(language or "")


def toggled(lines: Sequence[str], selection: Selected, signs: Signs) -> LineEdit | None:
    """Make comments of the selected lines, or take the signs off if all are comments.
    Blank lines are left alone; None where all are blank."""
    first, last = lines_of(selection)
    texts = [line for line in lines[first : last + 1] if not _is_blank(line)]
    if all(_is_comment(line, signs) for line in texts):
        change = partial(_removed, signs=signs)
    else:
        column = _common(leading(line) for line in texts)
        change = partial(_added, column=column, signs=signs)
    return spliced(
        lines, selection, lambda line: [] if _is_blank(line) else change(line)
    )


def _common(whites: Iterable[str]) -> int:
    ordered = sorted(whites)
    pairs = zip(ordered[0], ordered[-1], strict=False)
    unequal = (n for n, (first, last) in enumerate(pairs) if first != last)
    return next(unequal, len(ordered[0]))


def _is_blank(line: str) -> bool:
    return leading(line) == line


def _is_comment(line: str, signs: Signs) -> bool:
    text = line.strip(" \t")
    inner = text.removeprefix(signs.begin)
    if not signs.end:
        return inner != text
    return inner != text and inner.find(signs.end) == len(inner) - len(signs.end) >= 0


def _added(line: str, column: int, signs: Signs) -> list[Splice]:
    """Return the splices that make a comment of a line from a column on."""
    begin: Splice = (column, 0, f"{signs.begin} ")
    if not signs.end:
        return [begin]
    broken = _pattern(signs, "*").finditer(line, column)
    return [
        begin,
        *((match.end(), 0, "\\") for match in broken),
        (len(line), 0, f" {signs.end}"),
    ]


def _removed(line: str, signs: Signs) -> list[Splice]:
    """Return the splices that take the signs off a comment."""
    start = len(leading(line))
    inner = start + len(signs.begin)
    inner += line.startswith(" ", inner)
    begin: Splice = (start, inner - start, "")
    if not signs.end:
        return [begin]
    end = len(line.rstrip(" \t"))
    outer = end - len(signs.end)
    outer -= outer > inner and line[outer - 1] == " "
    broken = _pattern(signs, "+").finditer(line, inner, outer)
    return [
        begin,
        *((match.start() + 1, 1, "") for match in broken),
        (outer, end - outer, ""),
    ]


def _pattern(signs: Signs, count: str) -> re.Pattern[str]:
    """Return a pattern for the first character of the sign that ends a comment, with a
    count of backslashes, before the second one."""
    first, second = map(re.escape, signs.end[:2])
    return re.compile(rf"{first}\\{count}(?={second})")
