"""Replacements: every number is that of the whole text with the word in it."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, product

import pytest

from lmtui.cancellation import cancelled_when
from lmtui.engine.document.completion import CompletionModel, ContextPlanner
from lmtui.engine.document.replacements import replacements
from lmtui.engine.document.types import Replacement, ReplacementList
from lmtui.engine.document.words import can_cut
from lmtui.engine.scoring import path_scores
from lmtui.errors import Cancelled
from tests.engine import test_families, tiny
from tests.engine.document import test_fill_in_the_middle as fim
from tests.engine.naive_writing import CONTEXT, LAYOUT, NaiveReader, parts

TEXT = "The quick brown fox jumps over the lazy dog. The quick brown fox sat on it."
WORDS = [(10, 15), (16, 19), (15, 19), (40, 43), (70, 72)]


def reader(family: str = "llama") -> NaiveReader:
    return NaiveReader(tiny.model(family), tiny.tokenizer())


def model(family: str = "llama", planner: ContextPlanner = LAYOUT) -> CompletionModel:
    return parts(tiny.model(family), tiny.tokenizer(), planner)


def lists(text: str, start: int, end: int) -> list[ReplacementList]:
    return list(replacements(model(), text, start, end, count=6))


def find(
    text: str, start: int, end: int, read: CompletionModel | None = None, count: int = 6
) -> list[Replacement]:
    *_, last = replacements(read or model(), text, start, end, count=count)
    assert last.is_complete
    return list(last.rows)


def naive_scores(
    naive: NaiveReader, start: int, word: str, behind: str
) -> tuple[float, float]:
    """Logprobs of a word, given what is typed before it, and of what follows it."""
    place = naive.context_at(TEXT, start)
    text = TEXT[:start] + word + behind
    read = naive.part(text, 0, len(text))
    own = following = 0.0
    assert tuple(read.ids[: len(place.before)]) == place.before
    for index in range(len(place.before), len(read.ids)):
        logprob = float(naive.logprobs(read.ids[:index])[read.ids[index]])
        if read.spans[index][0] < start + len(word):
            own += logprob
        else:
            following += logprob
    typed = naive.continuations(place.before, place.typed, top_n=1).logprob
    return own - typed, following


@pytest.mark.parametrize(
    ("family", "place"), [*product(["llama"], WORDS), ("gemma3", WORDS[0])]
)
def test_replacement_numbers_equal_those_of_the_text_read_anew(
    family: str, place: tuple[int, int]
) -> None:
    start, end = place
    naive, behind = reader(family), TEXT[end:]
    found = find(TEXT, start, end, model(family))
    for one in found:
        own, following = naive_scores(naive, start, one.text, behind)
        assert one.logprob == pytest.approx(own, abs=1e-3)
        assert one.following == pytest.approx(following, abs=1e-3)
        assert one.total == pytest.approx(own + following, abs=2e-3)
    assert 2 < len(found) <= 6
    assert len({one.text for one in found}) == len(found)
    sums = [one.total for one in found]
    assert sums == sorted(sums, reverse=True)
    assert TEXT[start:end] in {one.text for one in found}


@pytest.mark.parametrize("place", WORDS)
def test_replacements_are_cut_at_word_boundaries(place: tuple[int, int]) -> None:
    start, end = place
    found = find(TEXT, start, end)
    for one in found:
        assert one.text.strip()
        assert not one.ahead or can_cut(one.text + one.ahead, len(one.text))
    assert any(one.ahead for one in found)


def test_replacements_of_part_of_a_word_are_single_rows() -> None:
    naive = reader()
    place = naive.context_at(TEXT, 12)
    rows = naive.continuations(place.before, place.typed, top_n=200).rows
    expected = {row.beyond for row in rows if row.special is None}
    found = [one.text for one in find(TEXT, 12, 14) if one.text != TEXT[12:14]]
    assert found
    assert {text.encode() for text in found} <= expected


def test_nothing_follows_a_replacement_at_the_end() -> None:
    found = find(TEXT, 72, len(TEXT))
    assert {one.following for one in found} == {None}
    assert [one.total for one in found] == [one.logprob for one in found]


def test_word_without_context_has_no_replacements() -> None:
    assert find(TEXT, 0, 3) == []


def test_count_limits_the_replacements() -> None:
    assert [one.text for one in find(TEXT, 10, 15, count=1)] == ["brown"]


def test_replacements_are_found_in_a_text_longer_than_the_window() -> None:
    text = TEXT + " " + TEXT * 12
    start = text.rindex("lazy")
    small = model(planner=ContextPlanner(context=CONTEXT, window=300, stride=150))
    found = find(text, start, start + 4, small, count=3)
    assert len(found) >= 2
    assert all(one.following is not None for one in found)


@pytest.mark.parametrize("patience", [0, 5, 20, 35])
def test_replacement_search_can_be_cancelled(patience: int) -> None:
    asked = count()
    with pytest.raises(Cancelled), cancelled_when(lambda: next(asked) >= patience):
        find(TEXT, 10, 15)


def test_model_that_cannot_fork_repeats_its_replacements() -> None:
    one = parts(test_families.model("lfm2"), fim.tokenizer("qwen"))
    text = "a b a b a b"
    first = find(text, 4, 5, one, count=4)
    assert len(first) == 4
    again = find(text, 4, 5, one, count=4)
    assert [found.text for found in again] == [found.text for found in first]
    for before, after in zip(first, again, strict=True):
        assert after.logprob == pytest.approx(before.logprob, abs=1e-3)
        assert after.following == pytest.approx(before.following, abs=1e-3)


def test_partial_lists_have_the_final_numbers_and_count_the_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(path_scores, "TREE_TOKENS", 80)
    every = lists(TEXT, 10, 15)
    told = [(each.done, each.total) for each in every]
    assert told == sorted(told)
    assert [done == total for done, total in told] == [False] * (len(told) - 1) + [True]
    *early, found = [each.rows for each in every]
    assert len(early) > 2
    assert early[-1] == tuple(replace(one, ahead="") for one in found)
    known = {one.text: one for best in early for one in best if one.is_scored}
    for whole in early:
        best = [one for one in whole if one.is_scored]
        assert best == [known[one.text] for one in best]
        assert best == sorted(best, key=lambda one: -one.total)
        assert len(whole) <= 6


def test_first_lists_have_words_before_what_follows_is_scored() -> None:
    *early, found = [each.rows for each in lists(TEXT, 10, 15)]
    first, final = early[0], {one.text: one for one in found}
    assert first and not any(one.is_scored for one in first)
    assert all(one.following is None for one in first)
    rows = [one for best in early for one in best if one.text in final]
    for one in rows:
        assert one.logprob == pytest.approx(final[one.text].logprob, abs=1e-4)
