"""What a completion asks of the engine, and the task that does it.

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
from lmtui.serve.scheduler import Steps

_TOGETHER_TOKENS = 512
"""Tokens of the prompts that are scored in one forward pass, about."""
_TOGETHER_PROMPTS = 32


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
    top_n: int = 0
    """The same for the tokens of an answer."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)

    @property
    def prompt_tokens(self) -> int:
        return sum(len(prompt.ids) for prompt in self.prompts)

    @property
    def tokens(self) -> int:
        """The same with all tokens of the answers, at the most."""
        written = len(self.prompts) * self.answers * self.settings.max_tokens
        return self.prompt_tokens + written


@dataclass(frozen=True, slots=True)
class PromptRead:
    """The model is about to answer a prompt."""

    index: int
    size: int
    """Number of its tokens."""
    tokens: tuple[ScoredToken, ...]
    """Its scores; none where they were not asked for."""
    cached: int
    """How many of its tokens were in the KV cache already."""


@dataclass(frozen=True, slots=True)
class AnswerStep:
    index: int
    step: Step


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    index: int
    result: GenerationResult


GenerationEvent = PromptRead | AnswerStep | AnswerEnd
Emit = Callable[[GenerationEvent], object]


def generation_steps(request: GenerationRequest, emit: Emit) -> Steps:
    """Return the steps of a task that answers a request. Events are emitted on the
    worker's thread; the answers to prompt i are those from i · `answers` on."""
    return lambda engine, slot: _Generation(engine, slot, request, emit).steps()


def logits_steps(
    prompts: Sequence[Sequence[int]], keep: int, emit: Callable[[bytes], object]
) -> Steps:
    """Return the steps of a task that emits the raw logits after each of the last
    `keep` tokens of some prompts, block by block."""

    def steps(engine: Engine, slot: int) -> Iterator[None]:
        for ids in prompts:
            for block in engine.raw_logits(ids, keep=keep, slot=slot):
                if block:
                    emit(block)
                yield

    return steps


def drawing_steps(
    request: GenerationRequest, drawn: int, emit: Callable[[bytes], object]
) -> Steps:
    """Return the steps of a task that answers one prompt, and emits the id of each
    token with the raw logits that it was drawn from; at last nothing, unless the answer
    was stopped. The last `drawn` tokens of the prompt belong to the answer already."""

    def steps(engine: Engine, slot: int) -> Iterator[None]:
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

    return steps


@dataclass(frozen=True, slots=True)
class _Generation:
    engine: Engine
    slot: int
    request: GenerationRequest
    emit: Emit

    def steps(self) -> Iterator[None]:
        for indexes in self._groups():
            # 1) scores of the prompts, several short ones at a time
            scored: list[ScoredPrompt | None] = [None] * len(indexes)
            if self.request.scores is not None:
                scored.clear()
                for scored_prompt in self._score(indexes):
                    if scored_prompt is not None:
                        scored.append(scored_prompt)
                    yield
            # 2) answers
            for index, known in zip(indexes, scored, strict=True):
                yield from self._answer(index, known)

    def _groups(self) -> Iterator[list[int]]:
        """Yield the indexes of prompts that are scored together."""
        group: list[int] = []
        tokens = 0
        for index, prompt in enumerate(self.request.prompts):
            full = len(group) == _TOGETHER_PROMPTS or self.request.scores is None
            if group and (full or tokens + len(prompt.ids) > _TOGETHER_TOKENS):
                yield group
                group, tokens = [], 0
            group.append(index)
            tokens += len(prompt.ids)
        yield group

    def _score(self, indexes: list[int]) -> Iterator[ScoredPrompt | None]:
        return self.engine.score_prompts(
            [self.request.prompts[index].ids for index in indexes],
            self.request.settings,
            top_n=self.request.scores or 0,
            slot=self.slot,
        )

    def _answer(self, index: int, scored: ScoredPrompt | None) -> Iterator[None]:
        """Read a prompt unless it is scored, and generate the answers to it."""
        engine, slot, request = self.engine, self.slot, self.request
        prompt = request.prompts[index]
        cached, tokens = 0, scored.tokens if scored else ()
        if scored is None:
            cached = engine.reusable(prompt.ids, slot)
            for _ in engine.prefill(prompt.ids, slot=slot):
                yield
        self.emit(PromptRead(index, len(prompt.ids), tokens, cached))
        for number in range(request.answers):
            answer = index * request.answers + number
            for item in engine.generate(
                prompt,
                _seeded(request.settings, number),
                top_n=max(1, request.top_n),
                logit_bias=request.logit_bias,
                slot=slot,
                after=scored.following.handle if scored else None,
            ):
                if isinstance(item, Step):
                    self.emit(AnswerStep(answer, item))
                elif item.reason is FinishReason.BLOCKED:
                    raise LmtuiError("the answer can't go on", item.notice)
                else:
                    self.emit(AnswerEnd(answer, item))
                yield


def _seeded(settings: SamplingSettings, number: int) -> SamplingSettings:
    """Return the settings of one of several answers: each has a seed of its own."""
    if settings.seed is None:
        return settings
    return replace(settings, seed=(settings.seed + number) % 2**63)
