"""The store of conversations: an SQLite file that several programs may use at once.

Every method waits for the disk, so screens call it through `writer`. The order of use
is a growing number, not the clock. Knows no torch and no screen.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lmtui.chat import rows
from lmtui.chat.conversation import Conversation, ConversationDelta
from lmtui.chat.database import Damaged, Database
from lmtui.chat.excerpts import preview_of, title_of
from lmtui.chat.message import ChatMessage
from lmtui.chat.rows import conversation_of
from lmtui.chat.summary import ConversationMeta, ConversationSummary, StoredConversation
from lmtui.chat.thinking import answer_of
from lmtui.config.settings import THINKING
from lmtui.engine.types import Role
from lmtui.errors import LmtuiError

_RECALLED = 20_000  # code points of a message that the input history offers
_SHOWN = 2000  # code points of a message in a list's preview pane
UNDO = 24 * 3600.0
"""Seconds for which a deleted conversation can be restored."""

ConversationFlag = Literal["pinned", "archived", "deleted"]


class Store:
    def __init__(self, file: Path, *, readonly: bool = False) -> None:
        """Open the file, which is created where there is none.

        Raises:
            LmtuiError: the file can't be used.
            Damaged: the file is damaged.
        """
        self.database = Database(file, readonly=readonly)

    def close(self) -> None:
        self.database.close()

    # Writing.

    def save(
        self,
        changes: Mapping[str, ConversationDelta],
        known: Mapping[str, int] | None = None,
    ) -> tuple[dict[str, int], set[str]]:
        """Save changes of conversations, named by their uids; new ones are created.

        All of it is on the disk when this returns: the new `touched` of each, and the
        refused ones, of which nothing is saved. `known` is the `touched` of each that
        the caller knows: a conversation that another program has changed since is
        refused.

        Raises:
            LmtuiError: nothing could be saved.
            Damaged: the file is damaged.
        """
        touched, refused = dict[str, int](), set[str]()
        with self.database.writing() as connection:
            for uid, change in changes.items():
                there = _touched(connection, uid)
                if there and there != (known or {}).get(uid, there):
                    refused.add(uid)
                    continue
                id_ = _id_of(connection, uid) or _make(connection, uid)
                _write(connection, id_, change)
                if change.nodes:
                    _summarise(connection, id_, change.nodes)
                touched[uid] = _touched(connection, uid)
        return touched, refused

    def add(self, uid: str, conversation: Conversation, facts: ConversationMeta) -> int:
        """Save a whole conversation with its metadata; return its id.

        Raises:
            LmtuiError: the conversation can't be saved.
            Damaged: the file is damaged.
        """
        chosen = dict(conversation.chosen)
        whole = ConversationDelta(conversation.nodes, chosen, facts.thinking)
        with self.database.writing() as connection:
            id_ = _make(connection, uid)
            _write(connection, id_, whole)
            _summarise(connection, id_, conversation.path)
            connection.execute(
                "UPDATE conversations SET title = ?, named = ?, pinned = ?,"
                " archived = ?, created = ?, updated = ? WHERE id = ?",
                (rows.storable(facts.title), facts.named, facts.pinned,
                 facts.archived, facts.created, facts.updated, id_),
            )  # fmt: skip
        return id_

    def rename(self, id_: int, title: str) -> None:
        """Give a conversation another title; an empty one is made anew.

        It is then made from the first user message.

        Raises:
            LmtuiError: there is no such conversation.
        """
        name = " ".join(rows.storable(title).split())
        with self.database.writing() as connection:
            _require(connection, id_)
            made = name or _made_title(connection, id_)
            connection.execute(
                "UPDATE conversations SET title = ?, named = ? WHERE id = ?",
                (made, bool(name), id_),
            )

    def mark(self, id_: int, mark: ConversationFlag, value: bool) -> None:
        """Set or clear a conversation's flag: pinned, archived or deleted.

        Raises:
            LmtuiError: there is no such conversation.
        """
        when = ", updated = :now" if mark == "deleted" else ""
        with self.database.writing() as connection:
            _require(connection, id_, deleted=True)
            connection.execute(
                f"UPDATE conversations SET {mark} = :value{when} WHERE id = :id",
                {"value": value, "now": time.time(), "id": id_},
            )

    def remove(self, id_: int) -> None:
        """Remove a conversation permanently.

        Raises:
            LmtuiError: there is no such conversation.
        """
        with self.database.writing() as connection:
            _require(connection, id_, deleted=True)
            connection.execute("DELETE FROM conversations WHERE id = ?", (id_,))

    def purge(self) -> None:
        """Remove conversations that were deleted more than a day ago."""
        with self.database.writing() as connection:
            connection.execute(
                "DELETE FROM conversations WHERE deleted AND updated < ?",
                (time.time() - UNDO,),
            )

    # Reading.

    def listed(
        self, *, archived: bool = False, limit: int = -1, title: str = ""
    ) -> list[ConversationSummary]:
        """Return the conversations, pinned ones first, then by last use.

        `archived` includes the archived ones. `title` holds words that the title must
        contain.
        """
        where, values = "deleted = 0", list[Any]()
        if not archived:
            where += " AND archived = 0"
        for word in title.split():
            where += " AND title LIKE ? ESCAPE '\\'"
            values.append(f"%{_literal(word)}%")
        with self.database.reading() as connection:
            found = connection.execute(
                f"SELECT * FROM conversations WHERE {where}"
                " ORDER BY archived, pinned DESC, touched DESC LIMIT ?",
                (*values, limit),
            )
            return [_listed(row) for row in found]

    def count(self) -> int:
        """Return the number of conversations, archived ones included."""
        with self.database.reading() as connection:
            found = connection.execute(
                "SELECT COUNT(*) FROM conversations WHERE deleted = 0"
            )
            return int(found.fetchone()[0])

    def last(self) -> int | None:
        """Return the id of the conversation that was used last."""
        with self.database.reading() as connection:
            found = connection.execute(
                "SELECT id FROM conversations WHERE deleted = 0"
                " ORDER BY touched DESC LIMIT 1"
            ).fetchone()
        return int(found["id"]) if found else None

    def find(self, uid: str) -> int:
        """Return the id of a conversation.

        Raises:
            LmtuiError: there is no such conversation.
        """
        with self.database.reading() as connection:
            found = _id_of(connection, uid)
        if found is None:
            raise LmtuiError("this conversation is not saved yet", "", "Try it again.")
        return found

    def like(self, id_: int) -> int | None:
        """Return another conversation with the same title, length and preview."""
        with self.database.reading() as connection:
            found = connection.execute(
                "SELECT id FROM conversations WHERE deleted = 0 AND id <> :id"
                " AND (title, messages, preview) = (SELECT title, messages, preview"
                " FROM conversations WHERE id = :id) ORDER BY id LIMIT 1",
                {"id": id_},
            ).fetchone()
        return int(found["id"]) if found else None

    def ending(self, id_: int, limit: int = 8) -> list[tuple[Role, str]]:
        """Return the last messages of a conversation as role and text, in order."""
        with self.database.reading() as connection:
            found = connection.execute(
                "SELECT role, SUBSTR(content, 1, ?) AS content FROM messages"
                " WHERE conversation = ? AND id > 0 AND gone = 0 AND content <> ''"
                " ORDER BY id DESC LIMIT ?",
                (_SHOWN, id_, limit),
            ).fetchall()
        return [(row["role"], row["content"]) for row in reversed(found)]

    def asked(self, limit: int = 200) -> list[str]:
        """Return the latest user messages of all conversations, in order.

        Of equal ones in a row only one is returned.
        """
        with self.database.reading() as connection:
            found = connection.execute(
                "SELECT content FROM messages WHERE role = 'user' AND gone = 0"
                " AND LENGTH(content) < ? ORDER BY key DESC LIMIT ?",
                (_RECALLED, limit),
            ).fetchall()
        said = [row["content"] for row in reversed(found)]
        return [
            text
            for text, after in zip(said, [*said[1:], None], strict=True)
            if text != after
        ]

    def load(self, id_: int) -> StoredConversation:
        """Return a conversation with all its messages; their tokens stay packed.

        Raises:
            LmtuiError: there is no such conversation.
            Damaged: the file is damaged.
        """
        with self.database.reading() as connection:
            about = _listed(_require(connection, id_))
            found = connection.execute(
                "SELECT * FROM messages WHERE conversation = ? ORDER BY id", (id_,)
            ).fetchall()
        return StoredConversation(about, conversation_of(found))


def _id_of(connection: sqlite3.Connection, uid: str) -> int | None:
    found = connection.execute("SELECT id FROM conversations WHERE uid = ?", (uid,))
    row = found.fetchone()
    return int(row["id"]) if row else None


def _touched(connection: sqlite3.Connection, uid: str) -> int:
    """Return a conversation's `touched`; 0 where there is none."""
    found = connection.execute(
        "SELECT touched FROM conversations WHERE uid = ?", (uid,)
    ).fetchone()
    return int(found["touched"]) if found else 0


def _make(connection: sqlite3.Connection, uid: str) -> int:
    now = time.time()
    made = connection.execute(
        "INSERT INTO conversations (uid, touched, created, updated)"
        f" VALUES (?, {_NEXT}, ?, ?)",
        (uid, now, now),
    )
    assert made.lastrowid is not None
    return made.lastrowid


_NEXT = "(SELECT IFNULL(MAX(touched), 0) + 1 FROM conversations)"


def _write(connection: sqlite3.Connection, id_: int, change: ConversationDelta) -> None:
    connection.executemany(
        rows.UPSERT,
        ({**rows.row_of(node), "conversation": id_} for node in change.nodes),
    )
    connection.executemany(
        "UPDATE messages SET chosen = ? WHERE conversation = ? AND id = ?",
        ((child, id_, parent) for parent, child in change.chosen.items()),
    )
    if change.thinking is not None:
        connection.execute(
            "UPDATE conversations SET thinking = ? WHERE id = ?",
            (change.thinking, id_),
        )


def _summarise(
    connection: sqlite3.Connection, id_: int, nodes: tuple[ChatMessage, ...]
) -> None:
    """Update what a list shows of a conversation after messages were saved."""
    said = [node for node in nodes if node.content and node.role != "system"]
    read = answer_of(said[-1]) or said[-1].content if said else None
    replies = [node.model for node in said if node.model]
    asked = [node.content for node in said if node.role == "user"]
    connection.execute(
        f"UPDATE conversations SET touched = {_NEXT}, updated = ?,"
        " messages = (SELECT COUNT(*) FROM messages"
        "   WHERE conversation = conversations.id AND id > 0 AND gone = 0),"
        " title = CASE title WHEN '' THEN ? ELSE title END,"
        " preview = IFNULL(?, preview), model = IFNULL(?, model) WHERE id = ?",
        (
            time.time(),
            rows.storable(title_of(asked[0])) if asked else "",
            rows.storable(preview_of(read)) if read else None,
            replies[-1] if replies else None,
            id_,
        ),
    )


def _made_title(connection: sqlite3.Connection, id_: int) -> str:
    found = connection.execute(
        "SELECT content FROM messages WHERE conversation = ? AND role = 'user'"
        " AND gone = 0 ORDER BY id LIMIT 1",
        (id_,),
    ).fetchone()
    return title_of(found["content"]) if found else ""


def _require(
    connection: sqlite3.Connection, id_: int, *, deleted: bool = False
) -> sqlite3.Row:
    found: sqlite3.Row | None = connection.execute(
        "SELECT * FROM conversations WHERE id = ? AND (deleted = 0 OR ?)",
        (id_, deleted),
    ).fetchone()
    if found is None:
        raise LmtuiError(
            "there is no such conversation", str(id_), "See `lmtui history list`."
        )
    return found


_KINDS = (
    ("id", int),
    ("touched", int),
    ("messages", int),
    ("uid", str),
    ("title", str),
    ("preview", str),
    ("created", float),
    ("updated", float),
)
_LARGEST = 2**53
_YEARS = 253_402_300_800.0  # seconds until the year 10,000, which no date can show


def is_sound(row: Mapping[str, Any]) -> bool:
    """Return whether a conversation's columns have valid types and ranges.

    SQLite reads any bytes as some value.
    """
    return (
        all(isinstance(row[name], kind) for name, kind in _KINDS)
        and all(0 <= row[name] < _LARGEST for name in ("id", "touched", "messages"))
        and all(abs(row[name]) < _YEARS for name in ("created", "updated"))
        and isinstance(row["model"], str | None)
    )


def _listed(row: sqlite3.Row) -> ConversationSummary:
    found = dict(row)  # a read-only file of an older version may lack columns
    if not is_sound(found):
        raise Damaged(f"the row of conversation {found['id']}")
    values: dict[str, Any] = {
        name: found.get(name) for name in ConversationSummary.__slots__
    }
    values |= {name: bool(row[name]) for name in ("named", "pinned", "archived")}
    values["thinking"] = values["thinking"] if values["thinking"] in THINKING else None
    return ConversationSummary(**values)


def _literal(word: str) -> str:
    """Escape a word's wildcards for LIKE."""
    return "".join(f"\\{c}" if c in "\\%_" else c for c in word)
