"""The chi-squared test, beside scipy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare

from lmtui.learn.chi_square import chi_square, survival


@given(st.floats(0, 2000), st.integers(1, 1500))
def test_survival_function_agrees_with_scipy(statistic: float, freedom: int) -> None:
    expected = chi2.sf(statistic, freedom)
    assert survival(statistic, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 80), st.floats(5, 80)), min_size=2))
def test_statistic_agrees_with_scipy(pairs: list[tuple[int, float]]) -> None:
    counts = [count for count, _ in pairs]
    scale = sum(counts) / sum(expected for _, expected in pairs)
    expected = [max(5.0, each * scale) for _, each in pairs]
    found = chi_square(counts, expected)
    assert found is not None
    wanted = chisquare(counts, expected, sum_check=False)
    assert found.freedom == len(pairs) - 1
    assert found.statistic == pytest.approx(wanted.statistic)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-8, abs=1e-12)


def test_small_classes_are_pooled() -> None:
    found = chi_square([50, 40, 4, 3, 3], [52, 38, 4, 3, 3])
    pooled = chisquare([50, 40, 10], [52, 38, 10])
    assert found is not None
    assert (found.freedom, found.statistic) == (2, pytest.approx(pooled.statistic))


def test_pool_that_is_still_small_joins_the_smallest_class() -> None:
    found = chi_square([60, 36, 3, 1], [58, 38, 3, 1])
    joined = chisquare([60, 40], [58, 42])
    assert found is not None
    assert (found.freedom, found.statistic) == (1, pytest.approx(joined.statistic))


def test_one_class_can_not_be_tested() -> None:
    assert chi_square([100, 0], [99.9, 0.1]) is None
    assert chi_square([0, 0], [0.0, 0.0]) is None


def test_no_difference_is_no_surprise() -> None:
    assert survival(0, 3) == 1
