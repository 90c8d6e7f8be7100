"""Documents as token ids, and these packed into blocks of one length.

A document's ids are those of `Engine.encode`: special-token strings in it stay text.
Packing loses no token. Knows the tokenizer only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.text.tokenizer import TextTokenizer
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from lmtui.train.events import Skip
from lmtui.train.notes import Completion, Notes, NotesDocument
from lmtui.train.split import SplitNotes

NOTHING_COUNTS = (
    "no token of the held-out documents counts, so the training is not evaluated"
)

_GAP = "\n\n\n"  # between documents, where the vocabulary has no token for it


@dataclass(frozen=True, slots=True)
class Example:
    """A document as token ids."""

    path: str
    ids: tuple[int, ...]
    """With BOS where the tokenizer adds one, and with the document's end."""
    trained: tuple[bool, ...]
    """One for each id: whether the loss of predicting it counts."""


@dataclass(frozen=True, slots=True)
class Block:
    """One sequence of a batch."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    """One for each id; False for padding."""
    real: int
    """How many ids, from the first on, are not padding."""


def examples(
    documents: Iterable[NotesDocument], tokenizer: Any
) -> tuple[tuple[Example, ...], tuple[Skip, ...]]:
    """Return the documents as token ids, and a `Skip` for each that the model's chat
    template refuses."""
    encoder = _Encoder(tokenizer)
    encoded, skipped = [], []
    for document in documents:
        try:
            encoded.append(encoder.example(document))
        except LmtuiError as error:
            skipped.append(Skip(document.path, str(error)))
    return tuple(encoded), tuple(skipped)


def padding(tokenizer: Any) -> int:
    """Return the id that fills the last block; its loss never counts."""
    return next(iter(_ending(PromptBuilder(tokenizer))), 0)


def pack(examples: Sequence[Example], length: int, pad: int) -> tuple[Block, ...]:
    """Join the examples in order and cut them into blocks of `length` tokens.

    The last block is filled up with `pad`.
    """
    ids = [token for item in examples for token in item.ids]
    trained = [counts for item in examples for counts in item.trained]
    real, missing = len(ids), -len(ids) % length
    ids += [pad] * missing
    trained += [False] * missing
    return tuple(
        Block(
            tuple(ids[start : start + length]),
            tuple(trained[start : start + length]),
            real=min(length, real - start),
        )
        for start in range(0, real, length)
    )


MaskedTokens = tuple[list[int], list[bool]]
"""Ids, and for each whether its loss counts."""


class _Encoder:
    def __init__(self, tokenizer: Any) -> None:
        self._writer = PromptBuilder(tokenizer)
        self._text_ids = TextTokenizer(tokenizer).ids
        self._ending = _ending(self._writer)

    def example(self, document: NotesDocument) -> Example:
        match document.content:
            case str(text):
                ids, trained = self._text(text)
            case Completion() as row:
                ids, trained = self._completion(row)
            case messages:
                ids, trained = self._conversation(messages)
        return Example(document.path, tuple(ids), tuple(trained))

    def _text(self, text: str) -> MaskedTokens:
        prefix = self._writer.prefix("auto")
        ids = [*prefix, *self._text_ids(text), *self._ending]
        return ids, [False] * len(prefix) + [True] * (len(ids) - len(prefix))

    def _completion(self, row: Completion) -> MaskedTokens:
        """Return a prompt, its completion and the ending as one text.

        The loss counts for the completion, the ending, and a token that belongs to both
        parts.
        """
        encoding = self._writer.document(row.prompt + row.completion, "auto")
        given = len(row.prompt)
        trained = [False] * len(encoding.prefix)
        trained += [end > given for _, end in encoding.spans]
        ids = [*encoding.prefix, *encoding.ids, *self._ending]
        return ids, trained + [True] * len(self._ending)

    def _conversation(self, messages: Sequence[ChatTurn]) -> MaskedTokens:
        """Return a conversation up to its last answer as the model reads it, with the
        ending.

        The loss counts for the answers, each with the token that ends its turn. Where
        turns have no such token, it also counts for the ending, which otherwise only
        separates documents.

        Raises:
            LmtuiError: the model's template refuses it, or shows no answer as it is.
        """
        last = max(i for i, m in enumerate(messages, 1) if m.role == "assistant")
        ids, answers = self._writer.render_with_answer_spans(messages[:last])
        if not answers:
            raise LmtuiError("the model's chat template hides the answers")
        trained = [False] * len(ids)
        for first, behind in answers:
            trained[first:behind] = [True] * (behind - first)
        if ids[-len(self._ending) :] != list(self._ending):
            ids += self._ending
            trained += [self._writer.turn_end is None] * len(self._ending)
        return ids, trained


def _ending(writer: PromptBuilder) -> tuple[int, ...]:
    """Return the ids that end a document: one token, or a gap of ordinary text."""
    if writer.document_end is not None:
        return (writer.document_end,)
    return writer.document(_GAP, "no").ids


@dataclass(frozen=True)
class Dataset:
    """Notes as token ids."""

    notes: Notes
    training: tuple[Example, ...]
    held_out: tuple[Example, ...]
    blocks: tuple[Block, ...]
    skipped: int
    """Files, rows and documents that were left out."""
    remarks: tuple[str, ...]

    @property
    def is_cut(self) -> bool:
        """Whether the end of the only document is held out."""
        parts = (self.training, self.held_out)
        return len({example.path for part in parts for example in part}) == 1 and all(
            parts
        )


def prepare(
    notes: SplitNotes, tokenizer: Any, *, length: int, skip: Callable[[Skip], None]
) -> Dataset:
    training, skipped = examples(notes.training, tokenizer)
    held_out, skipped_held_out = examples(notes.held_out, tokenizer)
    skipped += skipped_held_out
    for item in skipped:
        skip(item)
    packed = pack(training, length, padding(tokenizer))
    if not any(any(block.trained[1:]) for block in packed):
        raise LmtuiError(
            "there is nothing to learn in these notes",
            f"{len(training)} documents without a token whose loss would count",
            "Give more text, or conversations with answers.",
        )
    remarks = notes.remarks
    if notes.held_out and not any(any(x.trained[1:]) for x in held_out):
        remarks = (*remarks, NOTHING_COUNTS)
    return Dataset(
        notes=notes.notes,
        training=training,
        held_out=held_out,
        blocks=packed,
        skipped=len(notes.notes.skipped) + len(skipped),
        remarks=remarks,
    )
