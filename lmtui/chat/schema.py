"""The SQL tables of the conversations, and the migrations between their versions.

A conversation's row has all that a list shows. A message's row has its text and its
packed tokens. The full-text index refers to the messages' text, `spaced`, without the
growing ones and the system messages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lmtui.errors import LmtuiError

APPLICATION = 0x6C6D7475
"""SQLite's application id of the file: `lmtu`."""

_FIRST = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL DEFAULT '',
    named INTEGER NOT NULL DEFAULT 0,
    pinned INTEGER NOT NULL DEFAULT 0,
    archived INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    touched INTEGER NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0,
    preview TEXT NOT NULL DEFAULT '',
    model TEXT
);
CREATE INDEX by_use ON conversations (deleted, archived, pinned DESC, touched DESC);

CREATE TABLE messages (
    key INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    parent INTEGER,
    chosen INTEGER,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    state TEXT NOT NULL,
    gone INTEGER NOT NULL,
    model TEXT,
    scored_by TEXT,
    given INTEGER NOT NULL,
    rest TEXT NOT NULL,
    settings TEXT,
    finish TEXT,
    steps BLOB NOT NULL,
    scored BLOB NOT NULL,
    prompt BLOB NOT NULL,
    writer TEXT,
    UNIQUE (conversation, id)
);
CREATE INDEX growing ON messages (writer) WHERE state = 'growing';
"""

_SECOND = """
ALTER TABLE messages ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
"""

_THIRD = """
DROP TRIGGER IF EXISTS message_made;
DROP TRIGGER IF EXISTS message_left;
DROP TRIGGER IF EXISTS message_unread;
DROP TRIGGER IF EXISTS message_read;
DROP TABLE IF EXISTS words;
CREATE VIEW spoken AS SELECT key, spaced(content) AS content FROM messages
WHERE state <> 'growing' AND role <> 'system';
CREATE VIRTUAL TABLE words USING fts5 (
    content, content = 'spoken', content_rowid = 'key',
    tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER message_made AFTER INSERT ON messages
WHEN new.state <> 'growing' AND new.role <> 'system' BEGIN
    INSERT INTO words (rowid, content) VALUES (new.key, spaced(new.content));
END;
CREATE TRIGGER message_left AFTER DELETE ON messages
WHEN old.state <> 'growing' AND old.role <> 'system' BEGIN
    INSERT INTO words (words, rowid, content)
    VALUES ('delete', old.key, spaced(old.content));
END;
CREATE TRIGGER message_unread BEFORE UPDATE ON messages
WHEN old.state <> 'growing' AND old.role <> 'system'
    AND (old.content <> new.content OR new.state = 'growing') BEGIN
    INSERT INTO words (words, rowid, content)
    VALUES ('delete', old.key, spaced(old.content));
END;
CREATE TRIGGER message_read AFTER UPDATE ON messages
WHEN new.state <> 'growing' AND new.role <> 'system'
    AND (old.content <> new.content OR old.state = 'growing') BEGIN
    INSERT INTO words (rowid, content) VALUES (new.key, spaced(new.content));
END;
INSERT INTO words (words) VALUES ('rebuild');
"""

_FOURTH = """
ALTER TABLE conversations ADD COLUMN thinking TEXT;
"""

STEPS = (_FIRST, _SECOND, _THIRD, _FOURTH)
"""The migrations, one from each version to the next."""

VERSION = len(STEPS)
"""The version that this program writes."""


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
    """Create the tables or migrate those of an older version, in one transaction.

    Raises:
        LmtuiError: a newer program made the file, or it is of another kind.
        sqlite3.Error: the file can't be read or written.
    """
    if version(connection) == VERSION:
        return
    with transaction(connection):
        # Read the version again: another program may have migrated meanwhile.
        for step in STEPS[version(connection) :]:
            for statement in _statements(step):
                connection.execute(statement)
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
    if (number or application) and application != APPLICATION:
        raise LmtuiError(
            "the conversation file belongs to another program",
            f"application {application:#x}",
            "Move it away, or set LMTUI_HOME to another folder.",
        )
    return int(number)


def _statements(script: str) -> list[str]:
    """Split a script into statements.

    Run as a whole, a script would commit the open transaction.
    """
    statements, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return statements
