"""The page of the logit lens: its rows against the engine's lens."""

from __future__ import annotations

import math

import pytest

from lmtui import notation
from lmtui.engine.lens import LensColumn, LensRow
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import Candidate
from lmtui.learn.instruments.lens import LensInstrument, answer_layer
from tests.engine.tiny import engine
from tests.learn.instruments import answer, made

TEXT = "the cat sat on the"


def begun() -> LensInstrument:
    instrument = made(LensInstrument, text=TEXT)
    answer(engine(), instrument.begin())
    return instrument


def expected(ids: tuple[int, ...], place: int) -> list[list[str]]:
    """The numbers of each layer by the engine, as they are shown."""
    (column,) = engine().logit_lens(ids, [place])
    return [
        [
            notation.chance(row.top[0].prob),
            notation.count(row.rank),
            notation.chance(math.exp(row.logprob)),
            notation.entropy(row.entropy),
        ]
        for row in column.rows
    ]


def test_rows_are_those_of_the_lens_at_each_token() -> None:
    instrument = begun()
    ids = engine().encode(TEXT).ids
    found = engine().next_distribution(ids, SamplingSettings())
    ids = (*ids, found.candidates[0].id)
    for place in range(len(ids) - 1, 0, -1):
        words, table = instrument.figure
        shown = [[cell.text for cell in (*row[3:4], *row[4:])] for row in table.rows]
        assert shown == expected(ids, place)[::-1]
        assert [row[0].text for row in table.rows] == ["4", "3", "2", "1", "start"]
        which = "the next token" if place == len(ids) - 1 else f"token {place + 1}"
        assert f", {which}, " in words.text
        assert ("moved" in instrument.done) == (place < len(ids) - 1)
        instrument.slide(-1)
    assert instrument.figure[0].text.startswith(words.text)  # nothing before it


def test_last_layer_is_the_model_itself() -> None:
    ids = engine().encode(TEXT).ids
    found = engine().next_distribution(ids, SamplingSettings()).candidates[0]
    _, table = begun().figure
    last = table.rows[0]
    assert last[2].bar[0] == pytest.approx(found.prob, abs=1e-5)
    assert last[4].text == "1"
    assert table.at is not None


def test_other_text_ticks_and_the_same_does_not() -> None:
    instrument = begun()
    answer(engine(), instrument.submit(TEXT))
    assert instrument.done == set()
    answer(engine(), instrument.submit("the dog"))
    assert instrument.done == {"entered"}
    assert instrument.submit(" ") is None
    assert instrument.message


def row(layer: int, rank: int | None) -> LensRow:
    return LensRow(layer, (Candidate(0, "x", b"x", -1.0),), -1.0, rank, 1.0)


@pytest.mark.parametrize(
    ("ranks", "layer"),
    [([3, 2, 1], 2), ([1, 2, 1, 1], 2), ([1, 1, 1], 0), ([1, 1, 2], None)],
)
def test_answer_appears_where_it_stays(ranks: list[int], layer: int | None) -> None:
    rows = tuple(row(number, rank) for number, rank in enumerate(ranks))
    assert answer_layer(LensColumn(1, rows)) == layer
