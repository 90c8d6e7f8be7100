"""Views that write a generated answer to stdout: as text, or as JSON lines.

Knows neither the request's origin nor the engine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lmtui.analysis.summary import model_fields
from lmtui.cli.errors import STOPPED, note
from lmtui.cli.output import (
    JsonEvent,
    Output,
    drawn_rows,
    grammar_fields,
    sampling_fields,
    score_fields,
)
from lmtui.engine import token_bias
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling.stages import chain_of
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    EngineInfo,
    FinishReason,
    GenerationResult,
    Step,
)
from lmtui.text import visible_line


def write(
    first: Step | GenerationResult,
    rest: Iterator[Step | GenerationResult],
    view: AnswerView,
) -> int:
    """Write a generation, given its first item and the rest; return the exit code."""
    item = first
    while isinstance(item, Step):
        view.token(item)
        item = next(rest)
    view.end(item)
    if item.notice:
        note(f"note: {visible_line(item.notice)}\n")
    return STOPPED if item.reason is FinishReason.CANCELLED else 0


def seeded(sampling: SamplingSettings) -> SamplingSettings:
    """Return `sampling` with a seed, so that every answer can be reproduced.

    The seed has 32 bits, which every JSON reader holds exactly.
    """
    if sampling.seed is not None:
        return sampling
    return replace(sampling, seed=int.from_bytes(os.urandom(4), "big"))


def applied(
    engine: Engine, first: Step | GenerationResult, sampling: SamplingSettings
) -> SamplingSettings:
    """Return the settings without the entries of `logit_bias` that no single token of
    the model stands for, which are named on stderr; `first` is the first item of a
    generation with these settings."""
    if not sampling.logit_bias or not isinstance(first, Step):
        return sampling
    position = first.distribution.handle
    chain = engine.preview(position, sampling, count=1, with_chain=True).chain
    lost = {text for effect in chain for text in effect.without_token}
    if not lost:
        return sampling
    named = ", ".join(f"“{visible_line(text)}”" for text in sorted(lost))
    note(f"note: logit-bias has no effect on {named}: no single token of this model\n")
    entries = sampling.logit_bias
    kept = (entry for entry in entries if token_bias.text_of(entry) not in lost)
    return replace(sampling, logit_bias=tuple(kept))


class TextView:
    """Writer of the answer alone, as text, with the prefill."""

    top = 0

    def __init__(self, output: Output) -> None:
        self._output = output

    def start(self, prefill: str, event: Callable[[], JsonEvent]) -> None:
        """Begin with the prefill; `event` returns the first line of JSON."""
        self._output.text(prefill)

    def token(self, step: Step) -> None:
        self._output.text(step.piece)

    def end(self, finish: GenerationResult) -> None:
        """Write the text that was held back, and end the line."""
        self._output.text(finish.piece)
        self._output.end_line()


class JsonAnswerView:
    """Writer of every token with its numbers, one JSON object a line."""

    def __init__(self, output: Output, top_n: int) -> None:
        self._output = output
        self.top = top_n
        self._has_ids = True  # a server that is only talked with tells none

    def start(self, prefill: str, event: Callable[[], JsonEvent]) -> None:
        first = event()
        self._has_ids = first["prompt_ids"] is not None
        self._output.event(first)

    def token(self, step: Step) -> None:
        rows = drawn_rows(step.distribution.candidates[: self.top])
        coin = step.distribution.coin
        self._output.event(
            {
                "event": "token",
                "index": step.index,
                "id": step.id if self._has_ids else None,
                "text": step.text,
                "bytes": step.bytes.hex(),
                "piece": step.piece,
                **score_fields(step),
                "sampled_prob": step.sampled_prob,
                "guessed": step.guessed,
                **grammar_fields(step),
                **({} if coin is None else {"coin": coin}),
                "top": rows if self._has_ids else [{**row, "id": None} for row in rows],
            }
        )

    def end(self, finish: GenerationResult) -> None:
        self._output.event(end_event(finish))


AnswerView = TextView | JsonAnswerView
"""Writer of an answer while it is generated; `top` is the number of alternatives that
it needs for each token."""


def view_of(*, json: bool, top: int) -> AnswerView:
    output = Output()
    return JsonAnswerView(output, top) if json else TextView(output)


def start_event(
    info: EngineInfo,
    prompt_ids: Sequence[int] | None,
    begun: Mapping[str, str],
    sampling: SamplingSettings,
) -> JsonEvent:
    """Return the first line of a generation.

    `begun` is the part of the text that was given: the prefill, or a half-typed word.
    """
    return {
        "event": "start",
        **model_fields(info),
        "device": info.device,
        "prompt_ids": None if prompt_ids is None else list(prompt_ids),
        **begun,
        "sampling": sampling_fields(sampling),
        "chain": list(chain_of(sampling)),
    }


def end_event(finish: GenerationResult) -> JsonEvent:
    untold = not finish.tokens and finish.first_token_seconds is not None
    return {
        "event": "end",
        "finish": finish.reason.value,
        "piece": finish.piece,
        "tokens": None if untold else finish.tokens,
        "logprob": finish.logprob if finish.tokens else None,
        "perplexity": finish.perplexity,
        "prompt_tokens": finish.prompt_tokens,
        "reused_tokens": finish.reused_tokens,
        "prompt_seconds": finish.prompt_seconds,
        "first_token_seconds": finish.first_token_seconds,
        "seconds": finish.seconds,
        "tokens_per_second": finish.tokens_per_second,
        "seed": finish.seed,
        "guessed_tokens": finish.guessed_tokens,
        **({"notice": finish.notice} if finish.notice else {}),
        **({"taken_back": _taken_back(finish)} if finish.taken_back else {}),
    }


def _taken_back(finish: GenerationResult) -> list[dict[str, Any]]:
    return [
        {
            "index": taken.index,
            "phrase": taken.phrase,
            "ids": [step.id for step in taken.steps],
            "bytes": [step.bytes.hex() for step in taken.steps],
        }
        for taken in finish.taken_back
    ]
