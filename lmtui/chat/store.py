"""The store of conversations: an SQLite file that several programs may use at once.

Every method waits for the disk, so screens call it through `writer`. The order of use
is a growing number, not the clock. Knows no torch and no screen.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from lmtui.chat.conversation import Conversation, ConversationDelta
from lmtui.chat.database import Damaged, Database
from lmtui.chat.excerpts import preview_of, title_of
from lmtui.chat.message import ChatMessage
from lmtui.chat.records import node_of, row_of, storable
from lmtui.chat.summary import ConversationMeta, ConversationSummary, StoredConversation
from lmtui.chat.thinking import answer_of
from lmtui.engine.types import Role
from lmtui.errors import LmtuiError

_RECALLED = 20_000  # code points of a message that the input history offers
_SHOWN = 2000  # code points of a message in a list's preview pane
UNDO = 24 * 3600.0
"""Seconds for which a deleted conversation can be restored."""

ConversationFlag = Literal["pinned", "deleted"]


def copies(file: Path) -> tuple[Path, Path]:
    """Return where the last daily copy of a file is, and the one before."""
    last, before = (file.with_name(f"{file.name}.copy-{n}") for n in (1, 2))
    return last, before


class Store(Database):
    """The conversations of one file.

    Every method raises `LmtuiError` where the file can't be used or has no such
    conversation, and `Damaged` where the file is damaged.
    """

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
        """
        touched, refused = dict[str, int](), set[str]()
        with self.writing() as connection:
            for uid, change in changes.items():
                row = connection.execute(
                    "SELECT id, touched FROM conversation WHERE uid = ?", (uid,)
                ).fetchone()
                if row and row["touched"] != (known or {}).get(uid, row["touched"]):
                    refused.add(uid)
                    continue
                id_ = row["id"] if row else _make(connection, uid)
                _write(connection, id_, change)
                if change.nodes:
                    describe(connection, id_, change.nodes)
                sql = "SELECT touched FROM conversation WHERE id = ?"
                touched[uid] = connection.execute(sql, (id_,)).fetchone()["touched"]
        return touched, refused

    def add(self, uid: str, conversation: Conversation, meta: ConversationMeta) -> int:
        """Save a whole conversation with its metadata; return its id."""
        whole = ConversationDelta(conversation.nodes, dict(conversation.chosen))
        names = [field.name for field in fields(ConversationMeta)]
        values = {name: getattr(meta, name) for name in names}
        with self.writing() as connection:
            id_ = _make(connection, uid)
            _write(connection, id_, whole)
            describe(connection, id_, conversation.path)
            connection.execute(
                f"UPDATE conversation SET {', '.join(f'{n} = :{n}' for n in names)}"
                " WHERE id = :id",
                {**values, "title": storable(meta.title), "id": id_},
            )
        return id_

    def rename(self, id_: int, title: str) -> None:
        """Give a conversation another title; an empty one is made anew, from the first
        user message."""
        name = " ".join(storable(title).split())
        with self.writing() as connection:
            _require(connection, id_)
            asked = connection.execute(
                "SELECT content FROM message WHERE conversation = ? AND role = 'user'"
                " AND gone = 0 ORDER BY id LIMIT 1",
                (id_,),
            ).fetchone()
            made = title_of(asked["content"]) if asked else ""
            connection.execute(
                "UPDATE conversation SET title = ?, named = ? WHERE id = ?",
                (name or made, bool(name), id_),
            )

    def mark(self, id_: int, mark: ConversationFlag, value: bool) -> None:
        """Set or clear a conversation's flag: pinned or deleted."""
        when = ", updated = :now" if mark == "deleted" else ""
        with self.writing() as connection:
            _require(connection, id_, deleted=True)
            connection.execute(
                f"UPDATE conversation SET {mark} = :value{when} WHERE id = :id",
                {"value": value, "now": time.time(), "id": id_},
            )

    def remove(self, id_: int) -> None:
        """Remove a conversation permanently."""
        with self.writing() as connection:
            _require(connection, id_, deleted=True)
            connection.execute("DELETE FROM conversation WHERE id = ?", (id_,))
        self._remove_copies()

    def purge(self) -> None:
        """Remove conversations that were deleted more than a day ago."""
        with self.writing() as connection:
            gone = connection.execute(
                "DELETE FROM conversation WHERE deleted AND updated < ?",
                (time.time() - UNDO,),
            ).rowcount
        if gone:
            self._remove_copies()

    def _remove_copies(self) -> None:
        """Remove the copies of the file, which still have what was removed from it."""
        for copy in copies(self.file):
            copy.unlink(missing_ok=True)

    def listed(self, *, limit: int = -1) -> list[ConversationSummary]:
        """Return the conversations, pinned ones first, then by last use."""
        rows = self.rows(
            "SELECT * FROM conversation WHERE deleted = 0"
            " ORDER BY pinned DESC, touched DESC LIMIT ?",
            limit,
        )
        return [summary_of(row) for row in rows]

    def count(self) -> int:
        """Return the number of conversations."""
        return len(self.rows("SELECT id FROM conversation WHERE deleted = 0"))

    def last(self) -> int | None:
        """Return the id of the conversation that was used last."""
        row = self.row(
            "SELECT id FROM conversation WHERE deleted = 0 ORDER BY touched DESC"
        )
        return int(row["id"]) if row else None

    def find(self, uid: str) -> int:
        row = self.row("SELECT id FROM conversation WHERE uid = ?", uid)
        if row is None:
            raise LmtuiError("this conversation is not saved yet", "", "Try it again.")
        return int(row["id"])

    def ending(self, id_: int, limit: int = 8) -> list[tuple[Role, str]]:
        """Return the last messages of a conversation as role and text, in order."""
        rows = self.rows(
            "SELECT role, SUBSTR(content, 1, ?) AS content FROM message"
            " WHERE conversation = ? AND id > 0 AND gone = 0 AND content <> ''"
            " ORDER BY id DESC LIMIT ?",
            _SHOWN,
            id_,
            limit,
        )
        return [(row["role"], row["content"]) for row in reversed(rows)]

    def asked(self, limit: int = 200) -> list[str]:
        """Return the latest user messages of all conversations, in order; of equal ones
        in a row only one."""
        rows = self.rows(
            "SELECT content FROM message WHERE role = 'user' AND gone = 0"
            " AND LENGTH(content) < ? ORDER BY key DESC LIMIT ?",
            _RECALLED,
            limit,
        )
        return [text for text, _ in groupby(row["content"] for row in reversed(rows))]

    def load(self, id_: int) -> StoredConversation:
        """Return a conversation with all its messages; their tokens stay packed."""
        with self.reading() as connection:
            about = summary_of(_require(connection, id_))
        rows = self.rows(
            "SELECT * FROM message WHERE conversation = ? ORDER BY id", id_
        )
        return StoredConversation(about, conversation_of(rows))


def _make(connection: sqlite3.Connection, uid: str) -> int:
    now = time.time()
    made = connection.execute(
        "INSERT INTO conversation (uid, touched, created, updated)"
        f" VALUES (?, {_NEXT}, ?, ?)",
        (uid, now, now),
    )
    assert made.lastrowid is not None
    return made.lastrowid


_NEXT = "(SELECT IFNULL(MAX(touched), 0) + 1 FROM conversation)"


_UPSERT = (
    "INSERT INTO message (conversation, id, parent, gone, writer, json, tokens)"
    " VALUES (:conversation, :id, :parent, :gone, :writer, :json, :tokens)"
    " ON CONFLICT (conversation, id) DO UPDATE SET parent = excluded.parent,"
    " gone = excluded.gone, writer = excluded.writer, json = excluded.json,"
    " tokens = excluded.tokens"
)


def _write(connection: sqlite3.Connection, id_: int, change: ConversationDelta) -> None:
    rows = ({**row_of(node), "conversation": id_} for node in change.nodes)
    connection.executemany(_UPSERT, rows)
    connection.executemany(
        "UPDATE message SET chosen = ? WHERE conversation = ? AND id = ?",
        ((child, id_, parent) for parent, child in change.chosen.items()),
    )
    if change.thinking is not None:
        connection.execute(
            "UPDATE conversation SET thinking = ? WHERE id = ?",
            (change.thinking, id_),
        )


def describe(
    connection: sqlite3.Connection, id_: int, nodes: Iterable[ChatMessage]
) -> None:
    """Update what a list shows of a conversation after messages were saved."""
    texts = [node for node in nodes if node.content and node.role != "system"]
    last = answer_of(texts[-1]) or texts[-1].content if texts else None
    models = [node.model for node in texts if node.model]
    asked = [node.content for node in texts if node.role == "user"]
    connection.execute(
        f"UPDATE conversation SET touched = {_NEXT}, updated = ?,"
        " messages = (SELECT COUNT(*) FROM message"
        "   WHERE conversation = conversation.id AND id > 0 AND gone = 0),"
        " title = CASE title WHEN '' THEN ? ELSE title END,"
        " preview = IFNULL(?, preview), model = IFNULL(?, model) WHERE id = ?",
        (
            time.time(),
            storable(title_of(asked[0])) if asked else "",
            storable(preview_of(last)) if last else None,
            models[-1] if models else None,
            id_,
        ),
    )


def _require(
    connection: sqlite3.Connection, id_: int, *, deleted: bool = False
) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM conversation WHERE id = ? AND (deleted = 0 OR ?)",
        (id_, deleted),
    ).fetchone()
    if row is None:
        raise LmtuiError(
            "there is no such conversation", str(id_), "See `lmtui history list`."
        )
    return row


_SUMMARIES = TypeAdapter(ConversationSummary)


def summary_of(row: sqlite3.Row | Mapping[str, Any]) -> ConversationSummary:
    """Return a conversation's row as lists show it.

    Raises:
        Damaged: a value has another type or is out of range; SQLite reads any bytes as
            some value.
    """
    names = [field.name for field in fields(ConversationSummary)]
    try:
        return _SUMMARIES.validate_python({name: row[name] for name in names})
    except ValidationError as error:
        raise Damaged(f"the row of conversation {row['id']}") from error


def conversation_of(rows: Sequence[sqlite3.Row]) -> Conversation:
    """Return the tree of these rows, repaired where rows are missing.

    A salvaged file may have holes. A message whose parent is lost follows the last one
    kept before it, and a message that led to a lost one leads to its last child.
    """
    root = ChatMessage(0, None, "system", "")
    nodes: dict[int, ChatMessage] = {}
    chosen: dict[int, int] = {}
    holes = {0}  # messages whose child on the branch is not known
    for row in rows:
        try:
            node = node_of(row)
        except ValueError:
            continue
        if node.id == 0 and node.role == "system":
            nodes[0] = node
            holes.clear()
        elif node.id > 0 and node.role != "system":
            nodes.setdefault(0, root)
            if node.parent not in nodes:
                node = replace(node, parent=max(nodes))
                holes.add(max(nodes))
            nodes[node.id] = node
        if row["chosen"] is not None:
            chosen[node.id] = row["chosen"]
    nodes.setdefault(0, root)
    links = {a: b for a, b in chosen.items() if b in nodes and nodes[b].parent == a}
    holes = (holes | chosen.keys()) - links.keys()
    for node in nodes.values():
        if node.parent in holes and not node.gone:
            links[node.parent] = node.id
    return Conversation.restored(nodes.values(), links)
