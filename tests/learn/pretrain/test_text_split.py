"""What is trained on, and what is held out of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.errors import LmtuiError
from lmtui.learn.course import first_course
from lmtui.learn.pretrain.options import (
    LEAST_BYTES,
    SMALL_BYTES,
    PretrainOptions,
    small_text_remark,
)
from lmtui.learn.pretrain.text_split import SCORED_BYTES, TextSplit
from tests.learn.pretrain import tiny

TEXTS = st.binary(min_size=1, max_size=60).flatmap(
    lambda part: st.integers(LEAST_BYTES, 100_000).map(
        lambda size: (part * (size // len(part) + 1))[:size]
    )
)


@given(TEXTS)
def test_parts_share_no_byte_and_keep_their_order(data: bytes) -> None:
    split = TextSplit.of(data)
    assert data.startswith(split.training + split.held_out)
    assert len(split.training) >= 0.85 * len(data)
    assert min(0.05 * len(data), SCORED_BYTES) <= len(split.held_out) <= SCORED_BYTES


def test_held_out_part_begins_with_a_line_and_whole_characters() -> None:
    assert b"\n".join([b"", TextSplit.of(tiny.text()).held_out]) in tiny.text()
    one_line = "世界".encode() * 2_000
    TextSplit.of(one_line).held_out.decode()


@given(TEXTS)
def test_prompts_are_the_beginning_of_the_held_out_part(data: bytes) -> None:
    split = TextSplit.of(data)
    shorter, longer = split.prompts()
    assert split.held_out.startswith(longer)
    assert longer[:-1] == shorter
    assert shorter.startswith(split.first_words)


def test_first_prompt_ends_before_a_word() -> None:
    split = TextSplit.of((first_course() / "text.txt").read_bytes())
    assert split.prompts()[0] == split.first_words + b" "


@pytest.mark.parametrize("size", [0, 1, LEAST_BYTES - 1])
def test_too_small_a_text_is_refused(size: int) -> None:
    with pytest.raises(LmtuiError, match="too small") as caught:
        TextSplit.of(b"x" * size)
    assert f"{LEAST_BYTES:,}" in caught.value.hint


def test_small_text_is_remarked_on() -> None:
    assert small_text_remark(SMALL_BYTES) == ""
    assert "by heart" in small_text_remark(SMALL_BYTES - 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0.0},
        {"steps": 0},
        {"width": 60, "heads": 7},
        {"context": 1},
        {"lr": 0.0},
        {"prompts": ("",)},
        {"prompts": ("a", "b", "c")},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(LmtuiError, match="can't be used"):
        PretrainOptions(**wrong)  # type: ignore[arg-type]


def test_course_brings_a_text_of_its_own_with_its_licence() -> None:
    data = (first_course() / "text.txt").read_bytes()
    assert len(data) >= 300_000
    assert data.isascii()
    assert data.startswith(b"CHAPTER 1\n\nNo one who had ever seen Catherine Morland ")
    assert b"\n\n\n" not in data
    licence = (first_course() / "LICENSE.txt").read_text()
    for word in ("Jane Austen", "Northanger Abbey", "1817", "public domain"):
        assert word in licence
