"""The split of the documents into a training part and a held-out part.

The parts share no document. The choice follows from each document alone, so that it
stays the same when notes are added. Knows no tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from lmtui.engine.words import word_end
from lmtui.train.notes import Completion, Content, Notes, NotesDocument
from lmtui.train.settings import TrainSettings

NOTHING_HELD_OUT = "nothing is held out, so the training is not evaluated"
TOO_LITTLE_TEXT = "too little text to hold some out, so the training is not evaluated"

_LEAST = 64  # bytes of trained text that each part needs
_LONGEST_WORD = 200  # code points


@dataclass(frozen=True, slots=True)
class Split:
    """The documents in two parts, each in the order of the notes."""

    training: tuple[NotesDocument, ...]
    held_out: tuple[NotesDocument, ...]
    note: str = ""
    """Why nothing is held out; empty where something is."""


def split(notes: Notes, settings: TrainSettings) -> Split:
    """Choose the held-out documents by a seeded hash.

    The hash of a file is that of its path relative to the notes' root. That of a row is
    of its content, since its line number changes, and equal rows belong to the same
    part. Documents whose hash, as a fraction, is below `settings.held_out` are held
    out, and always the one with the lowest. A single text is cut, and its end is held
    out.
    """
    documents = notes.documents
    if not settings.held_out:
        return Split(documents, (), NOTHING_HELD_OUT)
    if len(documents) == 1 and isinstance(documents[0].content, str):
        training, held_out = _cut(documents[0], documents[0].content, settings.held_out)
    else:
        training, held_out = _by_hash(documents, settings)
    if min(_size(training), _size(held_out)) < _LEAST:
        return Split(documents, (), TOO_LITTLE_TEXT)
    return Split(training, held_out)


_Parts = tuple[tuple[NotesDocument, ...], tuple[NotesDocument, ...]]


def _by_hash(documents: Sequence[NotesDocument], settings: TrainSettings) -> _Parts:
    fractions = [_fraction(document, settings.seed) for document in documents]
    lowest = min(fractions)
    kept = [f < settings.held_out or f == lowest for f in fractions]
    pairs = list(zip(documents, kept, strict=True))
    return tuple(d for d, held in pairs if not held), tuple(
        d for d, held in pairs if held
    )


def _fraction(document: NotesDocument, seed: int) -> float:
    """Return the hash of a document as a fraction from 0 to 1."""
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
    place = _boundary(text, share)
    before, after = text[:place], text[place:]
    return (replace(document, content=before),), (replace(document, content=after),)


def _boundary(text: str, share: float) -> int:
    """Return the offset in code points where the held-out end of a text begins.

    It is near the wanted share: after a paragraph, or else a line, or else a word.
    """
    target = round(len(text) * (1 - share))
    reach = round(len(text) * min(share, 1 - share) / 2)
    for mark in ("\n\n", "\n"):
        last = text.rfind(mark, max(0, target - reach), target)
        following = text.find(mark, target, target + reach)
        found = [at + len(mark) for at in (last, following) if at >= 0]
        if found:
            return min(found, key=lambda place: abs(place - target))
    start = max(0, target - _LONGEST_WORD)
    word = word_end(text[start : target + _LONGEST_WORD], target - start)
    return start + word if word else target
