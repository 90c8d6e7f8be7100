"""Memory taken in advance changes nothing of what is held, nor a bit of a logit."""

from __future__ import annotations

import copy
import gc
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.cache_utils import DynamicLayer

from lmtui.cancellation import cancelled_when
from lmtui.engine.backends.transformers import (
    PreallocatedLayer,
    TransformersBackend,
)
from lmtui.errors import Cancelled
from tests.engine import tiny

VERBS = ("add", "add", "crop", "keep", "fork")
Pair = tuple[torch.Tensor, torch.Tensor]


def states(tokens: int, rows: int = 1) -> Pair:
    """Keys [n, 2, t, 4] and values [n, 2, t, 6]."""
    return torch.randn(rows, 2, tokens, 4), torch.randn(rows, 2, tokens, 6)


def assert_same(layer: PreallocatedLayer, other: DynamicLayer) -> None:
    assert layer.get_seq_length() == other.get_seq_length()
    assert torch.equal(layer.keys, other.keys)
    assert torch.equal(layer.values, other.values)


@given(data=st.data())
@settings(deadline=None)
def test_preallocated_layer_equals_dynamic_layer(data: st.DataObject) -> None:
    ours, theirs = PreallocatedLayer(3), DynamicLayer()
    rows = 1
    for verb in data.draw(st.lists(st.sampled_from(VERBS), max_size=12)):
        if verb == "add":
            new = states(data.draw(st.integers(1, 9)), rows)
            for mine, wanted in zip(
                ours.update(*new), theirs.update(*new), strict=True
            ):
                assert torch.equal(mine, wanted)
        elif not ours.get_seq_length():
            continue
        elif verb == "crop":
            less = data.draw(st.integers(0, ours.get_seq_length()))
            for layer in (ours, theirs):
                layer.crop(-less)
        elif verb == "keep":
            kept = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=3))
            rows = len(kept)
            for layer in (ours, theirs):
                layer.reorder_cache(torch.tensor(kept))
        elif rows == 1:
            rows, length = 2, data.draw(st.integers(0, ours.get_seq_length()))
            ours = ours.fork(rows, length)
            theirs.keys = theirs.keys[:, :, :length].repeat(rows, 1, 1, 1)
            theirs.values = theirs.values[:, :, :length].repeat(rows, 1, 1, 1)
        if ours.get_seq_length():
            assert_same(ours, theirs)


def test_preallocated_layer_moves_only_when_it_grows() -> None:
    layer, places = PreallocatedLayer(4), []
    for _ in range(400):
        keys, values = layer.update(*states(1))
        places.append((keys.data_ptr(), values.data_ptr()))
    moved = sum(a != b for a, b in pairwise(places))
    assert moved <= 7  # room for 5, 13, 29, … tokens


def test_a_fork_takes_no_memory_until_it_is_written_to() -> None:
    layer, first = PreallocatedLayer(8), states(5)
    layer.update(*first)
    forked = layer.fork(3, 4)
    assert forked.keys.data_ptr() == layer.keys.data_ptr()
    assert forked.keys.shape == (3, 2, 4, 4)
    new = states(2, rows=3)
    forked.update(*new)
    assert forked.keys.data_ptr() != layer.keys.data_ptr()
    assert torch.equal(layer.keys, first[0])
    assert torch.equal(forked.keys[1], torch.cat([first[0][0, :, :4], new[0][1]], 1))
    assert torch.equal(layer.fork(2, None).values[1], first[1][0])


def test_unwritten_fork_survives_updates_of_its_layer() -> None:
    layer, first = PreallocatedLayer(8), states(5)
    layer.update(*first)
    forked = layer.fork(2, 5)
    for _ in range(20):  # into the same memory, then into more
        layer.update(*states(1))
    assert torch.equal(forked.keys, first[0].expand(2, -1, -1, -1))


def test_row_bytes_count_the_memory_of_a_forked_row() -> None:
    layer = PreallocatedLayer(8)
    assert layer.row_bytes == layer.fork(2, None).row_bytes == 0
    layer.update(*states(5))
    forked = layer.fork(3, None)
    assert forked.row_bytes == layer.row_bytes
    forked.update(*states(1, rows=3))
    assert forked.allocated is not None
    taken = sum(part.untyped_storage().nbytes() for part in forked.allocated)
    assert taken == 3 * layer.row_bytes


def test_backends_of_a_model_share_what_stops_a_pass() -> None:
    model = copy.deepcopy(tiny.model())  # that one has the backends of other tests

    def hooks() -> int:
        return sum(len(module._forward_pre_hooks) for module in model.modules())

    for _ in range(3):
        backend = TransformersBackend(model)
        backend.logits([1, 2, 3])
        assert hooks() == model.config.num_hidden_layers
    with cancelled_when(lambda: True), pytest.raises(Cancelled):
        backend.logits([1, 2, 3])
    del backend
    gc.collect()  # which may be at any time, also while the hooks are gone through
    assert hooks() == model.config.num_hidden_layers
