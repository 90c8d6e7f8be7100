"""The page of leaving out words: its numbers are the attribution's."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from lmtui import notation
from lmtui.analysis.attribution import Attribution
from lmtui.engine.engine import LocalEngine
from lmtui.learn.course import read_course
from lmtui.learn.figure_lines import figure_text
from lmtui.learn.instrument import run_inline
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.instruments.effects import EffectsInstrument
from lmtui.models.load import load
from tests.engine.tiny import engine
from tests.learn.instruments import answer, column, made, table_of

TEXT = "The cat came in. The cat sat on the mat"


def begun(model: LocalEngine, text: str = TEXT) -> EffectsInstrument:
    instrument = made(EffectsInstrument, text=text)
    answer(model, instrument.begin())
    return instrument


def leave_out(model: LocalEngine, instrument: EffectsInstrument, place: int) -> None:
    """Mark a word, and leave it out or put it back."""
    instrument.slide(99)
    instrument.slide(-place)
    assert table_of(instrument).at == place
    run_inline(instrument.act("out"), model)


def attribution(model: LocalEngine, text: str) -> Attribution:
    start = text.rindex(" ") + 1
    return Attribution(model, text, model.encode(text), start, len(text))


def test_effects_are_those_of_the_attribution_once_a_word_was_left_out() -> None:
    instrument = begun(engine())
    assert column(table_of(instrument), "word") == TEXT.split()[:-1]
    assert set(column(table_of(instrument), "effect")) == {"?"}
    leave_out(engine(), instrument, 3)
    effects = [*attribution(engine(), TEXT).effects("word")][::-1]
    shown = [f"{notation.difference(effect.bits)} bits" for effect in effects]
    assert column(table_of(instrument), "effect") == shown
    for effect, cells in zip(effects, table_of(instrument).rows, strict=True):
        assert (len(cells[1].bar) == 2) == ((effect.bits or 0) < 0)
    without = notation.surprisal(effects[3].logprob_without)
    bits = notation.difference(effects[3].bits)
    expected = f"{without} bits without “in.”: an effect of {bits}."
    assert instrument.message == expected
    assert "guessed" in instrument.done


def test_words_that_are_left_out_together_are_scored_without_all_of_them() -> None:
    words = TEXT.split()
    for places in (1, 5), (0, 2, 6), range(1, len(words) - 1), range(len(words) - 1):
        instrument = begun(engine())
        for place in places:
            leave_out(engine(), instrument, place)
        kept = [word for place, word in enumerate(words) if place not in places]
        left = " ".join(kept) if len(kept) > 1 else f" {kept[0]}"
        without = attribution(engine(), left).logprob
        surprisal = notation.surprisal(without)
        assert instrument.message.startswith(f"{surprisal} bits without “")
        marks = [row[-1].text == "left out" for row in table_of(instrument).rows]
        assert marks == [place in places for place in range(len(words) - 1)]


def test_word_that_is_put_back_leaves_the_text_as_it_was() -> None:
    instrument = begun(engine())
    for place in (1, 4, 4, 1):
        leave_out(engine(), instrument, place)
    assert not instrument.message
    assert "left out" not in "".join(figure_text(instrument.figure))


def test_ticks_follow_the_numbers() -> None:
    effects = [*attribution(engine(), TEXT).effects("word")][::-1]
    bits = [effect.bits or 0.0 for effect in effects]
    for one, other in combinations(range(len(bits)), 2):
        instrument = begun(engine())
        leave_out(engine(), instrument, one)
        assert ("against" in instrument.done) == (bits[one] < 0)
        leave_out(engine(), instrument, other)
        [together] = re.findall("effect of (.*);", instrument.message)
        more = float(together.replace("−", "-")) - bits[one] - bits[other]
        if abs(more - 1) > 0.1:  # what is shown is rounded
            assert ("both" in instrument.done) == (more > 1)


def test_other_text_is_a_new_guess_and_one_word_is_too_few() -> None:
    instrument = begun(engine())
    leave_out(engine(), instrument, 3)
    answer(engine(), instrument.submit(TEXT))
    assert "entered" not in instrument.done
    answer(engine(), instrument.submit(" the dog "))
    assert "entered" in instrument.done
    assert column(table_of(instrument), "effect") == ["?"]
    assert instrument.submit(" dog") is None
    assert instrument.message == "Write at least two words."


@pytest.mark.real
def test_page_shows_a_guess_a_word_against_and_a_redundant_pair(
    default_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the default model, whose numbers chose the text of the page."""
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    model = LocalEngine(load())
    page = read_course(INSTRUMENTS).pages[-1]
    assert (page.instrument, page.options["text"]) == ("effects", TEXT)
    instrument = begun(model)
    leave_out(model, instrument, 3)
    assert {"guessed", "against"} <= instrument.done
    leave_out(model, instrument, 3)
    singles = [
        float(bits.split()[0].replace("−", "-"))
        for bits in column(table_of(instrument), "effect")
    ]
    assert max(singles) == singles[8] > 10  # the word “the”
    assert abs(singles[1]) < 0.5 and abs(singles[5]) < 0.5
    leave_out(model, instrument, 1)
    leave_out(model, instrument, 5)
    assert "both" in instrument.done
    assert " an effect of +7.0; one by one +0.2, +0.3." in instrument.message
