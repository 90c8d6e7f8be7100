"""The engine thread's answers about a text as it stands.

Owns how each kind of passage is given to the engine, and that a document is told of
while it is read. Everything is given in: the engine, where reports go, when to break
off. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from textual.message import Message

from lmtui.engine.port import Engine, Stop
from lmtui.engine.types import Encoding, SamplingSettings, ScoredToken
from lmtui.tui.batches import Batch, Clock
from lmtui.tui.messages import ScoresArrived, ScoringStarted, TokensScored
from lmtui.tui.questions import DocumentAlone, Score, TextAfter, TokensAfter

Tell = Callable[[Message], None]


def answer(
    engine: Engine, score: Score, *, tell: Tell, stop: Stop, clock: Clock
) -> None:
    """Answer one question.

    Raises:
        Cancelled: `stop` answered True.
        LmtuiError: the engine can't answer it.
    """
    passage = score.passage
    if not isinstance(passage, DocumentAlone):
        tell(TokensScored(score.job, tuple(_tokens(engine, passage, stop))))
        return
    encoding = _encoded(engine, passage, stop)
    windows = engine.windows(len(encoding.prefix), passage.window, passage.stride)
    tell(ScoringStarted(score.job, encoding, windows))
    batch: Batch[ScoredToken] = Batch(partial(ScoresArrived, score.job), tell, clock)
    kept: list[ScoredToken] = []
    for token in engine.score(
        encoding.ids,
        prefix=encoding.prefix,
        window=windows.window,
        stride=windows.stride,
        top=passage.top,
        stop=stop,
    ):
        kept.append(token)
        batch.add(token)
    batch.flush()
    tell(TokensScored(score.job, tuple(kept)))


def _encoded(engine: Engine, document: DocumentAlone, stop: Stop) -> Encoding:
    if document.after is None:
        return engine.encode(document.text, bos=document.bos)
    nothing_drawn = SamplingSettings()
    trace = engine.trace(document.after, document.text, nothing_drawn, stop=stop)
    return Encoding(tuple(t.id for t in trace.tokens), (), trace.context)


def _tokens(
    engine: Engine, passage: TextAfter | TokensAfter, stop: Stop
) -> Iterator[ScoredToken]:
    if isinstance(passage, TextAfter):
        nothing_drawn = SamplingSettings()
        trace = engine.trace(passage.messages, passage.text, nothing_drawn, stop=stop)
        return iter(trace.tokens)
    return engine.score(passage.ids, prefix=passage.prefix, top=passage.top, stop=stop)
