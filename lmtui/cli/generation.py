"""How an answer is written: as text, or as JSON.

Owns the lines of both; knows neither where a request came from nor the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from lmtui.cli.errors import STOPPED
from lmtui.cli.output import Output, adapter_field, drawn_rows, sampling_fields
from lmtui.engine.types import (
    EngineInfo,
    FinishReason,
    GenerationResult,
    Prompt,
    SamplingSettings,
    Step,
)


class AnswerView(Protocol):
    """One way of writing an answer."""

    top: int
    """Alternatives wanted with each token."""

    def start(
        self,
        info: EngineInfo,
        prompt: Prompt,
        prefill: str,
        sampling: SamplingSettings,
    ) -> None:
        """The model is about to answer."""

    def token(self, step: Step) -> None:
        """It chose a token."""

    def end(self, finish: GenerationResult) -> None:
        """It is done."""


def write(
    first: Step | GenerationResult,
    rest: Iterator[Step | GenerationResult],
    view: AnswerView,
) -> int:
    """Write a generation, whose first item is there already; the exit code."""
    item = first
    while isinstance(item, Step):
        view.token(item)
        item = next(rest)
    view.end(item)
    return STOPPED if item.reason is FinishReason.CANCELLED else 0


class TextView:
    """The answer alone, as text, prefill included."""

    top = 0

    def __init__(self, output: Output) -> None:
        self._output = output

    def start(
        self,
        info: EngineInfo,
        prompt: Prompt,
        prefill: str,
        sampling: SamplingSettings,
    ) -> None:
        """Write the beginning that the user gave."""
        self._output.text(prefill)

    def token(self, step: Step) -> None:
        """Write what the token adds."""
        self._output.text(step.piece)

    def end(self, finish: GenerationResult) -> None:
        """Write what was held back, and end the line."""
        self._output.text(finish.piece)
        self._output.end_line()


class JsonAnswerView:
    """Every token with its numbers, one JSON object a line."""

    def __init__(self, output: Output, top: int) -> None:
        self._output = output
        self.top = top

    def start(
        self,
        info: EngineInfo,
        prompt: Prompt,
        prefill: str,
        sampling: SamplingSettings,
    ) -> None:
        """Write what was asked of which model."""
        begun = {"prefill": prefill}
        self._output.event(start_event(info, prompt.ids, begun, sampling))

    def token(self, step: Step) -> None:
        """Write one generated token."""
        self._output.event(
            {
                "event": "token",
                "index": step.index,
                "id": step.id,
                "text": step.text,
                "bytes": step.bytes.hex(),
                "piece": step.piece,
                "logprob": step.logprob,
                "rank": step.rank,
                "entropy": step.entropy,
                "sampled_prob": step.sampled_prob,
                "top": drawn_rows(step.distribution.candidates[: self.top]),
            }
        )

    def end(self, finish: GenerationResult) -> None:
        """Write why it ended, and the totals."""
        self._output.event(end_event(finish))


def start_event(
    info: EngineInfo,
    prompt_ids: Sequence[int],
    begun: Mapping[str, str],
    sampling: SamplingSettings,
) -> dict[str, Any]:
    """The first line of a generation; `begun` is what of its text was given."""
    return {
        "event": "start",
        "model": info.model,
        **adapter_field(info),
        "precision": info.precision,
        "dtype": info.dtype,
        "device": info.device,
        "prompt_ids": list(prompt_ids),
        **begun,
        "sampling": sampling_fields(sampling),
    }


def end_event(finish: GenerationResult) -> dict[str, Any]:
    """The last line of a generation."""
    return {
        "event": "end",
        "finish": finish.reason.value,
        "piece": finish.piece,
        "tokens": finish.tokens,
        "logprob": finish.logprob if finish.tokens else None,
        "perplexity": finish.perplexity,
        "prompt_tokens": finish.prompt_tokens,
        "reused_tokens": finish.reused_tokens,
        "prompt_seconds": finish.prompt_seconds,
        "first_token_seconds": finish.first_token_seconds,
        "seconds": finish.seconds,
        "tokens_per_second": finish.tokens_per_second,
        "seed": finish.seed,
    }
