"""The syntax of the text in the editor.

Columns are in code points. Knows no widget and no style.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import PurePath
from typing import TYPE_CHECKING

from textual._tree_sitter import get_language
from textual.document._document import Location
from textual.document._syntax_aware_document import SyntaxAwareDocument
from textual.widgets import TextArea

from lmtui.tui.widgets.line_document import LineDocument

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
