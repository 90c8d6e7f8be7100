"""Shannon's game: the bits of both players by their definitions, and the exercises."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui import notation
from lmtui.engine.types import Candidate, ScoredToken
from lmtui.learn.instruments.guess import GuessInstrument, model_guesses
from lmtui.learn.instruments.texts import ScoredExcerpt
from tests.fake_writing import FakeWriter
from tests.learn.instruments import (
    Naive,
    Silent,
    answer,
    made,
    own_text,
    table_of,
    texts_of,
    words_of,
)

TEXT = "The cat sat on the mat, and “the” dog sat on a log"
WORDS = re.findall(r"\w+", TEXT)
SPELLED = math.log2(27)
NAIVE = Naive()


def begun(naive: Naive, **options: Any) -> GuessInstrument:
    """The game with two words given."""
    instrument = made(GuessInstrument, **{"text": TEXT, "given": 2, **options})
    answer(naive.engine, instrument.begin())
    return instrument


def enter(naive: Naive, instrument: GuessInstrument, text: str) -> None:
    """Enter a line, and measure if that is asked for."""
    measurement = instrument.submit(text)
    if measurement is not None:
        answer(naive.engine, measurement)


def test_text_is_uncovered_up_to_the_word_and_no_further(naive: Naive) -> None:
    instrument = begun(naive)
    assert words_of(instrument) == "The cat ____"
    for number, word in enumerate(WORDS[2:], 3):
        enter(naive, instrument, word.upper())
        assert instrument.message.startswith(f"“{word}” is right.")
        if number == 6:
            assert words_of(instrument) == "The cat sat on the mat, ____"
        if number == 7:
            assert words_of(instrument).endswith("mat, and “____")
    assert words_of(instrument) == TEXT
    assert "The text is over" in instrument.message


def test_guess_and_word_have_the_product_of_their_tokens(naive: Naive) -> None:
    instrument = begun(naive)
    enter(naive, instrument, "quick")
    for match in [*re.finditer(r"\w+", TEXT)][2:]:
        enter(naive, instrument, "")
        # What stands before the word, a quote too, is given; its space is not.
        before = TEXT[: match.start()]
        first = len(naive.ids(before.rstrip())) - 1
        *guess, row = texts_of(table_of(instrument))
        words = [*(["quick"] if guess else []), match[0]]
        for shown, word in zip((*guess, row), words, strict=True):
            total = math.fsum(naive.logprobs(before + word)[first:])
            ranks = [f"{rank:,}" for rank in naive.ranks(before + word)[first:]]
            assert shown[1:] == [
                word,
                notation.chance(math.exp(total)),
                ", then ".join(ranks),
                f"{-total / math.log(2):,.1f}",
            ]


@given(st.lists(st.sampled_from(["right", "wrong", "cat", ""]), max_size=30))
def test_bits_are_one_for_each_guess_and_the_spelling_of_what_is_missed(
    lines: list[str],
) -> None:
    naive = NAIVE
    instrument = begun(naive)
    at, tried, bits, found = 2, list[str](), 0.0, 0
    for line in lines:
        if at == len(WORDS):
            break
        word = WORDS[at]
        enter(naive, instrument, word if line == "right" else line)
        guess = word if line == "right" else line
        if guess and guess not in tried:
            tried, bits = [*tried, guess], bits + 1
        if not line or guess == word or len(tried) == 3:
            missed = guess != word
            bits += (len(word) + 1) * SPELLED if missed else 0
            found += not missed
            at, tried = at + 1, []
    if at == 2:
        return
    done = WORDS[2:at]
    # Guesses at a word that is still covered do not count yet.
    rate = (bits - len(tried)) / sum(len(word) + 1 for word in done)
    count = notation.counted(len(done), "word")
    note = table_of(instrument).note
    assert f"You: {found} of {count}, {rate:.3f} bits/character." in note


def test_model_pays_the_surprisal_of_the_words(naive: Naive) -> None:
    instrument = made(GuessInstrument, text="The cat sat on the mat", given=1)
    answer(naive.engine, instrument.begin())
    for _ in range(5):
        enter(naive, instrument, "")
    first = len(naive.ids("The"))
    nats = math.fsum(naive.logprobs("The cat sat on the mat")[first - 1 :])
    characters = len(" cat sat on the mat")
    rate = -nats / math.log(2) / characters
    note = table_of(instrument).note
    assert note.endswith(f"by its probabilities: {rate:.3f}.")
    # A random model finds nothing in three guesses, and pays them and the spelling.
    wrong = (5 * 3 + characters * SPELLED) / characters
    assert f"by your rule: 0 of 5 words, {wrong:.3f}; " in note


def reading(*tokens: tuple[str, int, tuple[str, ...]]) -> ScoredExcerpt:
    """A text of tokens with their ranks and the most probable tokens there; ids are
    texts."""
    ids: dict[str, int] = {}

    def candidate(text: str) -> Candidate:
        found = ids.setdefault(text, len(ids))
        return Candidate(found, text, text.encode(), -1.0)

    scored, spans, text = [], [], ""
    for number, (own, rank, top) in enumerate(tokens):
        row = candidate(own)
        scored.append(
            ScoredToken(
                number, row.id, own, row.bytes, -1.0, rank, 1.0,
                tuple(map(candidate, top)),
            )
        )  # fmt: skip
        spans.append((len(text), len(text) + len(own)))
        text += own
    return ScoredExcerpt(text, tuple(scored), tuple(spans))


ENDS = (",", 1, (",",))


@pytest.mark.parametrize(
    ("tokens", "numbers", "expected"),
    [
        # The most probable word, the second one, and one beyond the limit.
        ([(" a", 1, (" a", " b")), ENDS], (0,), 1),
        ([(" a", 2, (" b", " a")), ENDS], (0,), 2),
        ([(" a", 4, (" b", " c", " d", " a")), ENDS], (0,), None),
        # Neither signs nor the end of the word before are words.
        ([(" a", 4, (",", "s", "\n", " a")), ENDS], (0,), 1),
        # After a sign a word begins without a space.
        ([("a", 3, (" b", ".", "a")), ENDS], (0,), 1),
        # The parts of a word have to follow as the most probable ones.
        ([(" fish", 1, (" fish",)), ("er", 1, ("er",)), ENDS], (0, 1), 1),
        ([(" fish", 1, (" fish",)), ("er", 2, ("es", "er")), ENDS], (0, 1), None),
        # The model would go on with a longer word.
        ([(" fish", 1, (" fish",)), (" x", 2, ("er", " x"))], (0,), None),
        ([(" fish", 1, (" fish",)), (" x", 2, (" y", " x"))], (0,), 1),
        # The end of the text; a space of its own; nothing listed.
        ([(" fish", 1, (" fish",))], (0,), 1),
        ([(" ", 1, (" ",)), ("a", 1, ("a",)), ENDS], (0, 1), 1),
        ([(" a", 1, ()), ENDS], (0,), None),
        ([], (), None),
    ],
)
def test_model_guesses_the_most_probable_words(
    tokens: Any, numbers: tuple[int, ...], expected: int | None
) -> None:
    assert model_guesses(reading(*tokens), numbers, 3) == expected


def test_exercises_are_done_by_guesses_only(naive: Naive) -> None:
    instrument = begun(naive)
    for _ in range(6):
        enter(naive, instrument, "")
    assert instrument.done == set()
    enter(naive, instrument, "wrong")
    assert instrument.done == {"guessed"}
    enter(naive, instrument, "the")
    assert instrument.done == {"guessed"}
    assert WORDS[8] == "dog"
    enter(naive, instrument, "dog")
    assert instrument.done == {"guessed", "right"}
    game = begun(naive)
    for word in ("sat", "on", "the", "mat", "wrong"):
        assert "five" not in game.done
        enter(naive, game, word)
    enter(naive, game, "")
    assert "five" in game.done


def test_what_is_no_guess_is_not_counted(naive: Naive) -> None:
    instrument = begun(naive)
    for line in ("two words", "...", "“”"):
        assert instrument.submit(line) is None
        assert "Write one word" in instrument.message
    assert instrument.done == set()
    enter(naive, instrument, " mat, ")
    assert instrument.message == "Not “mat”. Guesses left: 2."
    assert instrument.entered == ""
    assert instrument.submit("MAT") is None
    assert "tried “MAT” before" in instrument.message
    enter(naive, instrument, "a")
    assert instrument.message == "Not “a”. Guesses left: 1."
    enter(naive, instrument, "b")
    assert instrument.message == "Not “b”. It was “sat”."


def test_next_text_comes_after_the_end_and_the_score_goes_on(naive: Naive) -> None:
    page = made(GuessInstrument, text="The cat sat", given=1)
    instrument = GuessInstrument(page.options, page.material)
    answer(naive.engine, instrument.begin())
    for _ in range(2):
        enter(naive, instrument, "")
    assert words_of(instrument) == "The cat sat"
    enter(naive, instrument, "")
    assert words_of(instrument) == "The ____"  # the course's text has no long sentence
    enter(naive, instrument, "")
    assert "of 3 words" in table_of(instrument).note


def test_own_text_is_played_by_its_long_sentences(naive: Naive) -> None:
    short = "This is the first sentence."
    long = "And " + "ever so long " * 11 + "it is."
    next_one = "The last of the sentences of mine is not much shorter than that."
    own = own_text(GuessInstrument, f"{short} {long} {next_one}", text=TEXT)
    answer(naive.engine, own.begin())
    assert words_of(own) == "And ever so ____"
    for _ in range(33):
        assert "over" not in own.message
        enter(naive, own, "")
    assert words_of(own).startswith("… ")
    assert "over" in own.message
    enter(naive, own, "")
    assert words_of(own) == "The last of ____"
    only = own_text(GuessInstrument, short, text=TEXT)
    answer(naive.engine, only.begin())
    assert words_of(only) == "This is the ____"


def test_other_letters_make_spelling_dearer(naive: Naive) -> None:
    own = own_text(GuessInstrument, "Die Möwe ist über dem großen Meer.")
    answer(naive.engine, own.begin())
    enter(naive, own, "")
    letter = math.log2(26 + len("öüß") + 1)
    rate = 5 * letter / 5
    assert f"0 of 1 word, {rate:.3f} bits/character" in table_of(own).note
    assert f"A letter costs {letter:.2f} bits in this text" in table_of(own).note


def test_own_sentence_fits_into_any_tokens() -> None:
    own = own_text(GuessInstrument, "Ǆ" * 70 + " ça" * 29 + ".", text=TEXT)
    engine = FakeWriter()  # a token is a byte
    answer(engine, own.begin())
    assert words_of(own).endswith(" ça ça ____")


def test_numbers_that_a_server_does_not_tell_are_dashes(naive: Naive) -> None:
    engine = Silent(naive.engine, lambda token: token.index > 0)
    instrument = made(GuessInstrument, text=TEXT, given=2)
    answer(engine, instrument.begin())
    measurement = instrument.submit("wrong")
    answer(engine, measurement)
    instrument.submit("")
    rows = texts_of(table_of(instrument))
    assert all(row[2] == row[4] == notation.NONE for row in rows)
    assert all(row[3].startswith(">20") for row in rows)
    note = table_of(instrument).note
    assert note.endswith(f"by its probabilities: {notation.NONE}.")
