"""The page of the loss: its totals against the naive ones, and its exercises."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lmtui import notation
from lmtui.learn.figure import ShadedText
from lmtui.learn.instruments.surprise import SurpriseInstrument
from tests.learn.instruments import (
    Naive,
    Silent,
    answer,
    made,
    own_text,
    parts_of,
    table_of,
    texts_of,
    words_of,
)

TEXT = "Die Möwe über dem Meer."
ONE, TWO = "The cat sat on the mat.", "def f(x): return x"
PAIRS = {"pair-a": f"{ONE} | {TWO}", "pair-b": f"{TWO} | {ONE}"}


def begun(naive: Naive, text: str = TEXT) -> SurpriseInstrument:
    instrument = made(SurpriseInstrument, text=text, **PAIRS)
    answer(naive.engine, instrument.begin())
    return instrument


def bits_per_byte(naive: Naive, text: str) -> float:
    """By the definition: bits of all tokens but the first, by their bytes."""
    first = naive.engine.describe_tokens(naive.ids(text)[:1])[0].bytes
    size = len(text.encode()) - len(first)
    return -math.fsum(naive.logprobs(text)) / math.log(2) / size


def test_totals_are_sum_mean_exp_and_bits_per_byte(naive: Naive) -> None:
    instrument = begun(naive)
    logprobs = naive.logprobs(TEXT)
    mean = -math.fsum(logprobs) / len(logprobs)
    assert texts_of(table_of(instrument)) == [
        ["surprisal, bits", f"{mean * len(logprobs) / math.log(2):,.1f}", "the sum"],
        ["loss, nats a token", f"{mean:.3f}", f"the mean of {len(logprobs)} tokens"],
        ["perplexity", notation.perplexity(math.exp(mean)), "exp of the loss"],
        ["bits/byte", f"{bits_per_byte(naive, TEXT):.3f}",
         f"the sum over {_bytes(naive, TEXT)} bytes"],
    ]  # fmt: skip


def _bytes(naive: Naive, text: str) -> int:
    tokens = naive.engine.describe_tokens(naive.ids(text)[1:])
    return sum(len(token.bytes) for token in tokens)


def test_each_token_has_its_surprisal_and_no_number_before_the_first(
    naive: Naive,
) -> None:
    instrument = begun(naive)
    (shaded,) = parts_of(instrument, ShadedText)
    rows = texts_of(table_of(instrument, 1))
    assert shaded.tokens[0].logprob is None
    assert rows[0][1:] == [notation.NONE] * 3
    logprobs = naive.logprobs(TEXT)
    for token, row, logprob in zip(shaded.tokens[1:], rows[1:], logprobs, strict=True):
        bits = -logprob / math.log(2)
        assert token.logprob == pytest.approx(logprob, abs=1e-4)
        assert row[1:] == [
            notation.chance(math.exp(logprob)), f"{-logprob:.2f}", f"{bits:.1f}"
        ]  # fmt: skip


def test_below_and_above_are_done_by_entering_such_texts(naive: Naive) -> None:
    instrument = begun(naive)
    scored = {"sure": 0.0, "between": math.log(100), "unsure": math.log(1001)}

    class Rigged(Silent):
        nats = 0.0

        def _heard(self, token: object) -> object:
            nats = None if token.index == 0 else -self.nats  # type: ignore[attr-defined]
            return replace(token, logprob=nats)  # type: ignore[type-var]

    rigged = Rigged(naive.engine, lambda _: True)
    for name, exercises in (
        ("between", set()),
        ("sure", {"below"}),
        ("unsure", {"below", "above"}),
    ):
        rigged.nats = scored[name]
        answer(rigged, instrument.follow(instrument.entered))
        answer(rigged, instrument.submit("one two three four five"))
        assert instrument.done == exercises
        assert instrument.message.startswith("Perplexity ")
    answer(rigged, instrument.follow("one"))
    assert instrument.message == ""


@pytest.mark.parametrize("action", ["first", "second"])
def test_pair_is_answered_once_and_then_shows_its_numbers(
    naive: Naive, action: str
) -> None:
    instrument = begun(naive)
    assert instrument.act(action) is None
    assert "Show two texts first" in instrument.message
    rates = [bits_per_byte(naive, text) for text in (ONE, TWO)]
    for number, (pair, shown) in enumerate(
        [((ONE, TWO), rates), ((TWO, ONE), rates[::-1])], 1
    ):
        assert instrument.act("pair") is None
        assert f"A: {pair[0]}" in words_of(instrument)
        assert f"B: {pair[1]}" in words_of(instrument)
        assert "guess" not in instrument.done or number > 1
        answer(naive.engine, instrument.act(action))
        table = table_of(instrument)
        assert [row[1] for row in texts_of(table)] == [f"{r:.3f}" for r in shown]
        best = "A" if shown[0] < shown[1] else "B"
        is_right = (best == "A") == (action == "first")
        assert table.title.startswith("Right" if is_right else "Not so")
        assert f"{best} is likelier per byte" in table.title
        assert f"of {number} right" in table.title
        assert instrument.act(action) is None
        assert "You have answered" in instrument.message
    assert "1 of 2 right" in table.title
    assert instrument.done == {"guess"}
    answer(naive.engine, instrument.follow(ONE))
    assert table_of(instrument).title == ""


def test_page_without_pairs_and_server_without_numbers_say_so(naive: Naive) -> None:
    instrument = made(SurpriseInstrument, text=TEXT)
    assert instrument.act("pair") is None
    assert "no two texts" in instrument.message
    engine = Silent(naive.engine, lambda token: token.index == 2)
    instrument = made(SurpriseInstrument, text=TEXT, **PAIRS)
    answer(engine, instrument.begin())
    assert [row[1] for row in texts_of(table_of(instrument))] == [notation.NONE] * 4
    answer(engine, instrument.submit(TEXT))
    assert "does not tell" in instrument.message
    instrument.act("pair")
    answer(engine, instrument.act("second"))
    assert table_of(instrument).title == "You said B."
    assert "does not tell" in instrument.message


def test_own_text_gives_the_text_and_the_pairs(naive: Naive) -> None:
    sentences = [f"This is sentence number {n} of a text of my own." for n in range(4)]
    own = own_text(SurpriseInstrument, " ".join(sentences), text=TEXT, **PAIRS)
    answer(naive.engine, own.begin())
    assert own.entered == sentences[0]
    own.act("pair")
    assert sentences[0] in words_of(own)
    assert sentences[1] in words_of(own)
    short = own_text(SurpriseInstrument, "This is too short.", text=TEXT, **PAIRS)
    short.act("pair")
    assert f"A: {ONE}" in words_of(short)


def test_short_text_is_not_enough(naive: Naive) -> None:
    instrument = begun(naive)
    answer(naive.engine, instrument.submit("cat"))
    assert "at least five words" in instrument.message
    assert instrument.done.isdisjoint({"below", "above"})
