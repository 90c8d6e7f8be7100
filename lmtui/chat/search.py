"""Finding words in all conversations, and where in their texts they stand.

Owns how what a person types becomes a question to the index: every word has to be in
the message, the last one may be only begun, quotes keep words together. What is written
without spaces between its words is found wherever it stands (`spacing`). Never an error
of the question. Knows no screen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lmtui.chat.marking import Marker, Passage
from lmtui.chat.spacing import spaced
from lmtui.chat.store import Store
from lmtui.engine.types import Role

_PARTS = re.compile(r'"([^"]*)"?|(\S+)')


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that holds the words."""

    conversation: int
    message: int
    title: str
    archived: bool
    role: Role
    passage: Passage


def question(text: str) -> str:
    """What is typed as the index reads it; nothing where no word is in it."""
    return " ".join(_terms(text))


def _terms(text: str) -> list[str]:
    found = _PARTS.findall(text.replace("\0", " "))
    parts = [(quoted or word, bool(quoted)) for quoted, word in found]
    words = [(part.replace('"', ""), kept) for part, kept in parts]
    words = [(part, kept) for part, kept in words if any(map(str.isalnum, part))]
    terms = [f'"{spaced(part)}"' for part, _ in words]
    if words and not words[-1][1] and not text[-1:].isspace():
        terms[-1] += "*"
    return terms


def search(store: Store, text: str, *, limit: int = 50) -> list[Hit]:
    """The messages that hold what is typed, the newest first.

    Raises:
        LmtuiError: the store can't be read.
        Damaged: it is broken.
    """
    asked = question(text)
    if not asked:
        return []
    with store.database.reading() as connection, _marker(text) as marker:
        # The index first: it is read from its end, only as far as there are hits.
        found = connection.execute(
            "SELECT m.conversation, m.id, m.role, m.content, c.title, c.archived"
            " FROM words CROSS JOIN messages m ON m.key = words.rowid"
            " CROSS JOIN conversations c ON c.id = m.conversation"
            " WHERE words MATCH ? AND m.gone = 0 AND c.deleted = 0"
            " ORDER BY words.rowid DESC LIMIT ?",
            (asked, limit),
        )
        return [
            Hit(row["conversation"], row["id"], row["title"], bool(row["archived"]),
                row["role"], marker.passage(row["content"]))
            for row in found
        ]  # fmt: skip


def places(store: Store, text: str, *, conversation: int, message: int) -> Passage:
    """A whole message, and where in it the words stand.

    Raises:
        LmtuiError: the store can't be read.
        Damaged: it is broken.
    """
    with store.database.reading() as connection:
        found = connection.execute(
            "SELECT m.content FROM words CROSS JOIN messages m ON m.key = words.rowid"
            " WHERE words MATCH ? AND m.conversation = ? AND m.id = ?"
            " AND words.rowid = m.key",
            (question(text) or '""', conversation, message),
        ).fetchone()
    if found is None:
        return Passage("", ())
    with _marker(text) as marker:
        return marker.marked(found["content"])


def _marker(text: str) -> Marker:
    """What finds each of the words; a part of a message need not hold all."""
    return Marker(" OR ".join(_terms(text)))
