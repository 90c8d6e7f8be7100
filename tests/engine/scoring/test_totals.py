"""The arithmetic of sums."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.scoring.totals import (
    Sums,
    bits_per,
    mean_nll,
    perplexity,
    typicality,
)
from lmtui.partial import EntropyRange
from tests.analysis.scored import token

LOGPROBS = st.lists(st.floats(-50, 0), min_size=1, max_size=30)


def sums_of(logprobs: list[float], *, characters: int, size: int) -> Sums:
    """The sums of so many tokens, all scored."""
    count = len(logprobs)
    return Sums("text", math.fsum(logprobs), count, count, characters, size)


@given(LOGPROBS, st.integers(1, 99), st.integers(1, 99))
def test_measures_follow_from_the_sum_of_logprobs(
    logprobs: list[float], characters: int, more: int
) -> None:
    sums = sums_of(logprobs, characters=characters, size=characters + more)
    mean = -sum(logprobs) / len(logprobs)
    assert sums.mean_nll == pytest.approx(mean)
    assert sums.perplexity == pytest.approx(math.exp(mean))
    whole = sums.bits_per_byte, sums.bits_per_character
    assert None not in whole
    per_byte, per_character = whole
    total = -sum(logprobs) / math.log(2)
    assert per_byte * sums.bytes == pytest.approx(total)
    assert per_character * sums.characters == pytest.approx(total)


def test_sums_without_a_scored_token_have_no_measures() -> None:
    sums = Sums("text", 0.0, 0, 12, 0, 0)
    measures = (sums.known, sums.mean_nll, sums.perplexity)
    assert measures == (None, None, None)
    assert sums.bits_per_character is sums.bits_per_byte is None


def test_undefined_measures_are_none() -> None:
    assert mean_nll(-1.0, 0) is None
    assert perplexity(None) is None
    assert perplexity(1e4) is None
    assert bits_per(-1.0, 0) is None
    assert bits_per(None, 3) is None


@given(
    logprob=st.floats(-30, 0),
    entropy=st.floats(0, 12),
    varentropy=st.floats(1e-6, 30),
)
def test_typicality_is_the_distance_from_the_mean_in_standard_deviations(
    logprob: float, entropy: float, varentropy: float
) -> None:
    told = replace(token(0, logprob, entropy=entropy), varentropy=varentropy)
    z = (logprob - -entropy) / varentropy**0.5
    assert typicality(told) == pytest.approx(z)
    for unknown in (
        replace(told, varentropy=None),
        replace(told, varentropy=0.0),
        replace(told, logprob=None),
        replace(told, entropy=EntropyRange(0.5, 1.0)),
    ):
        assert typicality(unknown) is None
