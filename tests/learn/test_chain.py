"""The page of the chain rule: its numbers against the naive ones, and its exercises."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lmtui import notation
from lmtui.learn.instruments.chain import ChainInstrument, swaps
from tests.fakes import FakeEngine
from tests.learn.instruments import (
    Naive,
    Silent,
    answer,
    made,
    table_of,
    texts_of,
    words_of,
)

TEXT = "The cat sat on the mat."
OTHER = "The dog sat on the log."


def begun(naive: Naive, text: str = TEXT) -> ChainInstrument:
    instrument = made(ChainInstrument, text=text)
    answer(naive.engine, instrument.begin())
    return instrument


def test_rows_are_the_probabilities_their_product_and_the_sum_of_their_logs(
    naive: Naive,
) -> None:
    rows = texts_of(table_of(begun(naive)))
    logprobs = naive.logprobs(TEXT)
    assert rows[0] == ["The"[: len(rows[0][0])], *[notation.NONE] * 4]
    assert len(rows) == len(logprobs) + 1
    product, total = 1.0, 0.0
    for shown, logprob in zip(rows[1:], logprobs, strict=True):
        product, total = product * math.exp(logprob), total + logprob
        assert shown[1] == notation.chance(math.exp(logprob))
        assert shown[2] == notation.one_in(math.log(product))
        assert shown[3] == f"{logprob:.2f}".replace("-", "−")
        assert shown[4] == f"{total:.2f}".replace("-", "−")


def test_first_tokens_that_do_not_count_are_named_where_they_differ(
    naive: Naive,
) -> None:
    instrument = begun(naive)
    answer(naive.engine, instrument.submit("dogs sat on the log"))
    said = words_of(instrument)
    assert "Which one is likelier is not known: they begin with different" in said
    assert "times likelier" not in said


def test_two_sentences_of_the_learner_are_compared_by_their_ratio(
    naive: Naive,
) -> None:
    instrument = begun(naive)
    answer(naive.engine, instrument.submit(TEXT))
    assert instrument.done == set()
    assert "likelier" not in words_of(instrument)
    answer(naive.engine, instrument.submit(OTHER))
    gap = math.fsum(naive.logprobs(OTHER)) - math.fsum(naive.logprobs(TEXT))
    which = "new" if gap > 0 else "old"
    times = notation.times(abs(gap))
    assert f"The {which} one is {times} times likelier." in words_of(instrument)
    assert "is not known" not in words_of(instrument)
    answer(naive.engine, instrument.submit(OTHER))
    assert instrument.done == {"entered"}
    answer(naive.engine, instrument.submit(f"{OTHER}."))
    assert instrument.done == {"entered", "compare"}


def test_swap_compares_with_the_sentence_and_takes_two_others_each_time(
    naive: Naive,
) -> None:
    instrument = begun(naive)
    expected = swaps(TEXT)
    for text in (*expected, expected[0]):
        answer(naive.engine, instrument.act("swap"))
        assert f"“{text}”" in words_of(instrument)
        assert f"Before: “{TEXT}”" in words_of(instrument)
        gap = math.fsum(naive.logprobs(text)) - math.fsum(naive.logprobs(TEXT))
        assert notation.times(abs(gap)) in words_of(instrument)
    assert instrument.done == {"swap"}
    answer(naive.engine, instrument.submit(TEXT))
    assert "Before" not in words_of(instrument)


@given(st.lists(st.sampled_from(["a", "the", "it's", "dog", "ça"]), max_size=8))
def test_swaps_exchange_two_different_neighbours_after_the_first(
    words: list[str],
) -> None:
    text = " ".join(words) + "."
    found = swaps(text)
    pairs = pairwise(words[1:])
    assert len(found) == sum(one != other for one, other in pairs)
    for swapped in found:
        new = swapped.removesuffix(".").split(" ")
        assert Counter(new) == Counter(words)
        assert new[0] == words[0]
        at = [n for n, word in enumerate(words) if new[n] != word]
        assert len(at) == 2
        assert at[1] == at[0] + 1


def test_sentence_too_short_to_swap_says_so(naive: Naive) -> None:
    instrument = begun(naive, "Two words")
    assert instrument.act("swap") is None
    assert "three different words" in instrument.message
    answer(naive.engine, instrument.submit(TEXT))
    assert instrument.message == ""


def test_sum_ends_at_a_token_that_a_server_does_not_tell(naive: Naive) -> None:
    engine = Silent(naive.engine, lambda token: token.index == 3)
    instrument = made(ChainInstrument, text=TEXT)
    answer(engine, instrument.begin())
    answer(engine, instrument.submit(OTHER))
    rows = texts_of(table_of(instrument))
    assert rows[3][1:] == [notation.NONE] * 4
    assert rows[4][1] != notation.NONE
    assert {row[4] for row in rows[3:]} == {notation.NONE}
    assert f"Σ log P {notation.NONE} nats" in words_of(instrument)
    assert "likelier" not in words_of(instrument)


def test_sentence_says_what_its_probability_is_given(naive: Naive) -> None:
    instrument = begun(naive)
    first = table_of(instrument).rows[0][0].text
    assert f"“{TEXT}”, given “{first}”: 1 in " in words_of(instrument)
    engine = FakeEngine(adds_bos=True)
    whole = made(ChainInstrument, text=TEXT)
    answer(engine, whole.begin())
    assert f"“{TEXT}”: 1 in " in words_of(whole)
