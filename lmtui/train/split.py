"""The split of the documents into a training part and a held-out part.

The parts share no document. The choice follows from each document alone, so that it
stays the same when notes are added. Knows no tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from lmtui.engine.document.words import word_end
from lmtui.errors import LmtuiError
from lmtui.train.events import Skip
from lmtui.train.notes import Completion, Content, Notes, NotesDocument, read_notes
from lmtui.train.request import TrainRequest
from lmtui.train.run_folder import Manifest, RunFolder
from lmtui.train.settings import TrainSettings

NOTHING_HELD_OUT = "nothing is held out, so the training is not evaluated"
TOO_LITTLE_TEXT = "too little text to hold some out, so the training is not evaluated"

_LEAST = 64  # bytes of trained text that each part needs
_LONGEST_WORD = 200  # code points
_NAMED = 5  # changes of the notes that an error text lists


@dataclass(frozen=True)
class SplitNotes:
    """Notes in two parts, each in the order of the documents."""

    notes: Notes
    training: tuple[NotesDocument, ...]
    held_out: tuple[NotesDocument, ...]
    remarks: tuple[str, ...] = ()
    """Remarks for the user, shown with the plan."""


def split(notes: Notes, settings: TrainSettings) -> SplitNotes:
    """Choose the held-out documents by a seeded hash.

    The hash of a file is that of its path relative to the notes' root. That of a row is
    of its content, since its line number changes, and equal rows belong to the same
    part. Documents whose hash, as a fraction, is below `settings.held_out` are held
    out, and always the one with the lowest. A single text is cut, and its end is held
    out.
    """
    documents = notes.documents
    if not settings.held_out:
        return SplitNotes(notes, documents, (), (NOTHING_HELD_OUT, *notes.remarks))
    if len(documents) == 1 and isinstance(documents[0].content, str):
        training, held_out = _cut(documents[0], documents[0].content, settings.held_out)
    else:
        training, held_out = _by_hash(documents, settings)
    if min(_size(training), _size(held_out)) < _LEAST:
        return SplitNotes(notes, documents, (), (TOO_LITTLE_TEXT, *notes.remarks))
    return SplitNotes(notes, training, held_out, notes.remarks)


def read_split(
    request: TrainRequest, run: RunFolder, *, resume: bool, skip: Callable[[Skip], None]
) -> SplitNotes:
    """Read and split the notes of a request.

    For a resumed training they must be the notes it began with, unless that is forced.
    """
    notes = read_notes(request.places, request.settings)
    for item in notes.skipped:
        skip(item)
    parts = split(notes, request.settings)
    now = Manifest(
        root=str(notes.root),
        files={file.path: file.sha256 for file in notes.files},
        documents=len(notes.documents),
        held_out=tuple(document.path for document in parts.held_out),
    )
    stored = run.read_manifest() if resume else None
    if stored is None:
        run.write(run.manifest_file, now)
    elif changes := stored.changes(now):
        if not request.force:
            raise _changed(changes)
        remark = f"the notes have changed: {_named(changes)}"
        return replace(parts, remarks=(*parts.remarks, remark))
    return parts


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


_Parts = tuple[tuple[NotesDocument, ...], tuple[NotesDocument, ...]]


def _by_hash(documents: Sequence[NotesDocument], settings: TrainSettings) -> _Parts:
    fractions = [_fraction(document, settings.seed) for document in documents]
    lowest = min(fractions)
    pairs = list(zip(documents, fractions, strict=True))
    held_out = [d for d, f in pairs if f < settings.held_out or f == lowest]
    training = [d for d, f in pairs if f >= settings.held_out and f != lowest]
    return tuple(training), tuple(held_out)


def _fraction(document: NotesDocument, seed: int) -> float:
    known_by = _words(document.content) if document.is_row else (document.path,)
    digest = blake2b(f"{seed}:{chr(0).join(known_by)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _words(content: Content) -> tuple[str, ...]:
    if isinstance(content, str):
        return (content,)
    if isinstance(content, Completion):
        return content.prompt, content.completion
    return tuple(part for m in content for part in (m.role, m.content))


def _size(documents: Sequence[NotesDocument]) -> int:
    """Return the UTF-8 bytes of the documents whose loss counts."""
    return sum(len(_learned(d.content).encode()) for d in documents)


def _learned(content: Content) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Completion):
        return content.completion
    return "".join(m.content for m in content if m.role == "assistant")


def _cut(document: NotesDocument, text: str, share: float) -> _Parts:
    cut = _boundary(text, share)
    before, after = text[:cut], text[cut:]
    return (replace(document, content=before),), (replace(document, content=after),)


def _boundary(text: str, share: float) -> int:
    """Return the offset in code points where the held-out end of a text begins.

    It is near that share: after a paragraph, or else a line, or else a word.
    """
    target = round(len(text) * (1 - share))
    reach = round(len(text) * min(share, 1 - share) / 2)
    for mark in ("\n\n", "\n"):
        last = text.rfind(mark, max(0, target - reach), target)
        following = text.find(mark, target, target + reach)
        ends = [at + len(mark) for at in (last, following) if at >= 0]
        if ends:
            return min(ends, key=lambda end: abs(end - target))
    start = max(0, target - _LONGEST_WORD)
    word = word_end(text[start : target + _LONGEST_WORD], target - start)
    return start + word if word else target
