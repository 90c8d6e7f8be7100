"""The notes as what a model is trained on and judged by.

Owns the way from the places that a request names to blocks of ids, and what becomes of
notes that have changed since a training began. Knows the tokenizer and no model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.train import blocks
from lmtui.train.blocks import Block, Example
from lmtui.train.documents import Notes, read_notes
from lmtui.train.events import Skip
from lmtui.train.request import Request
from lmtui.train.run_folder import Manifest, RunFolder
from lmtui.train.split import NOTHING_HELD_OUT, Split, split

_NAMED = 5  # changes of the notes that are named


@dataclass(frozen=True)
class Read:
    """Notes that were read and divided."""

    notes: Notes
    split: Split
    remarks: tuple[str, ...] = ()
    """What the user should know first."""


@dataclass(frozen=True)
class Material:
    """Notes that are ids."""

    notes: Notes
    training: tuple[Example, ...]
    held_out: tuple[Example, ...]
    blocks: tuple[Block, ...]
    skipped: int
    """Files, rows and documents that are no part of it."""
    remarks: tuple[str, ...]


def read(
    request: Request, run: RunFolder, *, resume: bool, skip: Callable[[Skip], None]
) -> Read:
    """Read the notes of a request; when its training goes on, they have to be those
    it began with, unless that is forced.

    Raises:
        LmtuiError: there is nothing to learn from, or it has changed.
    """
    notes = read_notes(request.places, request.settings)
    for each in notes.skipped:
        skip(each)
    parts = split(notes, request.settings)
    now = Manifest(
        root=str(notes.root),
        files={file.path: file.sha256 for file in notes.files},
        documents=len(notes.documents),
        held_out=tuple(document.path for document in parts.held_out),
    )
    remarks = (parts.note,) if parts.note else ()
    began = run.read_manifest() if resume else None
    if began is None:
        run.write_manifest(now)
    elif changes := began.changes(now):
        if not request.force:
            raise _changed(changes)
        remarks = (*remarks, f"the notes have changed: {_named(changes)}")
    return Read(notes, parts, remarks)


def prepare(
    found: Read, tokenizer: Any, *, length: int, skip: Callable[[Skip], None]
) -> Material:
    """The notes as ids.

    Raises:
        LmtuiError: no document can be written as ids.
    """
    training, left_out = blocks.examples(found.split.training, tokenizer)
    held_out, also_left_out = blocks.examples(found.split.held_out, tokenizer)
    for each in (*left_out, *also_left_out):
        skip(each)
    packed = blocks.pack(training, length, blocks.padding(tokenizer))
    if not any(any(block.trained[1:]) for block in packed):
        raise LmtuiError(
            "there is nothing to learn in these notes",
            f"{len(training)} documents without a token whose loss would count",
            "Give more text, or conversations with answers.",
        )
    remarks = found.remarks
    if found.split.held_out and not any(any(x.trained[1:]) for x in held_out):
        remarks = (*remarks, f"no held-out token counts: {NOTHING_HELD_OUT}")
    return Material(
        notes=found.notes,
        training=training,
        held_out=held_out,
        blocks=packed,
        skipped=len(found.notes.skipped) + len(left_out) + len(also_left_out),
        remarks=remarks,
    )


def _changed(changes: tuple[str, ...]) -> LmtuiError:
    return LmtuiError(
        "the notes have changed since the training began",
        _named(changes),
        "Resume with the notes as they are: --resume --force. Or start again: "
        "--overwrite.",
    )


def _named(changes: tuple[str, ...]) -> str:
    more = len(changes) - _NAMED
    return ", ".join((*changes[:_NAMED], *([f"{more} more"] if more > 0 else [])))
