"""Answers the scoring questions on the engine thread.

Parts of a document are reported while they are scored. The engine, the receiver of
reports and the stop test are passed in. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from textual.message import Message

from lmtui.engine.protocol import Engine, Stop
from lmtui.engine.types import Encoding, SamplingSettings, ScoredToken
from lmtui.tui.engine.batching import Batch, Clock
from lmtui.tui.engine.messages import DocumentCut, ScoresArrived, TokensScored
from lmtui.tui.engine.questions import (
    Cut,
    DocumentAlone,
    PartOf,
    Score,
    TextAfter,
    TokensAfter,
)

Tell = Callable[[Message], None]


def cut(engine: Engine, question: Cut, *, tell: Tell, should_stop: Stop) -> None:
    """Cut a document into tokens.

    Raises:
        Cancelled: `should_stop` answered True.
        LmtuiError: the engine can't read it.
    """
    document = question.document
    encoding = _encoded(engine, document, should_stop)
    windows = engine.windows(len(encoding.prefix), document.window, document.stride)
    tokens = engine.describe_tokens(encoding.ids)
    tell(DocumentCut(question.job, encoding, windows, tokens))


def answer(
    engine: Engine, score: Score, *, tell: Tell, should_stop: Stop, clock: Clock
) -> None:
    """Score a passage.

    Raises:
        Cancelled: `should_stop` answered True.
        LmtuiError: the engine can't answer it.
    """
    passage = score.passage
    if not isinstance(passage, PartOf):
        tell(TokensScored(score.job, tuple(_tokens(engine, passage, should_stop))))
        return
    batch: Batch[ScoredToken] = Batch(partial(ScoresArrived, score.job), tell, clock)
    kept: list[ScoredToken] = []
    for token in _part(engine, passage, should_stop):
        kept.append(token)
        batch.add(token)
    batch.flush()
    tell(TokensScored(score.job, tuple(kept)))


def _encoded(engine: Engine, document: DocumentAlone, should_stop: Stop) -> Encoding:
    if document.after is None:
        return engine.encode(document.text, bos=document.bos)
    nothing_drawn = SamplingSettings()
    trace = engine.score_draft(
        document.after, document.text, nothing_drawn, should_stop=should_stop
    )
    return Encoding(tuple(t.id for t in trace.tokens), (), trace.context)


def _part(engine: Engine, part: PartOf, should_stop: Stop) -> Iterator[ScoredToken]:
    tokens = engine.score(
        part.ids,
        prefix=part.prefix,
        window=part.windows.window,
        stride=part.windows.stride,
        start=part.since,
        top_n=part.top,
        should_stop=should_stop,
    )
    return islice(tokens, part.end - part.since)


def _tokens(
    engine: Engine, passage: TextAfter | TokensAfter, should_stop: Stop
) -> Iterator[ScoredToken]:
    if isinstance(passage, TextAfter):
        nothing_drawn = SamplingSettings()
        trace = engine.score_draft(
            passage.messages, passage.text, nothing_drawn, should_stop=should_stop
        )
        return iter(trace.tokens)
    return engine.score(
        passage.ids, prefix=passage.prefix, top_n=passage.top, should_stop=should_stop
    )
