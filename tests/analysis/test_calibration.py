"""Calibration against its definitions, written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.analysis.calibration import BINS, RANKS, ROWS, Bin, Calibration, bin_of
from lmtui.engine.types import ScoredToken
from lmtui.partial import RankAbove
from tests.analysis.scored import places, row, token

TEXTS = st.lists(places(), max_size=40)
Prediction = tuple[float, bool]


def calibration(tokens: Sequence[ScoredToken]) -> Calibration:
    """The counts over these."""
    result = Calibration()
    for each in tokens:
        result.add(each)
    return result


def naive_bins(predictions: Sequence[Prediction]) -> list[Bin]:
    """Each bin from the predictions that belong there."""
    bins = []
    for place in range(BINS):
        low, high = place / BINS, (place + 1) / BINS
        inside = [p for p in predictions if low < p[0] <= high or (p[0] == low == 0)]
        count = len(inside)
        mean = sum(prob for prob, _ in inside) / count if count else None
        rate = sum(hit for _, hit in inside) / count if count else None
        bins.append(Bin(low, high, count, mean, rate))
    return bins


def nearly(found: Sequence[Bin], expected: Sequence[Bin]) -> None:
    """Assert that these are the same but for rounding."""
    for one, other in zip(found, expected, strict=True):
        assert (one.low, one.high, one.count) == (other.low, other.high, other.count)
        assert one.mean_prob == pytest.approx(other.mean_prob)
        assert one.hit_rate == pytest.approx(other.hit_rate)


def rounded(tokens: list[ScoredToken]) -> list[ScoredToken]:
    """The tokens without those so near a bin's edge that rounding decides."""

    def clear(each: ScoredToken) -> bool:
        scaled = [prob.prob * BINS for prob in each.top]
        return all(abs(p - round(p)) > 1e-9 or p < 1e-12 for p in scaled)

    return [each for each in tokens if clear(each)]


@given(TEXTS)
def test_confidence_bins_top_candidate_against_actual_token(
    tokens: list[ScoredToken],
) -> None:
    tokens = rounded(tokens)
    told = [(t.top[0].prob, t.top[0].id == t.id) for t in tokens if t.top]
    result = calibration(tokens)
    nearly(result.confidence, naive_bins(told))
    if not told:
        assert result.expected_error is None
        return
    parts = [b for b in naive_bins(told) if b.mean_prob is not None]
    error = sum(b.count * abs((b.mean_prob or 0) - (b.hit_rate or 0)) for b in parts)
    assert result.expected_error == pytest.approx(error / len(told))


@given(TEXTS)
def test_claims_from_few_rows_equal_those_of_whole_vocabulary(
    tokens: list[ScoredToken],
) -> None:
    tokens = rounded(tokens)
    told = [(r.prob, r.id == t.id) for t in tokens for r in t.top]
    short = [replace(t, top=t.top[:ROWS]) for t in tokens]
    nearly(calibration(short).claims, naive_bins(told)[1:])


@given(TEXTS)
def test_accuracy_is_the_share_of_tokens_within_a_rank(
    tokens: list[ScoredToken],
) -> None:
    result = calibration(tokens)
    ranks = [t.rank for t in tokens if t.rank is not None]
    for k in RANKS:
        share = sum(r <= k for r in ranks) / len(ranks) if ranks else None
        assert result.accuracy(k) == pytest.approx(share)


def test_a_token_that_is_not_listed_is_a_miss_as_far_as_the_list_goes() -> None:
    first = token(0, -0.1, rank=1, top=[row(3, 0.9)], id=3)
    beyond = token(1, -9.0, top=[row(3, 0.9)], id=4)
    result = calibration([first, replace(beyond, rank=RankAbove(5)), beyond])
    assert [result.accuracy(k) for k in RANKS] == [0.5, 0.5, None]
    assert result.ranked == result.confidence[8].count == 2


@given(TEXTS, TEXTS)
def test_merged_calibration_equals_that_of_joined_texts(
    one: list[ScoredToken], other: list[ScoredToken]
) -> None:
    merged, whole = calibration(one), calibration([*one, *other])
    merged.merge(calibration(other))
    nearly(merged.confidence, whole.confidence)
    nearly(merged.claims, whole.claims)
    assert merged.accuracy(5) == whole.accuracy(5)
    assert merged.expected_error == pytest.approx(whole.expected_error)


def test_expected_error_of_a_certain_model_is_0_if_right_1_if_wrong() -> None:
    sure = token(0, 0.0, rank=1, top=[row(3, 1.0)], id=3)
    assert calibration([sure] * 5).expected_error == 0
    wrong = replace(sure, id=4, rank=2)
    assert calibration([wrong] * 5).expected_error == 1


def test_calibration_without_rows_has_accuracy_but_no_error() -> None:
    result = calibration([token(0, -1.0, rank=2)])
    assert (result.accuracy(1), result.accuracy(5)) == (0, 1)
    assert result.expected_error is None


@pytest.mark.parametrize(
    ("prob", "place"), [(0, 0), (0.1, 0), (0.11, 1), (0.2, 1), (0.99, 9), (1, 9)]
)
def test_a_bin_holds_its_upper_edge(prob: float, place: int) -> None:
    assert bin_of(prob) == place
