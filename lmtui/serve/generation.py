"""What a request asks of the engine, and the steps of the task that does it.

One task makes all answers of a request, one after the other: first the scores of a
prompt, where these are asked for, then the tokens after it. Knows no HTTP and no JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Prompt,
    ScoredPrompt,
    ScoredToken,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.models.remote.wire import ID_BYTES

_TOGETHER_TOKENS = 512
"""Tokens of the prompts that are scored in one forward pass, about."""
_TOGETHER_PROMPTS = 32


@dataclass(frozen=True, slots=True)
class PromptRead:
    """The model is about to answer a prompt."""

    size: int
    """Number of its tokens."""
    tokens: tuple[ScoredToken, ...]
    """Its scores; none where they were not asked for."""
    cached: int
    """How many of its tokens were in the KV cache already."""


GenerationEvent = tuple[int, PromptRead | Step | GenerationResult]
"""The index of a prompt that was read, or of an answer, and what comes of it."""
Emit = Callable[[GenerationEvent], object]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Prompts, how to continue each, and what to report of them."""

    prompts: tuple[Prompt, ...]
    settings: SamplingSettings
    answers: int = 1
    """Number of answers to each prompt; 0 only scores them."""
    scores: int | None = None
    """How many probable tokens to list for each token of a prompt; None for no scores
    of the prompts."""
    top_n: int | None = None
    """The same for the tokens of an answer; None where their logprobs are not asked
    for."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)

    @property
    def prompt_tokens(self) -> int:
        return sum(len(prompt.ids) for prompt in self.prompts)

    @property
    def tokens(self) -> int:
        """The same with all tokens of the answers, at the most."""
        written = len(self.prompts) * self.answers * self.settings.max_tokens
        return self.prompt_tokens + written

    def steps(self, emit: Emit, engine: Engine, slot: int) -> Iterator[None]:
        """Answer the prompts. Events are emitted on the worker's thread; the answers to
        prompt i are those from i · `answers` on."""
        for group in self._groups():
            # 1) scores of the prompts, several short ones at a time
            scored: list[ScoredPrompt | None] = [None] * len(group)
            if self.scores is not None:
                scored.clear()
                for scored_prompt in engine.score_prompts(
                    [self.prompts[index].ids for index in group],
                    self.settings,
                    top_n=self.scores,
                    slot=slot,
                ):
                    if scored_prompt is not None:
                        scored.append(scored_prompt)
                    yield
            # 2) answers
            for index, known in zip(group, scored, strict=True):
                yield from self._answers(index, known, emit, engine, slot)

    def _groups(self) -> Iterator[list[int]]:
        """Yield the indexes of prompts that are scored together."""
        group: list[int] = []
        tokens = 0
        for index, prompt in enumerate(self.prompts):
            full = len(group) == _TOGETHER_PROMPTS or self.scores is None
            if group and (full or tokens + len(prompt.ids) > _TOGETHER_TOKENS):
                yield group
                group, tokens = [], 0
            group.append(index)
            tokens += len(prompt.ids)
        yield group

    def _answers(
        self,
        index: int,
        scored: ScoredPrompt | None,
        emit: Emit,
        engine: Engine,
        slot: int,
    ) -> Iterator[None]:
        """Read a prompt unless it is scored, and generate the answers to it."""
        prompt = self.prompts[index]
        cached, tokens = 0, scored.tokens if scored else ()
        if scored is None:
            cached = engine.reusable(prompt.ids, slot)
            for _ in engine.prefill(prompt.ids, slot=slot):
                yield
        emit((index, PromptRead(len(prompt.ids), tokens, cached)))
        for number in range(self.answers):
            for item in engine.generate(
                prompt,
                _seeded(self.settings, number),
                top_n=max(1, self.top_n or 0),
                logit_bias=self.logit_bias,
                slot=slot,
                after=scored.following.handle if scored else None,
            ):
                if not isinstance(item, Step) and item.reason is FinishReason.BLOCKED:
                    raise LmtuiError("the answer can't go on", item.notice)
                emit((index * self.answers + number, item))
                yield


def logits_steps(
    prompts: Sequence[Sequence[int]],
    keep: int,
    emit: Callable[[bytes], object],
    engine: Engine,
    slot: int,
) -> Iterator[None]:
    """Emit the raw logits after each of the last `keep` tokens of some prompts, block
    by block."""
    for ids in prompts:
        for block in engine.raw_logits(ids, keep=keep, slot=slot):
            if block:
                emit(block)
            yield


def drawing_steps(
    request: GenerationRequest,
    drawn: int,
    emit: Callable[[bytes], object],
    engine: Engine,
    slot: int,
) -> Iterator[None]:
    """Answer one prompt, and emit the id of each token with the raw logits that it was
    drawn from; at last nothing, unless the answer was stopped. The last `drawn` tokens
    of the prompt belong to the answer already."""
    (prompt,) = request.prompts
    for _ in engine.prefill(prompt.ids, slot=slot):
        yield
    for item in engine.generate(
        prompt,
        request.settings,
        top_n=1,
        logit_bias=request.logit_bias,
        slot=slot,
        drawn=drawn,
    ):
        if isinstance(item, Step):
            row = engine.logits_at(item.distribution.handle)
            emit(item.id.to_bytes(ID_BYTES, "little") + row)
        elif item.reason is not FinishReason.CANCELLED:
            emit(b"")
        yield


def _seeded(settings: SamplingSettings, number: int) -> SamplingSettings:
    """Return the settings of one of several answers: each has a seed of its own."""
    if settings.seed is None:
        return settings
    return replace(settings, seed=(settings.seed + number) % 2**63)
