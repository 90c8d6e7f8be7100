"""Full-text search in conversations, and the spans of the words found.

Spans are found by the index's own tokenizer (FTS5 `highlight`), part by part of a text.
On a whole text `highlight` takes time quadratic in the hits; in parts it is linear.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, takewhile

from lmtui.chat.cjk import BEGIN, END, closed, runs, spaced
from lmtui.chat.store import Store
from lmtui.engine.types import Role

TOKENIZER = "unicode61 remove_diacritics 2"
"""The tokenizer of the full-text index."""

MOST = 1_000
"""Largest number of words that are marked in a text."""
_PART, _PARTS = 1_000, 64  # code points of a part; parts in one transaction
_BEFORE, _SHOWN = 60, 220  # code points of a passage before its words, and in all
_LOOKED_AT = 200  # found words among which the best passage is chosen

_QUERY_PARTS = re.compile(r'"([^"]*)"?|(\S+)')


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A text and the spans of the words found in it."""

    text: str
    places: tuple[tuple[int, int], ...]
    """Start and end of each word, in code points."""


class Marker:
    """Finds the terms of a query in texts."""

    def __init__(self, terms: str) -> None:
        self._terms = terms
        self._memory = sqlite3.connect(":memory:", isolation_level=None)
        self._memory.execute(
            f"CREATE VIRTUAL TABLE words USING fts5 (part, tokenize = '{TOKENIZER}')"
        )

    def __enter__(self) -> Marker:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.close()

    def marked(self, text: str, *, limit: int = MOST) -> Excerpt:
        """Return a text with the spans of at most `limit` terms."""
        return Excerpt(text, tuple(islice(self._places(text), limit)))

    def passage(self, text: str) -> Excerpt:
        """Return the part of a text with the most different terms."""
        return _around(text, self.marked(text, limit=_LOOKED_AT).places)

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the spans of the terms in the order of the text."""
        parts = _parts(text)
        while several := list(islice(parts, _PARTS)):
            self._memory.execute("BEGIN")
            self._memory.executemany(
                "INSERT INTO words (rowid, part) VALUES (?, ?)",
                ((start, spaced(part)) for start, part in several),
            )
            highlighted = self._memory.execute(
                "SELECT rowid, highlight(words, 0, ?, ?) FROM words"
                " WHERE words MATCH ? ORDER BY rowid",
                (BEGIN, END, self._terms),
            ).fetchall()
            self._memory.execute("ROLLBACK")
            for start, shown in highlighted:
                yield from _marks(start, closed(shown))


def _around(text: str, places: tuple[tuple[int, int], ...]) -> Excerpt:
    def words_from(first: int) -> int:
        until = places[first][0] + _SHOWN - _BEFORE
        inside = takewhile(lambda p: p[1] <= until, islice(places, first, None))
        return len({text[start:end].casefold() for start, end in inside})

    start = places[max(range(len(places)), key=words_from)][0] if places else 0
    begin, end = max(0, start - _BEFORE), start + _SHOWN - _BEFORE
    if begin:  # begin at a word, if possible
        begin = text.find(" ", begin, start) + 1 or begin
    if end < len(text):
        last = max((b for _, b in places if b <= end), default=0)
        end = max(text.rfind(" ", start, end), last) if last > start else end
    before, after = "…" if begin else "", "…" if end < len(text) else ""
    by = begin - len(before)
    inside = tuple(
        (max(a, begin) - by, min(b, end) - by)
        for a, b in places
        if a < end and begin < b
    )
    return Excerpt(f"{before}{text[begin:end]}{after}", inside)


def _marks(start: int, shown: str) -> Iterator[tuple[int, int]]:
    before, *others = shown.split(BEGIN)
    at = start + len(before)
    for other in others:
        inside, _, after = other.partition(END)
        yield from ((at + begin, at + end) for begin, end in runs(inside))
        at += len(inside) + len(after)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Yield a text's parts, each with its start; cut between words where possible."""
    start = 0
    while start < len(text):
        end = start + _PART
        if end < len(text):
            end = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
            end = end if end > 0 else start + _PART
        yield start, text[start:end]
        start = end


@dataclass(frozen=True, slots=True)
class Hit:
    conversation: int
    message: int
    title: str
    role: Role
    passage: Excerpt


def question(text: str) -> str:
    """Return the user's input as an FTS5 query; empty where it has no word."""
    return " ".join(_terms(text))


def _terms(text: str) -> list[str]:
    matches = _QUERY_PARTS.findall(text.replace("\0", " "))
    parts = [(quoted or word, bool(quoted)) for quoted, word in matches]
    words = [(part.replace('"', ""), kept) for part, kept in parts]
    words = [(part, kept) for part, kept in words if any(map(str.isalnum, part))]
    terms = [f'"{spaced(part)}"' for part, _ in words]
    if words and not words[-1][1] and not text[-1:].isspace():
        terms[-1] += "*"
    return terms


def search(store: Store, text: str, *, limit: int = 50) -> list[Hit]:
    """Return the messages that match the user's input, the newest first."""
    asked = question(text)
    if not asked:
        return []
    # CROSS JOIN keeps the index first: it is read backwards until LIMIT hits.
    rows = store.rows(
        "SELECT m.conversation, m.id, m.role, m.content, c.title"
        " FROM words CROSS JOIN message m ON m.key = words.rowid"
        " CROSS JOIN conversation c ON c.id = m.conversation"
        " WHERE words MATCH ? AND m.gone = 0 AND c.deleted = 0"
        " ORDER BY words.rowid DESC LIMIT ?",
        asked,
        limit,
    )
    with _marker(text) as marker:
        return [
            Hit(row["conversation"], row["id"], row["title"], row["role"],
                marker.passage(row["content"]))
            for row in rows
        ]  # fmt: skip


def places(store: Store, text: str, *, conversation: int, message: int) -> Excerpt:
    """Return a whole message and the spans of the words in it."""
    row = store.row(
        "SELECT m.content FROM words CROSS JOIN message m ON m.key = words.rowid"
        " WHERE words MATCH ? AND m.conversation = ? AND m.id = ?"
        " AND words.rowid = m.key",
        question(text) or '""',
        conversation,
        message,
    )
    if row is None:
        return Excerpt("", ())
    with _marker(text) as marker:
        return marker.marked(row["content"])


def _marker(text: str) -> Marker:
    """Return a marker for any of the words; a part of a message need not hold all."""
    return Marker(" OR ".join(_terms(text)))
