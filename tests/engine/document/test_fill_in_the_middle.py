"""Fill-in-the-middle is found in a vocabulary, and its prompts keep both sides."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from lmtui.engine.document.fill_in_the_middle import Infill, split_room
from tests.byte_level import trained

ORDERS = {
    "qwen": ["<|fim_prefix|>", "B", "<|fim_suffix|>", "A", "<|fim_middle|>"],
    "starcoder": ["<fim_prefix>", "B", "<fim_suffix>", "A", "<fim_middle>"],
    "santacoder": ["<fim-prefix>", "B", "<fim-suffix>", "A", "<fim-middle>"],
    "codellama": ["▁<PRE>", "B", "▁<SUF>", "A", "▁<MID>"],
    "deepseek": ["<｜fim▁begin｜>", "B", "<｜fim▁hole｜>", "A", "<｜fim▁end｜>"],
    "codestral": ["[SUFFIX]", "A", "[PREFIX]", "B"],
}
ENDS = {
    "qwen": ["<|endoftext|>", "<|fim_pad|>", "<|file_sep|>"],
    "starcoder": ["<|endoftext|>", "<file_sep>"],
    "santacoder": ["<|endoftext|>", "<fim-pad>"],
    "codellama": ["▁<EOT>"],
    "deepseek": ["<｜end▁of▁sentence｜>"],
    "codestral": ["[MIDDLE]"],
}


@cache
def tokenizer(family: str) -> PreTrainedTokenizerFast:
    """The small tokenizer, with the control tokens of a family."""
    fast = PreTrainedTokenizerFast(tokenizer_object=trained(["a b"], size=260))
    controls = [token for token in ORDERS[family] if len(token) > 1]
    names = dict.fromkeys([*controls, *ENDS[family]])
    fast.add_tokens([AddedToken(t, special=True, normalized=False) for t in names])
    return fast


def infill(family: str, bos: tuple[int, ...] = ()) -> Infill:
    found = Infill.of(tokenizer(family), bos=bos)
    assert found
    return found


@pytest.mark.parametrize("family", ORDERS)
def test_infill_follows_the_control_tokens_and_order_of_its_family(family: str) -> None:
    ids = infill(family).ids([60, 61], [70, 71, 72], room=100)
    sides = {"B": [60, 61], "A": [70, 71, 72]}
    vocabulary = tokenizer(family).get_vocab()
    expected = [i for t in ORDERS[family] for i in sides.get(t) or [vocabulary[t]]]
    assert list(ids) == expected


@pytest.mark.parametrize("family", ORDERS)
def test_infill_ends_at_end_tokens_and_control_tokens(family: str) -> None:
    vocabulary = tokenizer(family).get_vocab()
    names = [*ENDS[family], *(t for t in ORDERS[family] if len(t) > 1)]
    assert infill(family).end_ids == {vocabulary[name] for name in names}


def test_vocabulary_without_all_control_tokens_has_no_infill() -> None:
    fast = PreTrainedTokenizerFast(tokenizer_object=trained(["a b"], size=260))
    assert Infill.of(fast) is None
    fast.add_tokens(["<fim_prefix>", "<fim_suffix>"])
    assert Infill.of(fast) is None


@given(
    family=st.sampled_from(sorted(ORDERS)),
    before=st.integers(0, 3000),
    after=st.integers(0, 3000),
    room=st.integers(8, 2048),
)
def test_infill_keeps_both_sides_of_the_cursor_within_its_room(
    family: str, before: int, after: int, room: int
) -> None:
    left, right = (
        list(range(10_000, 10_000 + before)),
        list(range(20_000, 20_000 + after)),
    )
    ids = infill(family, bos=(1,)).ids(left, right, room=room)
    kept = [i for i in ids if 10_000 <= i < 20_000]
    following = [i for i in ids if i >= 20_000]
    controls = len(ids) - len(kept) - len(following)
    assert len(ids) <= room and ids[0] == 1
    assert kept == left[before - len(kept) :]
    assert following == right[: len(following)]
    if before + after + controls <= room:
        assert (len(kept), len(following)) == (before, after)
    else:
        assert bool(kept) == bool(before)
        assert len(kept) >= min(before, (room - controls) // 2)
        assert len(following) >= min(after, (room - controls) // 4)


def test_split_room_keeps_its_start_while_typing() -> None:
    starts = {length - split_room(length, 900, 2000)[0] for length in range(2100, 2300)}
    assert len(starts) <= 2
    assert split_room(5, 10_000, 100) == (5, 95)
    assert split_room(10_000, 5, 100)[1] == 5
