"""Versions of an answer: each is the text that its seed gives alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.backend import Reuse
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.engine import LocalEngine
from lmtui.engine.generation.answer_row import AnswerRow
from lmtui.engine.rows import RowItem, RowRequest, one_after_another
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import Cancelled, LmtuiError
from lmtui.worker.generation import run_continuations
from tests.engine import tiny
from tests.engine.test_prefix_cache import counted
from tests.examples import examples

TEXT = "the cat sat on the mat and the dog"


def prompt_of(engine: LocalEngine, text: str = TEXT) -> Prompt:
    return Prompt(engine.encode(text).ids, text)


def seeded(count: int, first: int = 5, **others: Any) -> list[SamplingSettings]:
    values = {"temperature": 1.0, "max_tokens": 16} | others
    return [SamplingSettings(seed=first + number, **values) for number in range(count)]


def versions(
    engine: LocalEngine, prompt: Prompt, asked: Sequence[SamplingSettings]
) -> Iterator[RowItem]:
    """An answer with each of the settings."""
    return engine.generate_rows(prompt, list(map(RowRequest, asked)))


def by_version(
    items: Iterable[RowItem], count: int
) -> list[tuple[list[Step], GenerationResult | LmtuiError]]:
    """The steps and the end of each version."""
    found: list[list[Any]] = [[] for _ in range(count)]
    for index, item in items:
        found[index].append(item)
    return [(steps, end) for *steps, end in found]


def assert_alone(
    engine: LocalEngine,
    prompt: Prompt,
    asked: Sequence[SamplingSettings],
    found: Sequence[tuple[list[Step], GenerationResult | LmtuiError]],
) -> None:
    """Whether each version is what its settings give alone."""
    for own, (steps, end) in zip(asked, found, strict=True):
        *alone, result = engine.generate(prompt, own)
        assert isinstance(end, GenerationResult)
        assert isinstance(result, GenerationResult)
        assert [step.id for step in steps] == [s.id for s in alone]  # type: ignore[union-attr]
        for step, other in zip(steps, alone, strict=True):
            assert isinstance(other, Step)
            assert (step.piece, step.rank) == (other.piece, other.rank)
            assert step.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert step.sampled_prob == pytest.approx(other.sampled_prob, abs=1e-3)
        assert (end.reason, end.tokens) == (result.reason, result.tokens)
        assert (end.seed, end.piece) == (result.seed, result.piece)
        assert end.prompt_tokens == len(prompt.ids)


@pytest.mark.parametrize("device", tiny.DEVICES)
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_each_version_is_the_answer_of_its_seed(family: str, device: str) -> None:
    engine = tiny.engine(family, device, context=256)
    wide = {"temperature": 20.0, "min_p": 0.0} if family == "gemma3" else {}
    prompt, asked = prompt_of(engine), seeded(4, max_tokens=24, **wide)
    found = by_version(versions(engine, prompt, asked), 4)
    assert_alone(tiny.engine(family, device, context=256), prompt, asked, found)
    assert len({tuple(step.id for step in steps) for steps, _ in found}) == 4


@settings(max_examples=examples(4, 12), deadline=None)
@given(
    count=st.integers(1, 6),
    first=st.integers(0, 2**31),
    temperature=st.sampled_from([0.4, 1.0, 2.0]),
    penalty=st.sampled_from([1.0, 1.3]),
    stops=st.sampled_from([(), ("e",), ("a", "th")]),
)
def test_versions_may_end_in_any_order(
    count: int, first: int, temperature: float, penalty: float, stops: tuple[str, ...]
) -> None:
    engine = tiny.engine(context=48)
    prompt = Prompt(engine.encode(TEXT).ids, TEXT, stops)
    asked = seeded(
        count, first, temperature=temperature, repetition_penalty=penalty, max_tokens=70
    )
    found = by_version(versions(engine, prompt, asked), count)
    assert_alone(tiny.engine(context=48), prompt, asked, found)


def test_batch_reads_the_prompt_once_and_runs_a_token_of_each_row() -> None:
    engine = tiny.engine()
    prompt = prompt_of(engine)
    with counted(tiny.model()) as lengths:
        found = by_version(versions(engine, prompt, seeded(4)), 4)
    longest = max(len(steps) for steps, _ in found)
    assert lengths == [len(prompt.ids)] + [1] * (longest - 1)
    assert engine.cache.ids == list(prompt.ids)
    reused = [end.reused_tokens for _, end in found]  # type: ignore[union-attr]
    assert reused == [0] + [len(prompt.ids)] * 3
    assert {step.guessed for steps, _ in found for step in steps} == {None}


def test_state_that_cannot_be_copied_gives_the_versions_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = tiny.engine()
    monkeypatch.setattr(engine.cache, "_reuse", Reuse.NOTHING)
    prompt, asked = prompt_of(engine), seeded(2, max_tokens=8)
    items = list(versions(engine, prompt, asked))
    order = [version for version, _ in items]
    assert order == sorted(order)
    assert_alone(tiny.engine(), prompt, asked, by_version(items, 2))


@pytest.mark.parametrize("after", [0, 5])
def test_a_stop_ends_all_versions_within_a_token(after: int) -> None:
    engine, seen = tiny.engine(), []
    with cancelled_when(lambda: len(seen) >= after):
        for _, item in versions(engine, prompt_of(engine), seeded(3)):
            if isinstance(item, Step):
                seen.append(item)
            else:
                assert isinstance(item, GenerationResult)
                assert item.reason is FinishReason.CANCELLED
    assert len(seen) <= after + 3  # the others of the same pass
    # The engine can be used as before.
    asked = seeded(2)
    found = by_version(versions(engine, prompt_of(engine), asked), 2)
    assert_alone(tiny.engine(), prompt_of(engine), asked, found)


def test_a_stop_within_a_pass_ends_all_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object, **__: object) -> torch.Tensor:
        raise Cancelled

    monkeypatch.setattr(TransformersBackend, "next_logits", stopped)
    engine = tiny.engine()
    found = by_version(versions(engine, prompt_of(engine), seeded(3)), 3)
    for steps, end in found:
        assert len(steps) == 1 and isinstance(end, GenerationResult)
        assert end.reason is FinishReason.CANCELLED


def test_a_version_that_fails_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, advance = tiny.engine(), AnswerRow.advance
    asked = seeded(4)
    broken = asked[1].seed

    def fail(self: AnswerRow, logits: torch.Tensor, **how: Any) -> Any:
        if self._seed == broken and len(self._logprobs) == 3:
            raise LmtuiError("its numbers are damaged")
        return advance(self, logits, **how)

    monkeypatch.setattr(AnswerRow, "advance", fail)
    found = by_version(versions(engine, prompt_of(engine), asked), 4)
    steps, error = found.pop(1)
    assert len(steps) == 3 and isinstance(error, LmtuiError)
    del asked[1]
    assert_alone(tiny.engine(), prompt_of(engine), asked, found)


def test_versions_go_on_alone_where_a_pass_of_all_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, run, passes = tiny.engine(), TransformersBackend.next_logits, []

    def fail(self: TransformersBackend, *given: Any, **how: Any) -> torch.Tensor:
        passes.append(given)
        if len(passes) == 4:
            raise LmtuiError("the model's output is not a distribution")
        return run(self, *given, **how)

    monkeypatch.setattr(TransformersBackend, "next_logits", fail)
    asked = seeded(3)
    found = by_version(versions(engine, prompt_of(engine), asked), 3)
    assert len(passes) == 4
    assert_alone(tiny.engine(), prompt_of(engine), asked, found)


def test_full_context_leaves_a_start_without_continuation() -> None:
    engine = tiny.engine(context=8)
    for length, more in ((6, 1), (7, 0), (8, 0)):
        ways = run_continuations(engine, [5] * length, [9, 11], 6)
        assert [len(way) for way in ways] == [1 + more] * 2
    with pytest.raises(LmtuiError, match="does not fit"):
        run_continuations(engine, [5] * 9, [9], 6)
    with pytest.raises(LmtuiError, match="nothing to continue"):
        run_continuations(engine, [], [9], 6)


def test_one_after_another_goes_on_behind_an_error_and_ends_at_a_stop() -> None:
    asked, begun = seeded(4), []

    def generate(own: SamplingSettings) -> Any:
        begun.append(own.seed)
        if own.seed == 5:
            raise LmtuiError("the server broke off")
        yield own

    with cancelled_when(lambda: len(begun) == 3):
        items = list(one_after_another(map(generate, asked)))
    assert begun == [5, 6, 7]
    assert [version for version, _ in items] == [0, 1, 2]
    assert isinstance(items[0][1], LmtuiError)
