"""Greedy answers of a backend, decoded together without an engine around it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from lmtui.engine.generation.answer_row import AnswerRow, StopRules
from lmtui.engine.generation.generate import generate_rows
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.rows import steps_of
from lmtui.engine.sampling.chain import SamplerChain
from lmtui.engine.sampling.logits_store import LogitsStore
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import Step

SAMPLER: Any = SimpleNamespace(
    chain=SamplerChain,
    positions=LogitsStore(lambda ids: None),  # type: ignore[arg-type, return-value]
    vocabulary=SimpleNamespace(bytes=lambda token: b"", text=lambda token: ""),
)
"""A sampler of tokens that have no text."""


def answer(
    start: Sequence[int], more: int, end_ids: frozenset[int] = frozenset()
) -> AnswerRow:
    """An answer of `start` and greedy tokens."""
    rules = StopRules(end_ids, len(start) + more, context=1 << 20)
    greedy = SamplingSettings(temperature=0)
    return AnswerRow(SAMPLER, greedy, rules, top_n=1, start=start, is_stored=False)


def grown(
    cache: PrefixCache,
    prompt: Sequence[int],
    starts: Sequence[Sequence[int]],
    more: int,
    end_ids: frozenset[int] = frozenset(),
) -> list[list[Step]]:
    """The steps of an answer with each start, and up to so many more tokens."""
    answers = [answer(start, more, end_ids) for start in starts]
    found = [list[Step]() for _ in starts]
    for index, step in steps_of(generate_rows(cache, answers, prompt)):
        found[index].append(step)
    return found


def ids_of(steps: Sequence[Step]) -> list[int]:
    """The tokens of some steps."""
    return [step.id for step in steps]
