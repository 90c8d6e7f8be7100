"""Undo histories on disk: the steps that led to a file's text, for the next session.

Each is a file in the state folder, one for each edited file: a line of JSON, then the
steps. It counts only while the file has the content that it was written for; a damaged
one counts as none. Knows no editor.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.editing.recovery import key_of
from lmtui.editing.text_file import TextFile
from lmtui.errors import LmtuiError

MOST_STEPS = 200
MOST_BYTES = 1_000_000
_MOST_FILES = 100  # histories; those written longest ago are removed

Location = tuple[int, int]
"""Line and column, from 0, in code points."""


@dataclass(frozen=True, slots=True)
class UndoEdit:
    start: Location
    replaced: str
    """The text that was there before."""
    text: str
    """The text that took its place."""
    selection: tuple[Location, Location]
    """The selection before, which undo restores."""


UndoStep = tuple[UndoEdit, ...]
"""Edits that are undone together, in order."""


def write(file: TextFile, steps: Sequence[UndoStep]) -> None:
    """Write the history that led to the text of a saved file, oldest step first; waits
    for the disk. A disk that can't be written to is logged."""
    body = json.dumps(_latest(steps), separators=(",", ":")).encode()
    header = {
        "path": str(file.path),
        "digest": file.digest,
        "check": hashlib.sha256(body).hexdigest(),
    }
    try:
        paths.ensure_folder(_folder())
        data = json.dumps(header).encode() + b"\n" + body
        paths.write_atomically(_history_of(file), data)
        for stale in sorted(_folder().glob("*.json"), key=_age)[_MOST_FILES:]:
            stale.unlink(missing_ok=True)
    except (OSError, LmtuiError) as error:
        _log().warning("the undo history was not written: %s", error)


def read(file: TextFile) -> Sequence[UndoStep]:
    """Return the history that led to the text of a file, oldest step first; none where
    the file has changed since, or the history is damaged. Waits for the disk."""
    history = _history_of(file)
    paths.make_private(history)
    try:
        line, _, body = history.read_bytes().partition(b"\n")
        header = json.loads(line)
        if header["digest"] != file.digest:
            return ()
        if header["check"] != hashlib.sha256(body).hexdigest():
            raise ValueError("its checksum differs")
        steps = tuple(tuple(map(_edit_from, step)) for step in json.loads(body))
        if not leads_to(steps, file.text):
            raise ValueError("its steps do not lead to the text")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _log().warning("the undo history of %s is damaged: %s", file.path, error)
        return ()
    return steps


def leads_to(steps: Sequence[UndoStep], text: str) -> bool:
    """Return whether all steps can be undone in a text, the last one first."""
    lines = text.split("\n")
    return all(_undo(lines, edit) for step in reversed(steps) for edit in step[::-1])


def _undo(lines: list[str], edit: UndoEdit) -> bool:
    row, column = edit.start
    last = row + edit.text.count("\n")
    if row < 0 or last >= len(lines) or not 0 <= column <= len(lines[row]):
        return False
    here = "\n".join(lines[row : last + 1])
    end = column + len(edit.text)
    if here[column:end] != edit.text:
        return False
    lines[row : last + 1] = (here[:column] + edit.replaced + here[end:]).split("\n")
    return all(
        0 <= line < len(lines) and 0 <= column <= len(lines[line])
        for line, column in edit.selection
    )


def _latest(steps: Sequence[UndoStep]) -> list[list[Any]]:
    """Return the latest steps that fit, oldest first, as values for JSON."""
    latest: list[list[Any]] = []
    size = 2
    for step in reversed(steps[-MOST_STEPS:]):
        if sum(len(edit.text) + len(edit.replaced) for edit in step) > MOST_BYTES:
            break
        values = [astuple(edit) for edit in step]
        size += len(json.dumps(values, separators=(",", ":"))) + 1
        if size > MOST_BYTES:
            break
        latest.append(values)
    return latest[::-1]


def _edit_from(values: Any) -> UndoEdit:
    start, replaced, text, (anchor, cursor) = values
    if not isinstance(replaced, str) or not isinstance(text, str):
        raise TypeError("the texts of an edit are no texts")
    first, *selection = map(_location_from, (start, anchor, cursor))
    return UndoEdit(first, replaced, text, (selection[0], selection[1]))


def _location_from(values: Any) -> Location:
    row, column = values
    return int(row), int(column)


def _folder() -> Path:
    return paths.state_folder() / "undo"


def _history_of(file: TextFile) -> Path:
    return _folder() / f"{key_of(file.path)}.json"


def _age(history: Path) -> float:
    with suppress(OSError):
        return -history.stat().st_mtime
    return 0.0


def _log() -> logging.Logger:
    return logging.getLogger("lmtui")
