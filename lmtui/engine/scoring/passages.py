"""What can be scored besides a draft: messages, ids, documents and parts of them.

Knows the engine only through its protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from lmtui import cancellation
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    BosRule,
    ChatTurn,
    Encoding,
    ScoredToken,
)
from lmtui.engine.windows import Windows


@dataclass(frozen=True)
class TextInContext:
    """A message to score, after the messages before it."""

    messages: tuple[ChatTurn, ...]
    text: str


@dataclass(frozen=True)
class TokensInContext:
    """Ids to score, after the ids before them."""

    ids: tuple[int, ...]
    prefix: tuple[int, ...] = ()
    top_n: int = 0
    """How many of the most probable tokens to report at each."""


@dataclass(frozen=True)
class WholeDocument:
    """A document to read, or a message like one, as it stands."""

    text: str
    after: tuple[ChatTurn, ...] | None = None
    """The messages before it, where it is one of a conversation."""
    bos: BosRule = "auto"
    window: int | None = None
    stride: int | None = None


@dataclass(frozen=True, repr=False)
class DocumentSpan:
    """Part of a document to score within one of its windows."""

    ids: tuple[int, ...]
    """Of the whole document."""
    prefix: tuple[int, ...]
    windows: Windows
    start: int
    end: int
    top_n: int = 20
    """How many of the most probable tokens to report at each."""


Passage = TextInContext | TokensInContext | DocumentSpan


@dataclass(frozen=True, repr=False)
class DocumentTokens:
    """A document as tokens, and the windows that it can be scored in."""

    encoding: Encoding
    windows: Windows
    tokens: tuple[ScoredToken, ...]
    """Without scores."""


def encode_document(engine: Engine, document: WholeDocument) -> Encoding:
    """Return the tokens of a document, as the model reads them."""
    if document.after is None:
        return engine.encode(document.text, bos=document.bos)
    scores = engine.score_draft(document.after, document.text, SamplingSettings())
    return Encoding(tuple(t.id for t in scores.tokens), (), scores.context)


def tokenize_document(engine: Engine, document: WholeDocument) -> DocumentTokens:
    """Return a document as tokens."""
    encoding = encode_document(engine, document)
    cancellation.check()
    prefix = len(encoding.prefix)
    windows = engine.info.windows(prefix, document.window, document.stride)
    return DocumentTokens(encoding, windows, engine.describe_tokens(encoding.ids))


def score_passage(engine: Engine, passage: Passage) -> Iterator[ScoredToken]:
    """Yield the scored tokens of a passage."""
    match passage:
        case TextInContext(turns, text):
            drawn = SamplingSettings()  # nothing is drawn from the distribution
            scores = engine.score_draft(turns, text, drawn)
            return iter(scores.tokens)
        case TokensInContext(ids, prefix, top_n):
            return engine.score(ids, prefix=prefix, top_n=top_n)
    tokens = engine.score(
        passage.ids,
        prefix=passage.prefix,
        window=passage.windows.window,
        stride=passage.windows.stride,
        start=passage.start,
        top_n=passage.top_n,
    )
    return islice(tokens, passage.end - passage.start)
