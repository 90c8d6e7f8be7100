"""The text of the editor: its syntax spans and its heat map.

An edit costs what is in the lines it touches; the spans of other lines move with them.
Locations are (line, column) from 0, offsets and columns in code points. Knows no widget
and no style.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from textual._tree_sitter import get_language
from textual.document._document import Location
from textual.document._syntax_aware_document import SyntaxAwareDocument
from textual.widgets import TextArea

from lmtui.tui.widgets.line_document import DocumentChange, LineDocument

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Query

LARGEST = 500_000
"""Length in characters beyond which a text gets no syntax tree: in some languages a key
in the middle parses the rest again, 40 ms for a million characters."""
KINDS = ("comment", "keyword", "name", "number", "string")
"""The kinds of syntax that have a colour."""
_SUFFIXES = {
    "python": ".py .pyi .pyw",
    "markdown": ".md .markdown",
    "json": ".json .jsonl",
    "toml": ".toml",
    "yaml": ".yaml .yml",
    "html": ".html .htm",
    "css": ".css .tcss",
    "javascript": ".js .mjs .cjs .jsx",
    "rust": ".rs",
    "go": ".go",
    "sql": ".sql",
    "java": ".java",
    "bash": ".sh .bash",
    "xml": ".xml .svg .xsd",
}
_DATA = ("markdown", "json", "toml", "yaml", "xml")
_BY_SUFFIX = {
    suffix: language
    for language, suffixes in _SUFFIXES.items()
    for suffix in suffixes.split()
}
_KIND_OF = {
    "comment": "comment",
    "keyword": "keyword", "include": "keyword", "conditional": "keyword",
    "repeat": "keyword", "exception": "keyword", "storageclass": "keyword",
    "preproc": "keyword", "heading": "keyword", "markup": "keyword", "tag": "keyword",
    "function": "name", "method": "name", "type": "name", "constructor": "name",
    "attribute": "name", "property": "name", "field": "name", "yaml": "name",
    "number": "number", "float": "number", "boolean": "number", "constant": "number",
    "toml": "number",
    "string": "string", "escape": "string", "text": "string", "link": "string",
}  # fmt: skip
_BLOCK = 64


class SyntaxLineDocument(SyntaxAwareDocument, LineDocument):
    def __init__(self, text: str, language: Language) -> None:
        super().__init__(text, language)

    def _location_to_byte_offset(self, location: Location) -> int:
        row, column = location
        above = sum(map(_bytes, self._lines[:row])) + row
        line = self._lines[row] if row < len(self._lines) else ""
        return above + _bytes(line[:column])


def _bytes(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode())


SyntaxPart = tuple[int, int, str]
"""First column in a line, column behind the last, and kind."""


def language_for(path: PurePath) -> str | None:
    """Return the language of a file by its suffix; None where it has no colours."""
    language = _BY_SUFFIX.get(path.suffix.lower())
    return language if language and get_language(language) else None


def is_code(language: str | None) -> bool:
    return language is not None and language not in _DATA


def syntax_document(text: str, language: str | None) -> SyntaxLineDocument | None:
    """Return a document with a syntax tree; None where there is no parser, or the text
    is too long."""
    parser = get_language(language) if language and len(text) <= LARGEST else None
    return None if parser is None else SyntaxLineDocument(text, parser)


class SyntaxParts:
    """The syntax parts of each line, cached until the document changes."""

    def __init__(self, document: SyntaxLineDocument, language: str) -> None:
        self._document = document
        self._query = _query_of(language, document)
        self._blocks: dict[int, dict[int, list[SyntaxPart]]] = {}

    def clear(self) -> None:
        self._blocks.clear()

    def of(self, line: int) -> list[SyntaxPart]:
        """Return the parts of a line; where two overlap, the later one counts."""
        block = line // _BLOCK
        if block not in self._blocks:
            self._blocks[block] = self._query_parts(
                block * _BLOCK, (block + 1) * _BLOCK
            )
        return self._blocks[block].get(line, [])

    def _query_parts(self, first: int, beyond: int) -> dict[int, list[SyntaxPart]]:
        parts: dict[int, list[SyntaxPart]] = {}
        captures = self._document.query_syntax_tree(
            self._query, (first, 0), (beyond, 0)
        )
        for name, nodes in captures.items():
            kind = _KIND_OF.get(name.partition(".")[0])
            for node in nodes if kind else ():
                self._add(parts, node, kind or "", first, beyond)
        return parts

    def _add(
        self,
        parts: dict[int, list[SyntaxPart]],
        node: Node,
        kind: str,
        first: int,
        beyond: int,
    ) -> None:
        (top, start), (bottom, end) = node.start_point, node.end_point
        last = min(bottom, beyond - 1, self._document.line_count - 1)
        for line in range(max(top, first), last + 1):
            text = self._document[line]
            low = _column(text, start) if line == top else 0
            high = _column(text, end) if line == bottom else len(text)
            if low < high:
                parts.setdefault(line, []).append((low, high, kind))


def _column(line: str, byte: int) -> int:
    if line.isascii():
        return min(byte, len(line))
    return bisect_left(range(len(line)), byte, key=lambda n: len(line[:n].encode()))


_queries: dict[str, Query] = {}


def _query_of(language: str, document: SyntaxLineDocument) -> Query:
    """Cached: preparing a query takes long."""
    if language not in _queries:
        text = TextArea._get_builtin_highlight_query(language)
        query = document.prepare_query(text)
        assert query is not None
        _queries[language] = query
    return _queries[language]


@dataclass(frozen=True, slots=True)
class HeatSpan:
    """The surprisal of a span of text."""

    start: int
    """Offset in the text, or the column in its line where it is stored."""
    end: int
    level: int
    """The step of surprisal, 0 to 5."""
    bits: float = 0.0
    stale: bool = False
    """Whether the text before it has changed since it was scored."""


LineSpans = tuple[HeatSpan, ...]
"""The spans within one line; its newline counts as its last character."""


class HeatMap:
    def __init__(self, lines: int = 1) -> None:
        self._spans: list[LineSpans] = [()] * lines
        self._stale = bytearray(lines)
        """Whether all spans of a line are stale, whatever their own flag says."""

    def of(self, line: int) -> LineSpans:
        if self._stale[line]:
            self._stale[line] = 0
            self._spans[line] = _as_stale(self._spans[line], 0, sys.maxsize)
        return self._spans[line]

    def between(self, line: int, low: int, high: int) -> LineSpans:
        spans = self.of(line)
        first = bisect_right(spans, low, key=lambda span: span.end)
        return spans[first : bisect_left(spans, high, key=lambda span: span.start)]

    def bits(self, line: int) -> float | None:
        """Return the surprisal of all that begins in a line, in bits; None if nothing
        is scored."""
        spans = self._spans[line]
        return sum(span.bits for span in spans) if spans else None

    def follow(self, change: DocumentChange) -> None:
        """Follow an edit: drop the spans it touches and move those behind it."""
        top, bottom, end = change.top, change.bottom, change.end
        head = tuple(span for span in self.of(top[0]) if span.end <= top[1])
        shift = end[1] - bottom[1]
        tail = tuple(
            replace(span, start=span.start + shift, end=span.end + shift)
            for span in self.of(bottom[0])
            if span.start >= bottom[1]
        )
        lines: list[LineSpans] = [()] * (end[0] - top[0] + 1)
        lines[0] = head
        lines[-1] += tail
        self._spans[top[0] : bottom[0] + 1] = lines
        self._stale[top[0] : bottom[0] + 1] = bytes(len(lines))

    def put(
        self, spans: Iterable[HeatSpan], document: LineDocument, start: int, end: int
    ) -> None:
        """Replace all spans from offset `start` to `end` by these, which are in order.
        Spans that share a character become one, with the highest level and the sum of
        the bits."""
        top, bottom = map(document.get_location_from_index, (start, end))
        by_line: dict[int, list[HeatSpan]] = {}
        for span in _merged(spans):
            for line, part in _split_by_line(span, document):
                by_line.setdefault(line, []).append(part)
        for line in range(top[0], bottom[0] + 1):
            low = top[1] if line == top[0] else 0
            high = bottom[1] if line == bottom[0] else sys.maxsize
            spans_here = self.of(line)
            before = [span for span in spans_here if span.end <= low]
            after = [span for span in spans_here if span.start >= high]
            self._spans[line] = (*before, *by_line.get(line, ()), *after)

    def make_stale(self, document: LineDocument, start: int, end: int) -> None:
        """Mark the spans that begin from offset `start` to `end` as stale: their
        context has changed."""
        top, bottom = map(document.get_location_from_index, (start, end))
        for line in {top[0], bottom[0]}:
            low = top[1] if line == top[0] else 0
            high = bottom[1] if line == bottom[0] else len(document[line]) + 1
            self._spans[line] = _as_stale(self.of(line), low, high)
        between = bottom[0] - top[0] - 1
        if between > 0:
            self._stale[top[0] + 1 : bottom[0]] = b"\1" * between


def _as_stale(spans: LineSpans, low: int, high: int) -> LineSpans:
    return tuple(
        replace(span, stale=True) if low <= span.start < high else span
        for span in spans
    )


def _merged(spans: Iterable[HeatSpan]) -> list[HeatSpan]:
    merged: list[HeatSpan] = []
    for span in spans:
        if span.start >= span.end:
            continue
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = HeatSpan(
                last.start,
                max(last.end, span.end),
                max(last.level, span.level),
                last.bits + span.bits,
            )
        else:
            merged.append(span)
    return merged


def _split_by_line(
    span: HeatSpan, document: LineDocument
) -> Iterator[tuple[int, HeatSpan]]:
    """Yield the parts of a span by line; the first part has all of the bits."""
    line, column = document.get_location_from_index(span.start)
    remaining, bits = span.end - span.start, span.bits
    while remaining > 0 and line < document.line_count:
        length = min(remaining, len(document[line]) + 1 - column)
        yield line, replace(span, start=column, end=column + length, bits=bits)
        remaining -= length
        line, column, bits = line + 1, 0, 0.0
