"""Tokens as columns, as bytes, and back."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lmtui.chat.message import NO_VALUE, ChatMessage
from lmtui.chat.records import node_of, row_of
from lmtui.engine.types import Prompt, ScoredToken, Step
from lmtui.partial import EntropyRange, RankAbove
from lmtui.text import bytes_text
from tests.chat.test_message import answer

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)
WORDS = st.lists(st.text(min_size=1, max_size=4), max_size=6)


def kept(number: float) -> float:
    return float(f"{number:.9g}")


def again(node: ChatMessage) -> ChatMessage:
    """A message that was stored."""
    return node_of(row_of(node)).opened()


def stored(steps: Iterable[Step], text: str) -> tuple[Step, ...]:
    node = ChatMessage(2, 1, "assistant", text, prompt=Prompt((), ""))
    return again(replace(node, steps=tuple(steps))).steps


def stored_scores(tokens: Iterable[ScoredToken]) -> tuple[ScoredToken, ...]:
    return again(ChatMessage(1, 0, "user", "", scored=tuple(tokens))).scored


@given(WORDS, TEXTS, st.sampled_from(["none", "some", "all"]))
def test_packed_steps_unpack_to_the_same_tokens(
    words: list[str], before: str, forced: str
) -> None:
    _, made, _ = answer(*words)
    steps = [
        replace(step, forced=forced == "all" or (forced == "some" and step.index == 1))
        for step in made
    ]
    text = before + "".join(step.piece for step in steps)
    found = stored(steps, text)
    for step, again in zip(steps, found, strict=True):
        assert again.distribution.handle == NO_VALUE
        assert again == replace(
            step,
            logprob=kept(step.logprob),
            entropy=kept(step.entropy),
            sampled_prob=kept(step.sampled_prob),
            distribution=again.distribution,
        )
        assert again.varentropy == kept(step.varentropy)


def test_unpacked_steps_keep_a_character_of_several_tokens_split() -> None:
    _, steps, _ = answer(b"\xe3", b"\x81", b"\x82", "b")
    found = stored(steps, "あb")
    assert [step.piece for step in found] == ["", "", "あ", "b", ""]
    assert found[0].text == "⟨E3⟩"


NUMBERS = st.none() | st.floats(-100, 0).map(kept)
SCORED = st.builds(
    lambda id_, data, logprob, rank, varentropy: ScoredToken(
        0, id_, bytes_text(data) if data else f"⟨unused {id_}⟩", data, logprob, rank,
        None if logprob is None else -logprob, varentropy=varentropy,
    ),
    st.integers(0, 2**32 - 1), st.binary(max_size=5), NUMBERS,
    st.none() | st.integers(1, 300_000), st.none() | st.floats(0, 100).map(kept),
)  # fmt: skip


@given(st.lists(SCORED, min_size=1, max_size=9))
def test_packed_scored_tokens_unpack_unchanged(tokens: list[ScoredToken]) -> None:
    numbered = tuple(replace(token, index=i) for i, token in enumerate(tokens))
    assert stored_scores(numbered) == numbered


ABOVE = st.none() | st.builds(RankAbove, st.integers(1, 5000))
RANGES = st.none() | st.builds(
    EntropyRange,
    st.floats(0, 4).map(kept),
    st.just(math.inf) | st.floats(4, 20).map(kept),
)


@given(st.lists(st.tuples(SCORED, ABOVE, RANGES), min_size=1, max_size=5))
def test_bounds_of_rank_and_entropy_survive_packing(rows: list[Any]) -> None:
    tokens = tuple(
        replace(token, index=i, rank=above, entropy=entropies)
        for i, (token, above, entropies) in enumerate(rows)
    )
    assert stored_scores(tokens) == tokens


def test_packed_step_keeps_that_it_was_not_listed() -> None:
    _, (step, *_), _ = answer("a")
    shown = replace(
        step.distribution, top_logprobs=500, entropy=EntropyRange(0.5, math.inf)
    )
    beyond = replace(
        step, rank=RankAbove(500), entropy=shown.entropy, distribution=shown
    )
    plain = replace(step, rank=None, entropy=None)
    (again,) = stored([beyond], "a")
    assert again.rank == RankAbove(500)
    assert again.entropy == (0.5, math.inf)
    assert stored([plain], "a")[0].rank is None


@given(st.lists(st.integers(0, 2**32 - 1)), TEXTS, st.lists(TEXTS, max_size=2))
def test_packed_prompts_unpack_unchanged(
    ids: list[int], text: str, ends: list[str]
) -> None:
    prompt = Prompt(tuple(ids), text, tuple(ends))
    assert again(ChatMessage(2, 1, "assistant", "", prompt=prompt)).prompt == prompt


@given(st.binary(max_size=60))
def test_message_with_damaged_tokens_keeps_its_text(data: bytes) -> None:
    for packed in (data, zlib.compress(data), zlib.compress(b'{"steps":' + data)):
        node = ChatMessage(2, 1, "assistant", "a b", packed=packed)
        assert node.opened() == ChatMessage(2, 1, "assistant", "a b")


def test_infinite_and_unknown_numbers_survive_packing() -> None:
    _, steps, _ = answer("a")
    unknown: dict[str, Any] = {"entropy": None, "rank": None, "sampled_prob": None}
    odd = replace(steps[0], logprob=-math.inf, **unknown)
    (again,) = stored([odd], "a")
    assert again.logprob == -math.inf
    assert {name: getattr(again, name) for name in unknown} == unknown


def test_packed_token_takes_under_36_bytes() -> None:
    _, steps, _ = answer(*(f" word{i % 50}" for i in range(200)))
    node = ChatMessage(2, 1, "assistant", "", steps=steps, prompt=Prompt((), ""))
    assert len(row_of(node)["tokens"]) / len(steps) < 36
