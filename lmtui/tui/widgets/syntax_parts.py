"""Parts of a program's text by what they are, for colours.

Owns which file is in which language, and asks only for the lines that are drawn. Knows
no widget and no colour.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import PurePath
from typing import TYPE_CHECKING

from textual._tree_sitter import get_language
from textual.widgets import TextArea

from lmtui.tui.widgets.line_document import SyntaxLineDocument

if TYPE_CHECKING:
    from tree_sitter import Node, Query

LARGEST = 500_000
"""Characters of a text beyond which it is not looked at: in some languages, a key in
the middle means reading all that follows again, 40 ms in a million characters."""

KINDS = ("comment", "keyword", "name", "number", "string")
"""What a part can be."""

SyntaxPart = tuple[int, int, str]
"""From which character of a line to which, and its kind."""

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


def language_for(path: PurePath) -> str | None:
    """The language of a file by its name; None where it can't be coloured."""
    language = _BY_SUFFIX.get(path.suffix.lower())
    return language if language and get_language(language) else None


def syntax_document(text: str, language: str | None) -> SyntaxLineDocument | None:
    """A document that knows its syntax; None where that can't be had."""
    found = get_language(language) if language and len(text) <= LARGEST else None
    return None if found is None else SyntaxLineDocument(text, found)


class SyntaxParts:
    """The parts of each line of a document, until it changes."""

    def __init__(self, document: SyntaxLineDocument, language: str) -> None:
        self._document = document
        self._query = _query_of(language, document)
        self._blocks: dict[int, dict[int, list[SyntaxPart]]] = {}

    def clear(self) -> None:
        """The document has changed."""
        self._blocks.clear()

    def of(self, line: int) -> list[SyntaxPart]:
        """The parts of a line; where two overlap, the later one counts."""
        block = line // _BLOCK
        if block not in self._blocks:
            self._blocks[block] = self._ask(block * _BLOCK, (block + 1) * _BLOCK)
        return self._blocks[block].get(line, [])

    def _ask(self, first: int, beyond: int) -> dict[int, list[SyntaxPart]]:
        found: dict[int, list[SyntaxPart]] = {}
        captures = self._document.query_syntax_tree(
            self._query, (first, 0), (beyond, 0)
        )
        for name, nodes in captures.items():
            kind = _KIND_OF.get(name.partition(".")[0])
            for node in nodes if kind else ():
                self._add(found, node, kind or "", first, beyond)
        return found

    def _add(
        self,
        found: dict[int, list[SyntaxPart]],
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
                found.setdefault(line, []).append((low, high, kind))


def _column(line: str, byte: int) -> int:
    """The code point that begins at a byte of a line."""
    if line.isascii():
        return min(byte, len(line))
    return bisect_left(range(len(line)), byte, key=lambda n: len(line[:n].encode()))


_queries: dict[str, Query] = {}


def _query_of(language: str, document: SyntaxLineDocument) -> Query:
    """What Textual asks a syntax tree of a language; made once, which takes long."""
    if language not in _queries:
        text = TextArea._get_builtin_highlight_query(language)
        query = document.prepare_query(text)
        assert query is not None
        _queries[language] = query
    return _queries[language]
