"""Asking a model in training: the engine's own numbers, on tiny random models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.engine import LocalEngine
from lmtui.errors import Cancelled
from lmtui.train import evaluate
from lmtui.train.dataset import Example
from lmtui.train.evaluate import Evaluator, longest_run, neutral_text
from lmtui.train.metrics import together
from lmtui.train.notes import Completion
from tests.engine import tiny
from tests.train.test_dataset import example

TEXT = "The quick brown fox jumps over the lazy dog.\n" * 12


@pytest.fixture(scope="module")
def engine() -> LocalEngine:
    return tiny.engine("llama")


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(tiny.tokenizer(), block=32)


def of(text: str, path: str = "a.md") -> Example:
    return example(text, path=path)


def test_document_score_equals_that_of_the_engine(
    engine: LocalEngine, evaluator: Evaluator
) -> None:
    (found,) = evaluator.score(engine, [of(TEXT)])
    encoding = engine.encode(TEXT)
    tokens = list(
        engine.score(encoding.ids, prefix=encoding.prefix, window=32, stride=16)
    )
    logprobs = [token.logprob for token in tokens if token.logprob is not None]
    assert found.tokens == len(logprobs)
    assert found.nll == pytest.approx(-math.fsum(logprobs), rel=1e-6)
    scored = [token for token in tokens if token.logprob is not None]
    assert found.bytes == sum(len(token.bytes) for token in scored)


def test_score_counts_only_learned_tokens(
    engine: LocalEngine, evaluator: Evaluator
) -> None:
    row = example(Completion("Question? ", "Answer!"))
    (found,) = evaluator.score(engine, [row])
    controls = set(tiny.tokenizer().all_special_ids)
    counting = [
        token
        for token, counts in zip(row.ids, row.trained, strict=True)
        if counts and token not in controls
    ]
    assert found.tokens == len(counting) > 0
    assert found.bytes == len(b"Answer!")
    assert len(found.logprobs) == len(row.ids)
    whole = list(engine.score(row.ids, window=32, stride=16))
    for index, logprob in enumerate(found.logprobs):
        if logprob is not None:
            assert logprob == pytest.approx(whole[index].logprob, abs=1e-6)


def test_unchanged_model_gives_the_same_answers_and_tells_how_far_it_is(
    engine: LocalEngine, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    neutral = neutral_text()[:300]
    monkeypatch.setattr(evaluate, "neutral_text", lambda: neutral)
    held_out, training = [of(TEXT)], [of("def f(x):\n    return x + 1\n" * 20, "b")]
    prompts = evaluator.prompts(held_out, training)
    shares: list[float] = []
    before, after = (
        evaluator.ask(
            engine,
            held_out=held_out,
            training=training,
            prompts=prompts,
            on_share=lambda done, total: shares.append(done / total),
        )
        for _ in range(2)
    )
    assert before == after
    assert together([before.neutral]) is not None
    assert len(before.continued) == len(prompts) == 2
    assert before.recalled is not None
    half = shares[: len(shares) // 2]
    assert half == sorted(half) and half[-1] == 1
    assert 0 < half[0] < 0.1 and len({round(share, 1) for share in half}) > 5


def test_prompts_are_beginnings_of_held_out_documents_first(
    evaluator: Evaluator,
) -> None:
    held_out = [of(TEXT, "h")]
    training = [of(f"number {n} " * 20, f"t{n}") for n in range(9)]
    prompts = evaluator.prompts(held_out, training)
    assert len(prompts) == 3
    assert TEXT.startswith(prompts[0].text)
    assert 8 <= len(prompts[0].ids) <= 16
    assert not prompts[0].text.endswith(" ")
    assert evaluator.prompts([], [of("x")]) == ()
    assert evaluator.prompts(held_out, training) == prompts


def test_prompt_of_a_completion_row_is_its_question(evaluator: Evaluator) -> None:
    row = example(Completion("What is it? ", "It is rain. " * 20))
    (prompt,) = evaluator.prompts([row], [])
    assert prompt.text == "What is it? "


def test_evaluator_can_be_cancelled(engine: LocalEngine, evaluator: Evaluator) -> None:
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        evaluator.score(engine, [of(TEXT)])
    prompts = evaluator.prompts([of(TEXT)], [])
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        evaluator.continued(engine, prompts)


@given(
    st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=30)
)
def test_longest_run_equals_brute_force(said: list[int], stream: list[int]) -> None:
    start, length = longest_run(np.array(said), np.array(stream))
    written = [tuple(said[a:b]) for a in range(13) for b in range(a, len(said) + 1)]
    there = {tuple(stream[a:b]) for a in range(31) for b in range(a, len(stream) + 1)}
    assert length == max((len(run) for run in written if run in there), default=0)
    assert tuple(said[start : start + length]) in there or length == 0


def test_recalled_finds_training_text_known_by_heart(evaluator: Evaluator) -> None:
    """A model that can only count is one that knows the counting by heart."""
    counting = tuple(range(100, 300))
    training = [Example("count", counting, (True,) * len(counting))]

    class Counter:
        def generate(self, prompt, settings, **_):  # type: ignore[no-untyped-def]
            from types import SimpleNamespace

            for n in range(settings.max_tokens):
                yield SimpleNamespace(id=prompt.ids[-1] + 1 + n, piece="")

    found = evaluator.recalled(Counter(), training)  # type: ignore[arg-type]
    assert found is not None
    assert found.tokens == 48
    assert found.path == "count"
