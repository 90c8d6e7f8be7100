"""Write a suggestion at a cursor: the engine's text, step by step, under the rules.

Knows the engine only through its protocol.
"""

from __future__ import annotations

from collections.abc import Callable

from lmtui.engine.document.suggestion import SuggestionBuilder, SuggestionRules
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Step,
)
from lmtui.errors import Cancelled


def suggest(
    engine: Engine,
    text: str,
    cursor: int,
    rules: SuggestionRules,
    *,
    on_text: Callable[[str], object],
) -> str:
    """Write a suggestion at a cursor; `on_text` gets what of it can be shown, which
    only ever gets longer.
    """
    before, after = text[:cursor], text[cursor:]
    sees_after = engine.capabilities.infill and bool(after.strip())
    builder = SuggestionBuilder(rules, after, before=before, sees_after=sees_after)
    greedy = SamplingSettings(temperature=0, max_tokens=rules.max_tokens)
    shown = ""
    pending: Step | None = None
    for item in engine.document.complete(text, cursor, greedy, top_n=1):
        if isinstance(item, GenerationResult):
            return _finish(builder, item, pending)
        steps = [step for step in (pending, item) if step is not None]
        # A step without text is half a character, or the end: the next item tells.
        pending = None if item.piece else steps.pop()
        if not all(builder.feed(step.bytes, step.prob or 0.0) for step in steps):
            break
        if builder.shown != shown:
            shown = builder.shown
            on_text(shown)
    assert builder.suggestion is not None, "a continuation ends with its result"
    return builder.suggestion


def _finish(
    builder: SuggestionBuilder, finish: GenerationResult, pending: Step | None
) -> str:
    if finish.reason is FinishReason.CANCELLED:
        raise Cancelled
    if pending is not None and finish.reason is not FinishReason.STOP:
        builder.feed(pending.bytes, pending.prob or 0.0)
    return builder.finish(done=finish.reason is FinishReason.STOP)
