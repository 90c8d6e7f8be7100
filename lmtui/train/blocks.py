"""Documents as token ids, and these as blocks of one length.

Owns what stands between documents, which tokens' loss counts, and that packing loses
no token. A document's ids are those of `Engine.encode`: special-token strings in it
stay text. Knows the tokenizer only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lmtui.engine.prompt import PromptWriter
from lmtui.engine.tokenize import TextTokenizer
from lmtui.errors import LmtuiError
from lmtui.train import chat_rows
from lmtui.train.documents import Document
from lmtui.train.events import Skip
from lmtui.train.rows import Completion

_GAP = "\n\n\n"  # between documents, where the vocabulary has no token for it


@dataclass(frozen=True, slots=True)
class Example:
    """A document as the model reads it."""

    path: str
    ids: tuple[int, ...]
    """With BOS where the tokenizer puts one, and what ends the document."""
    trained: tuple[bool, ...]
    """As long: whether the loss of predicting the id counts."""


@dataclass(frozen=True, slots=True)
class Block:
    """One sequence of a batch."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    """As long; never true of padding."""
    real: int
    """How many ids, from the first on, are no padding."""


def example(document: Document, tokenizer: Any) -> Example:
    """A document as ids.

    Raises:
        LmtuiError: it is a conversation that the model's template refuses.
    """
    return _Writer(tokenizer).example(document)


def examples(
    documents: Iterable[Document], tokenizer: Any
) -> tuple[tuple[Example, ...], tuple[Skip, ...]]:
    """All that can be written as ids, and why the others can't."""
    writer = _Writer(tokenizer)
    made, skipped = [], []
    for document in documents:
        try:
            made.append(writer.example(document))
        except LmtuiError as error:
            skipped.append(Skip(document.path, str(error)))
    return tuple(made), tuple(skipped)


def padding(tokenizer: Any) -> int:
    """The id that fills the last block; never learned."""
    return next(iter(_ending(PromptWriter(tokenizer))), 0)


def pack(examples: Sequence[Example], length: int, pad: int) -> tuple[Block, ...]:
    """The examples one after another, in order, cut into blocks of `length` tokens;
    the last is filled up with `pad`."""
    ids = [token for item in examples for token in item.ids]
    trained = [counts for item in examples for counts in item.trained]
    return tuple(
        _block(
            ids[start : start + length], trained[start : start + length], length, pad
        )
        for start in range(0, len(ids), length)
    )


def _block(ids: list[int], trained: list[bool], length: int, pad: int) -> Block:
    missing = length - len(ids)
    return Block(
        (*ids, *[pad] * missing), (*trained, *[False] * missing), real=len(ids)
    )


class _Writer:
    """Writes documents as ids."""

    def __init__(self, tokenizer: Any) -> None:
        self._writer = PromptWriter(tokenizer)
        self._text_ids = TextTokenizer(tokenizer).ids
        self._ending = _ending(self._writer)

    def example(self, document: Document) -> Example:
        match document.content:
            case str(text):
                ids, trained = self._text(text)
            case Completion() as row:
                ids, trained = chat_rows.completion(row, self._writer, self._ending)
            case messages:
                ids, trained = chat_rows.conversation(
                    messages, self._writer, self._ending
                )
        return Example(document.path, tuple(ids), tuple(trained))

    def _text(self, text: str) -> chat_rows.Tokens:
        prefix = self._writer.prefix("auto")
        ids = [*prefix, *self._text_ids(text), *self._ending]
        return ids, [False] * len(prefix) + [True] * (len(ids) - len(prefix))


def _ending(writer: PromptWriter) -> tuple[int, ...]:
    """What ends a document: a token, or a gap that is written like any text."""
    if writer.document_end is not None:
        return (writer.document_end,)
    return writer.document(_GAP, "no").ids
