"""The arithmetic of a summary."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.cli.totals import Totals, scored_bytes
from lmtui.engine.sums import bits
from lmtui.engine.types import ScoredToken
from tests.fakes import FakeEngine

LOGPROBS = st.lists(st.none() | st.floats(-50, 0), max_size=30)


def token(index: int, logprob: float | None, data: bytes = b"a") -> ScoredToken:
    """A scored token with nothing but a log-probability."""
    return ScoredToken(index, 0, "a", data, logprob, None, None)


def totals(logprobs: list[float | None], keep: int = 3) -> Totals:
    """The totals over these."""
    result = Totals(keep=keep)
    for index, logprob in enumerate(logprobs):
        result.add(token(index, logprob), (index, index + 1))
    return result


@given(LOGPROBS)
def test_perplexity_is_the_exponential_of_the_mean(
    logprobs: list[float | None],
) -> None:
    result = totals(logprobs)
    known = [value for value in logprobs if value is not None]
    assert (result.tokens, result.scored) == (len(logprobs), len(known))
    if not known:
        assert result.logprob is result.mean_nll is result.perplexity is None
        return
    assert result.logprob == pytest.approx(math.fsum(known))
    assert result.mean_nll == pytest.approx(-math.fsum(known) / len(known))
    assert result.perplexity == pytest.approx(math.exp(-math.fsum(known) / len(known)))


@given(LOGPROBS)
def test_the_most_surprising_come_first(logprobs: list[float | None]) -> None:
    found = [t.logprob for t, _ in totals(logprobs).worst()]
    assert found == sorted(value for value in logprobs if value is not None)[:3]


def test_of_equal_surprises_the_earlier_wins() -> None:
    assert [t.index for t, _ in totals([-1.0] * 5).worst()] == [0, 1, 2]


def test_a_perplexity_beyond_floats_is_undefined() -> None:
    assert totals([-1e6]).perplexity is None
    assert totals([-math.inf]).mean_nll == math.inf


def test_bits() -> None:
    assert bits(-math.log(8)) == pytest.approx(3)
    assert bits(1e-9) == 0
    assert totals([-math.log(2)] * 4).bits_per_byte(2) == pytest.approx(2)
    assert totals([]).bits_per_byte(0) is None


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [("", 0, 0), ("ab", 0, 2), ("ab", 1, 1), ("éa", 1, 2), ("é", 2, 0), ("橋", 1, 2)],
)
def test_unscored_bytes_are_left_out(text: str, count: int, expected: int) -> None:
    encoding = FakeEngine().encode(text)
    unscored = [token(i, None, bytes([b])) for i, b in enumerate(text.encode()[:count])]
    assert scored_bytes(text, encoding.spans, unscored) == expected
