"""No banned phrase is written: the answer goes back, within its budget."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.engine import LocalEngine
from lmtui.engine.generation import phrases
from lmtui.engine.generation.phrases import MOST_RETURNS, PhraseGuard
from lmtui.engine.rows import RowRequest, steps_of
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from tests.engine import tiny
from tests.engine.generation.test_prompt_lookup import assert_same, without_guesses

TEXT = "the cat sat on the mat and the dog sat on the log\nthe cat sat on the mat and"


def settings(*banned: str, **changes: Any) -> SamplingSettings:
    values: dict[str, Any] = {"temperature": 0.8, "seed": 1, "max_tokens": 40}
    return SamplingSettings(banned_phrases=banned, **(values | changes))


def answered(
    engine: LocalEngine, wanted: SamplingSettings, **how: Any
) -> tuple[list[Step], GenerationResult, str]:
    prompt = Prompt(engine.encode(TEXT).ids, TEXT)
    *steps, finish = engine.generate(prompt, wanted, **how)
    assert isinstance(finish, GenerationResult)
    drawn: list[Step] = steps  # type: ignore[assignment]
    return drawn, finish, "".join(step.piece for step in drawn) + finish.piece


def bytes_of(steps: list[Step]) -> bytes:
    return b"".join(step.bytes for step in steps)


def parts_of(text: str, count: int = 4) -> list[str]:
    """Parts of a text that its answer is forbidden to have; none with bytes that are no
    character."""
    sizes = itertools.cycle((2, 4, 3, 6))
    found: list[str] = []
    for run in re.findall("[^\ufffd]{2,}", text):
        found += [run[at : at + next(sizes)] for at in range(0, len(run) - 1, 5)]
    return found[1 : count + 1]


@pytest.mark.parametrize(("family", "temperature"), [("llama", 0.0), ("gemma3", 0.8)])
def test_no_answer_has_a_banned_phrase(family: str, temperature: float) -> None:
    engine, returns = tiny.engine(family), 0
    for seed in range(4):
        _, _, free = answered(engine, settings(temperature=temperature, seed=seed))
        banned = parts_of(free)
        wanted = settings(*banned, temperature=temperature, seed=seed)
        steps, finish, _ = answered(engine, wanted)
        returns += len(finish.taken_back)
        data = bytes_of(steps)
        there = [each for each in banned if each.encode() in data]
        assert not there or finish.notice
        assert not finish.notice or len(finish.taken_back) > 4
        assert [step.index for step in steps] == list(range(len(steps)))
        assert finish.tokens == len(steps)
        total = math.fsum(step.logprob or 0 for step in steps)
        assert finish.logprob == pytest.approx(total)
    assert returns


def test_what_was_taken_back_is_told() -> None:
    engine = tiny.engine()
    plain, _, free = answered(engine, settings())
    phrase = parts_of(free)[1]
    steps, finish, _ = answered(engine, settings(phrase))
    first = finish.taken_back[0]
    assert first.phrase == phrase
    assert phrase.encode() in bytes_of([*first.steps])
    # Up to where it went back first, the answer is the same.
    assert [s.id for s in plain[: first.index]] == [s.id for s in steps[: first.index]]
    assert [s.id for s in first.steps] == [
        s.id for s in plain[first.index : first.index + len(first.steps)]
    ]
    # The token that began the phrase is masked there.
    there = steps[first.index]
    assert there.id != first.steps[0].id
    rows = {row.id: row for row in there.distribution.candidates}
    assert rows[first.steps[0].id].cut == "b"


def test_guesses_change_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for seed in range(3):
        _, _, free = answered(tiny.engine(), settings(seed=seed))
        asked.append(settings(*parts_of(free), seed=seed))
    guessed = [answered(tiny.engine(), each) for each in asked]
    without_guesses(monkeypatch)
    for each, (steps, finish, _) in zip(asked, guessed, strict=True):
        plain, ended, _ = answered(tiny.engine(), each)
        assert_same(steps, plain)
        assert finish.reason is ended.reason
        assert len(finish.taken_back) == len(ended.taken_back)


def test_after_a_return_the_cache_holds_what_stayed() -> None:
    engine = tiny.engine()
    _, _, free = answered(engine, settings())
    steps, finish, _ = answered(engine, settings(*parts_of(free)))
    assert finish.taken_back
    ids = [step.id for step in steps]
    scored = list(engine.score(ids, prefix=engine.encode(TEXT).ids))
    for step, token in zip(steps, scored, strict=True):
        assert step.logprob == pytest.approx(token.logprob, abs=1e-4)
    prompt = engine.encode(TEXT).ids
    held = engine.cache.ids
    assert held == [*prompt, *ids][: len(held)]


def test_a_budget_ends_the_returns_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(phrases, "MOST_RETURNS", 3)
    letters = "etaoinshrdlu "
    _, finish, said = answered(tiny.engine(), settings(*letters, max_tokens=60))
    assert finish.reason is FinishReason.LENGTH
    assert len(finish.taken_back) == 3
    assert "stays: the answer went back 3 times" in finish.notice
    assert any(letter in said for letter in letters)


def test_bans_of_everything_end() -> None:
    every = tuple(chr(code) for code in range(32, 127))
    _, finish, _ = answered(tiny.engine(), settings(*every, max_tokens=60))
    assert len(finish.taken_back) <= MOST_RETURNS
    assert finish.reason in set(FinishReason) - {FinishReason.CANCELLED}


def test_a_phrase_goes_with_a_grammar() -> None:
    engine = tiny.engine()
    for seed in range(6):
        wanted = settings("quick", grammar="/The (quick|brown|lazy) fox/", seed=seed)
        _, finish, said = answered(engine, wanted)
        assert finish.reason is FinishReason.STOP
        assert said in ("The brown fox", "The lazy fox")
    wanted = settings("brown", "lazy", "quick", grammar="/The (quick|brown|lazy) fox/")
    _, finish, said = answered(engine, wanted)
    assert finish.reason is FinishReason.BLOCKED or finish.notice


def test_a_known_first_token_can_be_taken_back() -> None:
    engine = tiny.engine()
    ids = engine.encode(TEXT).ids
    known = engine.next_distribution(ids, settings())
    plain, _, _ = answered(engine, settings(), after=known.handle)
    first = plain[0].bytes.decode(errors="ignore")
    steps, _, _ = answered(engine, settings(first), after=known.handle)
    assert steps[0].id != plain[0].id


def test_versions_have_no_banned_phrase() -> None:
    engine = tiny.engine()
    _, _, free = answered(engine, settings())
    banned = parts_of(free)
    each = [settings(*banned, seed=seed) for seed in (1, 2)]
    prompt = Prompt(engine.encode(TEXT).ids, TEXT)
    said = {0: b"", 1: b""}
    for index, step in steps_of(
        engine.generate_rows(prompt, list(map(RowRequest, each)))
    ):
        said[index] += step.bytes
    assert all(text.encode() not in data for text in banned for data in said.values())


def step(index: int, data: bytes) -> Step:
    shown: Any = None
    return Step(index, index, "", data, "", 0.0, 1, 0.0, 1.0, shown)


TOKENS = st.lists(st.text("ab", max_size=3).map(str.encode), max_size=30)


@given(TOKENS, st.lists(st.text("ab", min_size=1, max_size=5), max_size=3))
def test_what_is_let_go_is_part_of_no_phrase_to_come(
    tokens: list[bytes], banned: list[str]
) -> None:
    guard, text, gone = PhraseGuard(banned), b"", []
    before: Any = object()
    for index, data in enumerate(tokens):
        guard.add(step(index, data), data, before)
        text += data
        whole = any(each.encode() in text for each in banned)
        returned = guard.go_back()
        assert (returned is not None) == whole
        if returned is not None:
            begun = guard.taken_back[-1]
            assert begun.index == len(gone) + len(guard.rest())
            kept = b"".join(tokens[: begun.index])
            removed = b"".join(each.bytes for each in begun.steps)
            assert kept + removed == text
            assert not any(each.encode() in kept for each in banned)
            return
        gone += guard.sure()
        held = text[len(b"".join(tokens[: len(gone)])) :]
        # The shortest that may be held back: where a phrase may have begun.
        longest = max(
            (
                size
                for each in banned
                for size in range(1, len(each))
                if text.endswith(each.encode()[:size])
            ),
            default=0,
        )
        assert len(held) >= longest
        assert not held or len(held) - len(tokens[len(gone)]) < longest
    assert [each.bytes for each in [*gone, *guard.rest()]] == tokens
