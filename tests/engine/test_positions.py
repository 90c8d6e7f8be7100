"""Handles of looked-at positions: no two engines ever give out the same one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lmtui.engine.positions import Context, Positions


def recomputed(context: Context) -> Tensor:
    """Nothing is made again here."""
    raise AssertionError(context)


def test_a_handle_of_another_engine_names_nothing() -> None:
    context = Context((1, 2), 2)
    first, second = Positions(recomputed), Positions(recomputed)
    handles = [
        engine.add(torch.zeros(4), context).handle
        for engine in (first, second, first, second)
    ]
    assert len(set(handles)) == 4
    assert first.get(handles[0]).handle == handles[0]
    for engine, foreign in ((first, handles[1]), (second, handles[2])):
        with pytest.raises(KeyError):
            engine.get(foreign)
