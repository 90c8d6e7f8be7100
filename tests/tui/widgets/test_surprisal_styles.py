"""The step of a token of which a server tells only a part."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lmtui.notation import LN2
from lmtui.partial import EntropyRange, RankAbove
from lmtui.tui.widgets.surprisal_styles import level_of
from tests.analysis.scored import token


@pytest.mark.parametrize(("above", "step"), [(None, 0), (1, 1), (20, 3), (1000, 5)])
def test_a_token_that_is_not_listed_has_the_step_of_its_least_rank(
    above: int | None, step: int
) -> None:
    rank = None if above is None else RankAbove(above)
    assert level_of(replace(token(0, -9.0), rank=rank), "rank") == step


@pytest.mark.parametrize(
    ("least", "most", "step"), [(2.0, 2.5, 2), (2.0, 4.5, 3), (2.0, math.inf, 2)]
)
def test_a_range_of_entropy_has_the_step_of_its_middle(
    least: float, most: float, step: int
) -> None:
    shown = replace(token(0, -9.0), entropy=EntropyRange(least * LN2, most * LN2))
    assert level_of(shown, "entropy") == step
    assert level_of(replace(shown, entropy=0.0), "entropy") == 0


@pytest.mark.parametrize(
    ("z", "step"), [(1.5, 0), (0.0, 0), (-0.5, 1), (-1.0, 1), (-3.5, 4), (-9.0, 5)]
)
def test_a_token_that_is_less_typical_has_a_higher_step(z: float, step: int) -> None:
    shown = replace(token(0, 2 * z - 3.0, entropy=3.0), varentropy=4.0)
    assert level_of(shown, "typicality") == step
    assert level_of(replace(shown, varentropy=None), "typicality") == 0
