"""The totals: numbers that are true, and a reason where there is none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui.engine.scoring.totals import Sums
from lmtui.tui.widgets.text_totals import (
    EMPTY,
    STALE,
    UNSCORED,
    TextTotals,
    cells_of,
    fitting,
)
from tests.tui.hosts import hosted, written

DOCUMENT = Sums("document", -1234.5, 412, 1033, 1800, 1900)
PARAGRAPH = Sums("paragraph", -100 * math.log(2), 50, 50, 200, 400)
NOTHING = Sums("selection", 0.0, 0, 3, 0, 0)


@st.composite
def parts(draw: st.DrawFn) -> Sums:
    """The sums of any text."""
    scored = draw(st.integers(0, 10**6))
    return Sums(
        draw(st.sampled_from(("document", "paragraph", "selection"))),
        -draw(st.floats(0, 1e9)) if scored else 0.0,
        scored,
        scored + draw(st.integers(0, 10**6)),
        draw(st.integers(0, 10**7)),
        draw(st.integers(0, 10**7)),
        draw(st.booleans()),
    )


@given(st.lists(parts(), min_size=1, max_size=3), st.integers(1, 120))
def test_totals_always_show_the_first_part_and_fit_the_width(
    given_parts: list[Sums], width: int
) -> None:
    labels, shown = fitting(given_parts, width)
    assert shown[0] == given_parts[0]
    assert set(shown) <= set(given_parts)
    columns = [labels, *((part.name, *cells_of(part)) for part in shown)]
    needed = sum(max(map(cell_len, column)) + 1 for column in columns) - 1
    assert needed <= width or len(shown) == 1


def test_totals_cells_show_the_numbers_of_a_part() -> None:
    assert cells_of(PARAGRAPH) == (
        "−69.31", "100.0", "4.00", "0.500", "0.250", "50", "50")  # fmt: skip
    assert cells_of(NOTHING) == ("–", "–", "–", "–", "–", "0", "3")
    assert cells_of(DOCUMENT)[-2:] == ("412", "1,033")
    sure = Sums("document", -0.0, 1, 1, 4, 4)
    assert cells_of(sure)[:2] == ("0.00", "0.0")


def test_totals_mark_stale_numbers_but_not_missing_ones() -> None:
    fresh, stale = (cells_of(replace(PARAGRAPH, stale=s)) for s in (False, True))
    assert [f"≈{cell}" for cell in fresh[:-2]] == list(stale[:-2])
    assert cells_of(replace(NOTHING, stale=True)) == cells_of(NOTHING)


@pytest.mark.parametrize(
    ("shown", "note"),
    [
        ((DOCUMENT, PARAGRAPH), ""),
        ((DOCUMENT, replace(PARAGRAPH, stale=True)), STALE),
        ((NOTHING,), UNSCORED),
        ((replace(NOTHING, stale=True), NOTHING), UNSCORED),
        ((DOCUMENT, NOTHING), ""),
    ],
)
async def test_totals_note_says_why_numbers_are_stale_or_missing(
    shown: tuple[Sums, ...], note: str
) -> None:
    async with hosted(widget := TextTotals(), (60, 20)) as (app, pilot):
        assert EMPTY in app.text()
        widget.show(*shown)
        await pilot.pause()
        lines = written(widget)
        table = any(part.scored for part in shown)
        assert len(lines) == (widget.content_size.height if table else 1)
        assert lines[-1] == note
        assert all(cell_len(line) <= 60 for line in lines)


def test_totals_drop_parts_as_they_get_narrow() -> None:
    selection = replace(PARAGRAPH, name="selection")
    for width, parts in (
        (41, (DOCUMENT, PARAGRAPH, selection)),
        (27, (DOCUMENT, selection)),
        (18, (DOCUMENT,)),
    ):
        assert tuple(fitting((DOCUMENT, PARAGRAPH, selection), width)[1]) == parts


def test_totals_show_no_sum_of_a_partly_scored_text() -> None:
    part = Sums("document", -150.7, 127, 20_843, 500, 500, whole=False)
    log_prob, surprisal, perplexity, *_, scored, tokens = cells_of(part)
    assert (log_prob, surprisal) == ("–", "–")
    assert (perplexity, scored, tokens) == ("3.28", "127", "20,843")
    assert cells_of(replace(part, whole=True))[0] == "−150.70"
