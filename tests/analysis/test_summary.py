"""The arithmetic of a summary."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.analysis.summary import (
    RANKS,
    WITHIN,
    Summary,
    Totals,
    entropy_bin,
    rank_bin,
    scored_size,
    summary_fields,
)
from lmtui.engine.types import ScoredToken
from lmtui.engine.windows import Windows
from lmtui.notation import LN2, bits
from lmtui.partial import EntropyRange, RankAbove
from tests.analysis.scored import places, token
from tests.fakes import FakeEngine

TEXTS = st.lists(places(), max_size=40)
LOGPROBS = st.lists(st.none() | st.floats(-50, 0), max_size=30)


def totals(logprobs: list[float | None], keep: int = 3) -> Totals:
    """The totals over these."""
    result = Totals(limit=keep)
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
def test_worst_lists_the_least_probable_tokens_first(
    logprobs: list[float | None],
) -> None:
    found = [t.logprob for t, _ in totals(logprobs).worst()]
    assert found == sorted(value for value in logprobs if value is not None)[:3]


def test_worst_breaks_ties_by_the_earlier_token() -> None:
    assert [t.index for t, _ in totals([-1.0] * 5).worst()] == [0, 1, 2]


def test_a_perplexity_beyond_floats_is_undefined() -> None:
    assert totals([-1e6]).perplexity is None
    assert totals([-math.inf]).mean_nll == math.inf


def test_bits_per_byte_and_character_follow_from_logprob() -> None:
    assert bits(-math.log(8)) == pytest.approx(3)
    assert bits(1e-9) == 0
    result = totals([-math.log(2)] * 4)
    result.measure("éa", [(0, 1)])
    assert result.bits_per_byte == pytest.approx(4 / 3)
    assert result.bits_per_character == pytest.approx(2)
    assert totals([]).bits_per_byte is None


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("", 0, (0, 0)),
        ("ab", 0, (2, 2)),
        ("ab", 1, (1, 1)),
        ("éa", 1, (1, 2)),
        ("é", 2, (0, 0)),
        ("橋", 1, (0, 2)),
        ("橋a", 0, (2, 4)),
    ],
)
def test_scored_size_leaves_out_unscored_tokens(
    text: str, count: int, expected: tuple[int, int]
) -> None:
    encoding = FakeEngine().encode(text)
    unscored = [token(i, None, bytes([b])) for i, b in enumerate(text.encode()[:count])]
    assert scored_size(text, encoding.spans, unscored) == expected


@given(st.lists(places(), max_size=30))
def test_the_histograms_hold_every_scored_token(tokens: list[ScoredToken]) -> None:
    result = Totals()
    for each in tokens:
        result.add(each)
    ranks = [t.rank for t in tokens if t.rank is not None]
    steps = [sum(r <= k for r in ranks) for k in RANKS]
    assert result.ranks == [
        steps[0],
        *(b - a for a, b in pairwise(steps)),
        len(ranks) - steps[-1],
    ]
    whole_bits = [int(t.entropy / LN2) for t in tokens if t.entropy is not None]
    assert result.entropies[:4] == [whole_bits.count(place) for place in range(4)]
    assert sum(result.entropies) == sum(result.ranks) == result.scored


def test_fields_count_the_tokens_that_a_server_did_not_list() -> None:
    result = totals([-1.0])
    summary = Summary(FakeEngine().info, result, Windows(2, 1), bos=False)
    assert "unlisted" not in summary_fields(summary)
    result.add(replace(token(1, -9.0), rank=RankAbove(500)))
    fields = summary_fields(summary)
    assert (fields["unlisted"], sum(fields["ranks"].values())) == (1, 0)


def test_entropies_of_which_only_ranges_are_known_are_no_zeros() -> None:
    result = totals([None])
    summary = Summary(FakeEngine().info, result, Windows(2, 1), bos=False)
    assert summary_fields(summary)["entropy_bits"] == [0] * 12
    result.add(replace(token(1, -1.0), entropy=EntropyRange(1.0, 2.0)))
    assert summary_fields(summary)["entropy_bits"] is None
    result.add(replace(token(2, -1.0), entropy=0.0))
    assert summary_fields(summary)["entropy_bits"] == [1, *[0] * 11]


@given(LOGPROBS, LOGPROBS)
def test_merged_totals_weight_texts_by_their_tokens(
    one: list[float | None], other: list[float | None]
) -> None:
    merged, whole = totals(one), totals([*one, *other])
    merged.merge(totals(other))
    assert (merged.tokens, merged.scored) == (whole.tokens, whole.scored)
    assert merged.perplexity == pytest.approx(whole.perplexity)
    assert merged.logprob == pytest.approx(whole.logprob)


NUMBERS = st.lists(
    st.tuples(st.floats(-50, 0), st.floats(0, 12), st.floats(0.01, 30)), max_size=30
)


def typical(numbers: list[tuple[float, float, float]]) -> Totals:
    """The totals of tokens with these logprobs, entropies and varentropies."""
    result = Totals()
    for logprob, entropy, varentropy in numbers:
        scored = token(0, logprob, entropy=entropy)
        result.add(replace(scored, varentropy=varentropy))
    return result


def lowest_fifth(values: list[float]) -> float:
    """As in the code of both papers, but that a short text has one token."""
    values.sort()
    count = int(len(values) * 0.2) or 1
    return sum(values[:count]) / count


@given(NUMBERS, NUMBERS)
def test_min_k_is_the_mean_of_the_lowest_fifth(
    one: list[tuple[float, float, float]], other: list[tuple[float, float, float]]
) -> None:
    result = typical(one)
    result.merge(typical(other))
    numbers = [*one, *other]
    if not numbers:
        assert result.min_k is result.min_k_plus_plus is None
        return
    logprobs = [logprob for logprob, _, _ in numbers]
    assert result.min_k == pytest.approx(lowest_fifth(logprobs), rel=1e-5, abs=1e-6)
    scores = [(log + mean) / math.sqrt(square) for log, mean, square in numbers]
    assert result.min_k_plus_plus == pytest.approx(
        lowest_fifth(scores), rel=1e-5, abs=1e-6
    )


def test_min_k_plus_plus_is_not_known_where_no_varentropy_is() -> None:
    assert totals([-1.0]).min_k == -1
    assert totals([-1.0]).min_k_plus_plus is None


@given(st.text(min_size=1, max_size=40), st.integers(0, 3))
def test_surprisal_is_compared_with_the_scored_text_in_zlib(
    text: str, unscored: int
) -> None:
    data = text.encode()
    count = min(unscored, len(data))
    result = Totals()
    for index, byte in enumerate(data):
        result.add(token(index, None if index < count else -1.0, bytes([byte])))
    assert result.bits_per_zlib_bit is None
    spans = FakeEngine().encode(text).spans
    result.measure(text, spans)
    size = 8 * len(zlib.compress(data[count:]))
    if count == len(data):
        assert result.bits_per_zlib_bit is None
    else:
        nats = len(data) - count
        assert result.bits_per_zlib_bit == pytest.approx(nats / LN2 / size)
    merged = Totals()
    for _ in range(2):
        merged.merge(result)
    assert merged.bits_per_zlib_bit == result.bits_per_zlib_bit


def test_rank_bins_include_upper_and_entropy_bins_lower_edges() -> None:
    assert [rank_bin(r) for r in (1, 2, 10, 11, 100, 1000, 1001)] == [
        *(0, 1, 1, 2, 2, 3, 4),
    ]
    bins = [entropy_bin(LN2 * h) for h in (-1e-9, 0, 0.9, 1, 10.5, 11, 40)]
    assert bins == [0, 0, 0, 1, 10, 11, 11]


def added(tokens: list[ScoredToken]) -> Totals:
    """The totals over these tokens."""
    result = Totals()
    for each in tokens:
        result.add(each)
    return result


@given(TEXTS)
def test_accuracy_is_the_share_of_tokens_within_a_rank(
    tokens: list[ScoredToken],
) -> None:
    result = added(tokens)
    ranks = [t.rank for t in tokens if t.rank is not None]
    for k in WITHIN:
        share = sum(r <= k for r in ranks) / len(ranks) if ranks else None
        assert result.accuracy(k) == pytest.approx(share)


def test_a_token_that_is_not_listed_is_a_miss_as_far_as_the_list_goes() -> None:
    first, beyond = token(0, -0.1, rank=1), token(1, -9.0)
    result = added([first, replace(beyond, rank=RankAbove(5)), beyond])
    assert [result.accuracy(k) for k in WITHIN] == [0.5, 0.5, None]


@given(TEXTS, TEXTS)
def test_merged_accuracy_equals_that_of_joined_texts(
    one: list[ScoredToken], other: list[ScoredToken]
) -> None:
    merged, unlisted = added(one), replace(token(0, -9.0), rank=RankAbove(5))
    merged.merge(added([*other, unlisted]))
    whole = added([*one, *other, unlisted])
    for k in WITHIN:
        assert merged.accuracy(k) == whole.accuracy(k)
