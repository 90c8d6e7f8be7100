"""What edits cost, under a model in which each character has its price."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.edit_cost import EditCosts

TEXTS = st.text("ab c.\n", max_size=30)


def price(text: str, start: int = 0, end: int | None = None) -> float:
    return float(sum(map(ord, text[start:end])))


def followed(texts: list[str]) -> EditCosts:
    """The costs after these texts, one after the other."""
    costs = EditCosts()
    for old, new in pairwise(texts):
        costs.follow(old, new, lambda a, b, old=old: price(old, a, b))
    return costs


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_changes_of_the_parts_sum_to_the_change_of_the_text(texts: list[str]) -> None:
    parts = followed(texts).parts
    text = texts[-1]
    changes = [price(text, p.start, p.end) - (p.before or 0.0) for p in parts]
    assert sum(changes) == pytest.approx(price(text) - price(texts[0]))
    assert all(0 <= p.start <= p.end <= len(text) for p in parts)
    assert all(a.end < b.start for a, b in pairwise(parts))


@given(st.lists(TEXTS, min_size=2, max_size=4))
def test_edits_that_are_undone_cost_nothing(texts: list[str]) -> None:
    parts = followed([*texts, *texts[-2::-1]]).parts
    assert all(price(texts[0], p.start, p.end) == p.before for p in parts)


def test_part_is_the_paragraph_of_the_edit() -> None:
    costs = followed(["one\n\ntwo\n\nthree", "one\n\ntwo!\n\nthree"])
    (part,) = costs.parts
    assert (part.start, part.end, part.before) == (5, 9, price("two"))
    assert costs.at(9) == part
    assert costs.at(3) is None
    assert costs.at(11) is None


def test_unknown_cost_stays_unknown() -> None:
    costs = EditCosts()
    costs.follow("one", "two", lambda _, __: None)
    costs.follow("two", "twos", lambda _, __: 3.0)
    (part,) = costs.parts
    assert part.before is None
    costs = followed(["one", "two"])
    costs.forget_costs()
    assert costs.parts[0].before is None
    costs.clear()
    assert not costs.parts
