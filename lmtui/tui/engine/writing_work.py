"""Answers the editor's questions on the engine thread.

A suggestion is fed to its rules while the model generates it. The engine, the receiver
of reports and the stop test are passed in. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message

from lmtui.engine.protocol import EditorEngine, Stop
from lmtui.engine.suggestion import Suggestion, SuggestionBuilder, SuggestionEnd
from lmtui.engine.types import FinishReason, GenerationResult, SamplingSettings, Step
from lmtui.errors import Cancelled
from lmtui.tui.engine.writing_facts import (
    AlternativesReady,
    ExpectationReady,
    GhostEnded,
    GhostGrew,
    HeatArrived,
    HeatFinished,
    ReplacementsProgressed,
    ReplacementsReady,
)
from lmtui.tui.engine.writing_questions import (
    Alternatives,
    Expect,
    Heat,
    Replace,
    Suggest,
    WritingJob,
)

Tell = Callable[[Message], None]

_ENDS = {
    FinishReason.STOP: SuggestionEnd.STOP,
    FinishReason.LENGTH: SuggestionEnd.LENGTH,
    FinishReason.CONTEXT: SuggestionEnd.CONTEXT,
    FinishReason.NEWLINE: SuggestionEnd.NEWLINE,
}


def answer(
    engine: EditorEngine,
    question: Expect | WritingJob,
    *,
    tell: Tell,
    should_stop: Stop,
) -> None:
    """Answer one question.

    Raises:
        Cancelled: `should_stop` answered True.
        LmtuiError: the engine can't answer it.
    """
    match question:
        case Expect():
            expectation = engine.predict_at(
                question.text,
                question.cursor,
                top_n=question.top,
                should_stop=should_stop,
            )
            tell(ExpectationReady(question.revision, expectation))
        case Suggest():
            tell(
                GhostEnded(question.job, _suggest(engine, question, tell, should_stop))
            )
        case Alternatives():
            ghosts = engine.alternatives(
                question.text,
                question.cursor,
                question.rules,
                count=question.count,
                should_stop=should_stop,
            )
            tell(AlternativesReady(question.job, tuple(ghosts)))
        case Heat():
            start, end = question.start, question.end
            for stretch in engine.score_span(
                question.text, start, end, should_stop=should_stop
            ):
                tell(HeatArrived(question.job, stretch))
            tell(HeatFinished(question.job))
        case Replace():
            found = engine.replacements(
                question.text,
                question.start,
                question.end,
                count=question.count,
                should_stop=should_stop,
                progress=lambda done, total: tell(
                    ReplacementsProgressed(question.job, done, total)
                ),
            )
            tell(ReplacementsReady(question.job, tuple(found)))


def _suggest(
    engine: EditorEngine, question: Suggest, tell: Tell, should_stop: Stop
) -> Suggestion:
    after = question.text[question.cursor :]
    sees_after = engine.capabilities.infill and bool(after.strip())
    ghost = SuggestionBuilder(question.rules, after, sees_after=sees_after)
    greedy = SamplingSettings(temperature=0, max_tokens=question.rules.max_tokens)
    shown = ""
    held: Step | None = None
    for item in engine.complete(
        question.text, question.cursor, greedy, top_n=1, should_stop=should_stop
    ):
        if isinstance(item, GenerationResult):
            return _ended(ghost, item, held)
        steps = [step for step in (held, item) if step is not None]
        # A step without text is half a character, or the end: the next item tells.
        held = None if item.piece else steps.pop()
        if not all(ghost.feed(step.bytes, step.prob) for step in steps):
            break
        if ghost.shown != shown:
            shown = ghost.shown
            tell(GhostGrew(question.job, shown))
    assert ghost.suggestion is not None, "a continuation ends with its result"
    return ghost.suggestion


def _ended(
    ghost: SuggestionBuilder, finish: GenerationResult, held: Step | None
) -> Suggestion:
    if finish.reason is FinishReason.CANCELLED:
        raise Cancelled
    if held is not None and finish.reason is not FinishReason.STOP:
        ghost.feed(held.bytes, held.prob)
    return ghost.finish(_ENDS[finish.reason])
