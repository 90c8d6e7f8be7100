"""Requests whose answers come in parts, each reported once it is known.

A request that was interrupted runs again from its beginning, or from what it has not
reported yet, where a part stays valid. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from lmtui.engine.document.types import Correction
from lmtui.engine.protocol import Engine
from lmtui.engine.scoring.passages import DocumentSpan, Passage, score_passage
from lmtui.engine.types import ScoredToken
from lmtui.worker.requests import Context


def score_parts(
    passage: Passage,
) -> Callable[[Engine, Context], tuple[ScoredToken, ...]]:
    """Return a request that scores a passage, and gathers the tokens of a part of a
    document."""

    def run(engine: Engine, context: Context) -> tuple[ScoredToken, ...]:
        tokens = []
        for token in score_passage(engine, passage):
            tokens.append(token)
            if isinstance(passage, DocumentSpan):
                context.gather(token)
        return tuple(tokens)

    return run


def emit_each(
    parts: Callable[[Engine], Iterable[object]],
) -> Callable[[Engine, Context], None]:
    """Return a request that emits each of what a function of the engine yields."""

    def run(engine: Engine, context: Context) -> None:
        for part in parts(engine):
            context.emit(part)

    return run


def proofread_parts(
    text: str, start: int, end: int, known: Sequence[Correction] = ()
) -> Callable[[Engine, Context], None]:
    """Return a request that proofreads a text, emitting one part of it after the other;
    it goes on where it was stopped. `known` are the corrections before it."""
    reached, found = start, [*known]

    def run(engine: Engine, context: Context) -> None:
        nonlocal reached
        for part in engine.document.proofread(text, reached, end, tuple(found)):
            reached = part.end
            found.extend(part.corrections)
            context.emit(part)

    return run


def lens_parts(part: DocumentSpan) -> Callable[[Engine, Context], None]:
    """Return a request for what each layer predicts in a part of a document; it gathers
    the columns, and goes on where the last one was."""
    reached = part.start

    def run(engine: Engine, context: Context) -> None:
        nonlocal reached
        for column in engine.logit_lens(
            part.ids,
            range(reached, part.end),
            prefix=part.prefix,
            window=part.windows.window,
            stride=part.windows.stride,
            top_n=part.top_n,
        ):
            reached = column.index + 1
            context.gather(column)

    return run
