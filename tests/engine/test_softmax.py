"""The softmax of every verb equals that in float64 of the same logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmtui.engine import softmax
from lmtui.engine.sampling.chain import DrawConditions, SamplerChain
from lmtui.engine.sampling.logits_store import StoredLogits
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.scoring.score import rows_of
from lmtui.engine.softmax import log_softmax
from lmtui.engine.token_ids import ids_array
from lmtui.errors import LmtuiError
from lmtui.kernels.logits import LogitsKernel
from tests.engine.backends.llama_cpu.lean import gguf_kernel

NEAR = 1e-6
LARGE = 49_152


@pytest.fixture(scope="module", params=["compiled", "NumPy"], autouse=True)
def sums(request: pytest.FixtureRequest) -> Iterator[None]:
    """What computes the sums: the compiled ones, or those where there are none."""
    kernel = None
    if request.param == "compiled":
        kernel = LogitsKernel(gguf_kernel().library)
        assert kernel.is_right()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "logits_kernel", lambda: kernel)
        yield


class Found(NamedTuple):
    """Numbers of one token after one row of logits."""

    logprob: float
    entropy: float | None
    varentropy: float | None


def scored(logits: Tensor, tokens: Sequence[int]) -> list[Found]:
    """As a text is scored: several rows at once."""
    rows = rows_of(logits, tokens)
    return [Found(row.logprob or 0.0, row.entropy, row.varentropy) for row in rows]


def drawn(logits: Tensor, tokens: Sequence[int]) -> list[Found]:
    """As an answer is drawn: one row after the other."""
    chain = SamplerChain(SamplingSettings())
    found = []
    for row, token in zip(logits, tokens, strict=True):
        position = StoredLogits(row, DrawConditions(ids_array([])))
        look = position.view(chain)
        (logprob,) = position.rows(torch.tensor([token]), look.sampled).logprobs
        found.append(Found(float(logprob), look.entropy, look.varentropy))
    return found


def whole(logits: Tensor, tokens: Sequence[int]) -> list[Found]:
    """As half-typed words are completed: the log-probabilities of all tokens."""
    rows = log_softmax(logits)
    return [Found(float(r[t]), None, None) for r, t in zip(rows, tokens, strict=True)]


VERBS = [scored, drawn, whole]
Verb = Callable[[Tensor, Sequence[int]], list[Found]]


def rounding(value: float) -> float:
    """Half the distance of float32 numbers of this size."""
    return 2.0 ** (math.frexp(value)[1] - 25)


def reference(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities [n, V], entropies [n] and varentropies [n] in float64."""
    logprobs = logits.double().log_softmax(-1)
    entropies = -(logprobs.exp() * logprobs).nan_to_num(0.0).sum(-1)
    away = (logprobs + entropies.unsqueeze(-1)).square()
    return logprobs, entropies, (logprobs.exp() * away).nan_to_num(0.0).sum(-1)


def random_logits(rows: int, size: int, seed: int, scale: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, size, generator=generator) * scale


@pytest.mark.parametrize("verb", VERBS)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([2, 100, 5_000, LARGE]),
    scale=st.sampled_from([0.0, 0.5, 3.0, 10.0]),
    offset=st.sampled_from([0.0, -30.0, 500.0]),
    peak=st.sampled_from([0.0, 5.0, 30.0]),
    forbids=st.booleans(),
)
def test_numbers_equal_the_softmax_in_float64(
    verb: Verb,
    seed: int,
    size: int,
    scale: float,
    offset: float,
    peak: float,
    forbids: bool,
) -> None:
    logits = random_logits(2, size, seed, scale) + offset
    logits[:, seed % size] += peak
    if forbids:
        logits[:, (seed + 1) % size] = -math.inf
    tokens = [seed % size, (seed + 7) % size if size > 7 else seed % size]
    logprobs, *moments = reference(logits)
    found = verb(logits, tokens)
    for row, token, entropy, varentropy, numbers in zip(
        logprobs, tokens, *(each.tolist() for each in moments), found, strict=True
    ):
        exact = float(row[token])
        assert numbers.logprob == pytest.approx(exact, abs=NEAR + rounding(exact))
        if numbers.entropy is not None:
            assert numbers.entropy == pytest.approx(entropy, abs=NEAR)
            assert numbers.varentropy == pytest.approx(varentropy, rel=NEAR, abs=NEAR)


@pytest.mark.parametrize("size", [LARGE, 262_144])
@pytest.mark.parametrize("verb", VERBS)
def test_errors_have_no_sign(verb: Verb, size: int) -> None:
    """A sum over a text is as exact as its tokens: their errors cancel."""
    rows = 40
    logits = random_logits(rows, size, 1, 3.0)
    tokens = [(i * 977) % size for i in range(rows)]
    logprobs, entropies, _ = reference(logits)
    exact = [float(row[token]) for row, token in zip(logprobs, tokens, strict=True)]
    found = verb(logits, tokens)
    errors = [a.logprob - b for a, b in zip(found, exact, strict=True)]
    assert abs(math.fsum(errors)) / rows < 2e-7
    if found[0].entropy is not None:
        pairs = zip(found, entropies.tolist(), strict=True)
        away = [(a.entropy or 0.0) - b for a, b in pairs]
        assert abs(math.fsum(away)) / rows < 2e-7


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_agree_to_the_last_digit(verb: Verb) -> None:
    logits = random_logits(3, LARGE, 2, 4.0)
    tokens = [5, 500, 40_000]
    wanted = scored(logits, tokens)
    assert [f.logprob for f in verb(logits, tokens)] == [f.logprob for f in wanted]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_logits_of_no_distribution_are_refused(wrong: float) -> None:
    logits = torch.zeros(1, 10)
    logits[0, 3] = wrong
    for verb in (scored, drawn):
        with pytest.raises(LmtuiError):
            verb(logits, [1])
    with pytest.raises(LmtuiError):
        scored(torch.full((1, 10), -math.inf), [1])
