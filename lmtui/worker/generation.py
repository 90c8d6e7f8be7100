"""Generations as the engine's worker runs them: prompt, progress, steps, result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lmtui.engine.protocol import Engine, ReportCount
from lmtui.engine.rows import RowItem, RowRequest, steps_of
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.drop_turns import prompt_of
from lmtui.engine.types import (
    ChatTurn,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.worker.events import CountReported, PromptReady
from lmtui.worker.requests import Context


def run_generation(
    engine: Engine,
    context: Context,
    begin: Sequence[ChatTurn] | Prompt,
    settings: SamplingSettings,
    *,
    top_n: int = 20,
    thinking: bool | None = None,
) -> GenerationResult:
    """Generate after a conversation or a prompt; return how it ended.

    Emits `PromptReady`, then `CountReported` while the prompt is read, and gathers the
    decode steps. The options are those of `EngineClient.generate`.

    Raises:
        LmtuiError: there is no room for an answer.
    """
    prompt, left_out = prompt_of(engine, begin, thinking=thinking)
    context.emit(PromptReady(prompt, left_out))
    items = engine.generate(prompt, settings, top_n=top_n, progress=_progress(context))
    for item in items:
        if isinstance(item, GenerationResult):
            return item
        context.gather(item)
    raise AssertionError("a generation ends with its result")


def run_replies(
    engine: Engine,
    context: Context,
    begin: Sequence[ChatTurn] | Prompt,
    settings: Sequence[SamplingSettings],
    *,
    prefill: str = "",
    drop_oldest: bool = False,
    thinking: bool | None = None,
) -> None:
    """Generate replies to a conversation, or after a prompt: one for each of the
    settings.

    Emits what `run_generation` does before the first token, then gathers the items of
    the replies.

    Raises:
        LmtuiError: there is no room for an answer; a reply that is alone broke off.
    """
    longest = max(setting.max_tokens for setting in settings)
    prompt, left_out = prompt_of(
        engine,
        begin,
        prefill=prefill,
        thinking=thinking,
        answer=longest if drop_oldest else None,
    )
    context.emit(PromptReady(prompt, left_out))
    items: Iterable[RowItem]
    if len(settings) == 1:
        alone = engine.generate(prompt, settings[0], progress=_progress(context))
        items = ((0, item) for item in alone)
    else:
        rows = list(map(RowRequest, settings))
        items = engine.generate_rows(prompt, rows, progress=_progress(context))
    for item in items:
        context.gather(item)


def run_continuations(
    engine: Engine, ids: Sequence[int], starts: Sequence[int], count: int
) -> list[list[Step]]:
    """Return, for each of several tokens after `ids`, the token and up to `count`
    greedy ones after it; fewer before an end token or where the context is full.

    Raises:
        LmtuiError: `ids` is empty or does not fit the context.
    """
    greedy = SamplingSettings(temperature=0, max_tokens=1 + count)
    continuations = [list[Step]() for _ in starts]
    rows = [RowRequest(greedy, (start,)) for start in starts]
    items = engine.generate_rows(Prompt(tuple(ids), ""), rows, top_n=0)
    for index, step in steps_of(items):
        continuations[index].append(step)
    return continuations


def _progress(context: Context) -> ReportCount:
    return lambda done, total: context.emit(CountReported(done, total))
