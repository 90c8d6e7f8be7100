"""The SQL tables of the conversations.

A conversation's row has all that a list shows. A message's row has its place in the
tree, the message as JSON, and its tokens. The full-text index refers to the messages'
text, `spaced`, without the growing ones and the system messages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lmtui.chat import migration
from lmtui.errors import LmtuiError

APPLICATION = 0x6C6D7475
"""SQLite's application id of the file: `lmtu`."""

VERSION = 5
"""The version that this program writes."""

_TABLES = """
CREATE TABLE conversation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL DEFAULT '',
    named INTEGER NOT NULL DEFAULT 0,
    pinned INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    thinking TEXT,
    touched INTEGER NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0,
    preview TEXT NOT NULL DEFAULT '',
    model TEXT
);
CREATE INDEX by_use ON conversation (deleted, pinned DESC, touched DESC);

CREATE TABLE message (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    parent INTEGER,
    chosen INTEGER,
    gone INTEGER NOT NULL,
    writer TEXT,
    json TEXT NOT NULL,
    tokens BLOB NOT NULL,
    role TEXT AS (json_extract(json, '$.role')),
    content TEXT AS (json_extract(json, '$.content')),
    indexed INTEGER AS (json_extract(json, '$.state') <> 'growing'
        AND json_extract(json, '$.role') <> 'system'),
    UNIQUE (conversation, id)
);

CREATE VIEW spoken AS SELECT key, spaced(content) AS content FROM message
WHERE indexed;
CREATE VIRTUAL TABLE words USING fts5 (
    content, content = 'spoken', content_rowid = 'key',
    tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER message_made AFTER INSERT ON message WHEN new.indexed BEGIN
    INSERT INTO words (rowid, content) VALUES (new.key, spaced(new.content));
END;
CREATE TRIGGER message_left AFTER DELETE ON message WHEN old.indexed BEGIN
    INSERT INTO words (words, rowid, content)
    VALUES ('delete', old.key, spaced(old.content));
END;
CREATE TRIGGER message_changed AFTER UPDATE ON message
WHEN old.content <> new.content OR old.indexed <> new.indexed BEGIN
    INSERT INTO words (words, rowid, content)
    SELECT 'delete', old.key, spaced(old.content) WHERE old.indexed;
    INSERT INTO words (rowid, content)
    SELECT new.key, spaced(new.content) WHERE new.indexed;
END;
"""


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of the block, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables, or convert those of 0.1.0, in one transaction.

    Raises:
        LmtuiError: a newer program made the file, or it is of another kind.
        sqlite3.Error: the file can't be read or written.
    """
    if version(connection) == VERSION:
        return
    with transaction(connection):
        # Read the version again: another program may have prepared it meanwhile.
        before = version(connection)
        if before == migration.VERSION:
            migration.make_room(connection)
        if before < VERSION:
            for statement in _statements(_TABLES):
                connection.execute(statement)
        if before == migration.VERSION:
            migration.convert(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")


def version(connection: sqlite3.Connection) -> int:
    """Return the version of the file; 0 for an empty one.

    Raises:
        LmtuiError: a newer program made it, or it is of another kind.
    """
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if number > VERSION and application == APPLICATION:
        raise LmtuiError(
            "your conversations were saved by a newer lmtui",
            f"version {number} of the file, this program knows {VERSION}",
            "Update lmtui, or set LMTUI_HOME to another folder.",
        )
    if (number or application) and (
        application != APPLICATION or number not in (migration.VERSION, VERSION)
    ):
        raise LmtuiError(
            "the conversation file belongs to another program",
            f"application {application:#x}, version {number}",
            "Move it away, or set LMTUI_HOME to another folder.",
        )
    return int(number)


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements.

    Run as a whole, a script would commit the open transaction.
    """
    begun = ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            yield begun
            begun = ""
