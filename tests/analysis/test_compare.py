"""Two models on one text, compared where that makes sense."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.analysis.compare import (
    NOTICEABLE,
    ComparedSpan,
    Comparison,
    PlacedToken,
    Unit,
    alone,
    pieces,
    unit_of,
)
from lmtui.engine.types import Encoding
from tests.analysis.scored import token

LENGTH = 30
CUTS = st.sets(st.integers(1, LENGTH - 1), max_size=12)
LN2 = math.log(2)


def cut(places: set[int], step: float = 1.0) -> list[PlacedToken]:
    """A text of LENGTH characters cut at these, each token less probable."""
    edges = [0, *sorted(places), LENGTH]
    return [
        (token(index, -step * (index + 1)), span)
        for index, span in enumerate(pairwise(edges))
    ]


def tokens_of(sides: Sequence[tuple[PlacedToken, ...]]) -> list[PlacedToken]:
    """All tokens of one side, in order."""
    return [token for side in sides for token in side]


@given(CUTS, CUTS)
def test_pieces_split_the_text_at_every_common_token_edge(
    one: set[int], two: set[int]
) -> None:
    ours, theirs = cut(one), cut(two, step=0.3)
    found = list(pieces(ours, theirs, "span"))
    edges = [0, *sorted(one & two), LENGTH]
    assert [piece.span for piece in found] == list(pairwise(edges))
    assert tokens_of([piece.tokens for piece in found]) == ours
    assert tokens_of([piece.others for piece in found]) == theirs


@given(CUTS, CUTS)
def test_comparison_sums_equal_those_of_all_tokens(
    one: set[int], two: set[int]
) -> None:
    ours, theirs = cut(one), cut(two, step=0.3)
    comparison = Comparison("span")
    found = list(pieces(ours, theirs, "span"))
    for piece in found:
        comparison.add(piece)
    whole = math.fsum(t.logprob or 0 for t, _ in ours)
    other = math.fsum(t.logprob or 0 for t, _ in theirs)
    assert comparison.logprob == pytest.approx(whole)
    assert comparison.bits == pytest.approx((other - whole) / LN2)


SHARED = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=10
)


@given(SHARED, SHARED)
def test_pieces_never_split_the_bytes_of_one_character(
    one: list[tuple[int, int]], two: list[tuple[int, int]]
) -> None:
    """Tokens that are bytes have the span of their character, each of them."""

    def side(parts: list[tuple[int, int]]) -> list[PlacedToken]:
        ends = list(accumulate(width for width, _ in parts))
        starts = [0, *ends[:-1]]
        spans = zip(starts, ends, (count for _, count in parts), strict=True)
        repeated = [(a, b) for a, b, count in spans for _ in range(count)]
        return [(token(i, -1.0), span) for i, span in enumerate(repeated)]

    ours, theirs = side(one), side(two)
    found = list(pieces(ours, theirs, "span"))
    assert tokens_of([piece.tokens for piece in found]) == ours
    assert tokens_of([piece.others for piece in found]) == theirs
    for before, after in pairwise(found):
        assert before.span[1] <= after.span[0]


def test_empty_span_of_one_model_joins_the_next_piece() -> None:
    ours = [(token(0, -1.0), (0, 0)), (token(1, -1.0), (0, 3))]
    theirs = [(token(0, -1.0), (0, 3))]
    (piece,) = pieces(ours, theirs, "span")
    assert (piece.span, piece.bits) == ((0, 3), pytest.approx(1 / LN2))
    (only,) = pieces(ours[:1], [], "span")
    assert (only.others, only.bits) == ((), None)


def test_identical_tokens_are_compared_one_by_one() -> None:
    ours = [(token(0, None), (0, 1)), (token(1, -2 * LN2), (0, 1))]
    theirs = [(token(0, -1.0), (0, 1)), (token(1, -LN2), (0, 1))]
    first, second = pieces(ours, theirs, "token")
    assert first.bits is None
    assert second.bits == pytest.approx(1)
    comparison = Comparison("token")
    for piece in (first, second):
        comparison.add(piece)
    assert (comparison.compared, comparison.more, comparison.less) == (1, 1, 0)
    assert comparison.bits == pytest.approx(NOTICEABLE)
    assert Comparison("token").bits is None


def test_model_compared_with_itself_differs_by_zero_bits() -> None:
    comparison = Comparison("token")
    for piece in pieces(cut({3, 5}), cut({3, 5}), "token"):
        comparison.add(piece)
    assert comparison.bits == 0


def test_span_impossible_to_both_models_has_no_bits() -> None:
    never = ((token(0, -math.inf), (0, 1)),)
    assert ComparedSpan(never, never).bits is None
    assert ComparedSpan(never, ((token(0, -1.0), (0, 1)),)).bits == math.inf


def test_merged_comparison_adds_counts_and_logprobs() -> None:
    whole, part = Comparison("token"), Comparison("span")
    for piece in pieces(cut({4}), cut({4}, step=2.0), "token"):
        whole.add(piece)
        part.add(piece)
    whole.merge(part)
    assert whole.unit == "span"
    assert (whole.compared, whole.less) == (4, 4)
    assert whole.logprob == 2 * part.logprob
    assert whole.other_logprob == 2 * part.other_logprob


@pytest.mark.parametrize(
    ("ids", "spans", "unit"),
    [((1, 2), ((0, 1), (1, 2)), "token"), ((1, 3), ((0, 1), (1, 2)), "span")],
)
def test_unit_is_token_only_if_the_ids_match(
    ids: tuple[int, ...], spans: tuple[tuple[int, int], ...], unit: Unit
) -> None:
    one = Encoding((1, 2), ((0, 1), (1, 2)), ())
    assert unit_of(one, Encoding(ids, spans, (0,))) == unit


def test_single_model_yields_one_piece_per_token() -> None:
    ours = cut({2, 9})
    found = list(alone(ours))
    assert tokens_of([piece.tokens for piece in found]) == ours
    assert {piece.other_logprob for piece in found} == {None}


@given(CUTS, CUTS, st.integers(0, 2), st.integers(0, 2))
def test_totals_of_the_common_text_leave_out_what_one_model_lacks(
    one: set[int], two: set[int], unscored: int, others_unscored: int
) -> None:
    text = ("aé橋" * LENGTH)[:LENGTH]
    sides = []
    for places, first in ((one, unscored), (two, others_unscored)):
        tokens = cut(places)
        sides.append(
            [
                (replace(each, logprob=None) if index < first else each, span)
                for index, (each, span) in enumerate(tokens)
            ]
        )
    comparison = Comparison("span")
    found = list(pieces(*sides, "span"))
    for piece in found:
        comparison.add(piece)
    comparison.measure(text)
    kept = [each for each in found if each.bits is not None]
    common = "".join(text[slice(*each.span)] for each in kept)
    own, other = comparison.sums()
    ours, theirs = sides
    for sums, tokens in (
        (own, tokens_of([each.tokens for each in kept])),
        (other, tokens_of([each.others for each in kept])),
    ):
        assert sums.logprob == pytest.approx(
            math.fsum(token.logprob or 0.0 for token, _ in tokens)
        )
        assert sums.scored == len(tokens)
        assert sums.tokens == len(ours if sums is own else theirs)
        assert (sums.characters, sums.bytes) == (len(common), len(common.encode()))
    scored = [sum(token.logprob is not None for token, _ in tokens) for tokens in sides]
    assert comparison.is_partial == (scored != [own.scored, other.scored])
