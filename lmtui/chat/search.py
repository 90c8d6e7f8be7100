"""Finding words in all conversations, and where in a text they stand.

Owns how what a person types becomes a question to the index: every word has to be in
the message, the last one may be only begun, quotes keep words together. What is written
without spaces between its words is found wherever it stands (`spacing`). Never an error
of the question. Knows no screen.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from lmtui.chat.spacing import closed, spaced
from lmtui.chat.store import Store
from lmtui.engine.types import Role

_PARTS = re.compile(r'"([^"]*)"?|(\S+)')
_AROUND = 24  # words of a message that a hit is shown among


@dataclass(frozen=True, slots=True)
class Passage:
    """A text, and where in it the words stand."""

    text: str
    places: tuple[tuple[int, int], ...]
    """Start and end of each, in code points."""


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
    found = _PARTS.findall(text.replace("\0", " "))
    parts = [(quoted or word, bool(quoted)) for quoted, word in found]
    words = [(part.replace('"', ""), kept) for part, kept in parts]
    words = [(part, kept) for part, kept in words if any(map(str.isalnum, part))]
    terms = [f'"{spaced(part)}"' for part, _ in words]
    if words and not words[-1][1] and not text[-1:].isspace():
        terms[-1] += "*"
    return " ".join(terms)


def search(store: Store, text: str, *, limit: int = 50) -> list[Hit]:
    """The messages that hold what is typed, the newest first.

    Raises:
        LmtuiError: the store can't be read.
        Damaged: it is broken.
    """
    asked = question(text)
    if not asked:
        return []
    begin, end = _marks()
    with store.database.reading() as connection:
        # The index first: it is read from its end, only as far as there are hits.
        found = connection.execute(
            "SELECT m.conversation, m.id, m.role, c.title, c.archived,"
            " snippet(words, 0, ?, ?, '…', ?) AS shown FROM words"
            " CROSS JOIN messages m ON m.key = words.rowid"
            " CROSS JOIN conversations c ON c.id = m.conversation"
            " WHERE words MATCH ? AND m.gone = 0 AND c.deleted = 0"
            " ORDER BY words.rowid DESC LIMIT ?",
            (begin, end, _AROUND, asked, limit),
        ).fetchall()
    return [
        Hit(row["conversation"], row["id"], row["title"], bool(row["archived"]),
            row["role"], _passage(row["shown"], begin, end))
        for row in found
    ]  # fmt: skip


def places(store: Store, text: str, *, conversation: int, message: int) -> Passage:
    """A whole message, and where in it the words stand.

    Raises:
        LmtuiError: the store can't be read.
        Damaged: it is broken.
    """
    begin, end = _marks()
    with store.database.reading() as connection:
        found = connection.execute(
            "SELECT highlight(words, 0, ?, ?) AS shown FROM words WHERE words MATCH ?"
            " AND rowid = (SELECT key FROM messages WHERE conversation = ? AND id = ?)",
            (begin, end, question(text) or '""', conversation, message),
        ).fetchone()
    return _passage(found["shown"], begin, end) if found else Passage("", ())


def _marks() -> tuple[str, str]:
    """What no text holds: whoever wrote it could not know."""
    secret = secrets.token_hex(8)
    return f"\ufdd0{secret}\ufdd1", f"\ufdd1{secret}\ufdd0"


def _passage(shown: str, begin: str, end: str) -> Passage:
    text, found = "", []
    for number, part in enumerate(closed(shown).split(begin)):
        inside, mark, after = part.partition(end)
        if number and mark:
            found.append((len(text), len(text) + len(inside)))
        text += inside + after
    return Passage(text, tuple(found))
