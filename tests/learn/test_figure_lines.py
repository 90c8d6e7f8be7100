"""The drawing of figures: every number on the screen and in the shell."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui import notation
from lmtui.engine.types import Candidate, ScoredToken
from lmtui.learn.figure import (
    BAR,
    Cell,
    Chart,
    Figure,
    ShadedText,
    Words,
    bars,
    numbers,
    table,
)
from lmtui.learn.figure_lines import Line, figure_lines, figure_text
from tests.examples import examples
from tests.tui.hosts import HOSTILE

WIDTHS = (8, 20, 40, 66, 120)
PROBS = st.lists(st.floats(1e-9, 1), min_size=1, max_size=6)
FINITE = st.floats(-1e4, 1e4)
NUMBERS = st.tuples(FINITE, FINITE, st.floats(0, 1))
FIGURES = st.tuples(
    PROBS,
    st.lists(NUMBERS, min_size=1, max_size=5),
    st.lists(st.none() | st.floats(-60, 0), max_size=8),
    st.lists(st.tuples(st.floats(0, 1e5), FINITE), max_size=12),
    st.lists(FINITE, max_size=3),
)


def candidate(
    number: int, prob: float, sampled: float | None = None, cut: Any = None
) -> Candidate:
    text = f" token{number}"
    logprob = math.log(prob)
    return Candidate(number, text, text.encode(), logprob, sampled, cut)


def token(text: str, logprob: float | None) -> ScoredToken:
    return ScoredToken(0, 0, text, b"", logprob, None, None)


def gallery(foreign: str = " the") -> tuple[Figure, Figure]:
    """A figure at the beginning, and one of every part; `foreign` is in all texts."""
    rows = (candidate(1, 0.5), candidate(2, 0.25), candidate(3, 0.0000003))
    drawn = (
        candidate(1, 0.5, 0.7),
        candidate(2, 0.25, 0.3),
        candidate(3, 0.1, 0.0, "k"),
    )
    first = bars(f"After “{foreign}”", rows, 0.2499997, note=f"A {foreign}.")
    words = table(
        ("word", *numbers("p"), BAR),
        (
            (foreign, "61.2%", Cell(bar=(0.612,))),
            (Cell("rare", "warning"), "<0.1%", Cell(bar=(0.0004,))),
            ("plain", "–", ""),
        ),
        title=f"Words {foreign}",
        note=f"A note: {foreign}",
        at=1,
    )
    logprobs = (None, -0.1, -0.5, -1.5, -3.0, -6.0, -9.94)
    shaded = ShadedText(
        "The text, shaded",
        tuple(token(f"{foreign}{n}\n", each) for n, each in enumerate(logprobs)),
    )
    chart = Chart(
        f"Loss {foreign}",
        tuple((float(n * n), 5.5 / (n + 1) + 1) for n in range(20)),
        "steps",
        "loss, nats",
        (("uniform", 6.2), ("bigram", 6.1), (foreign, 2.125)),
    )
    return (first,), (
        Words(f"One sentence of {foreign}.\nAnother line.", "strong"),
        bars("What is drawn", drawn, 0.15, rest_sampled=0.0),
        words,
        Words("Careful.", "warning"),
        shaded,
        chart,
    )


def texts(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


@settings(max_examples=examples(15, 1_000))
@given(FIGURES)
def test_every_number_stands_in_the_plain_text(
    drawn_numbers: tuple[
        list[float],
        list[tuple[float, float, float]],
        list[float | None],
        list[tuple[float, float]],
        list[float],
    ],
) -> None:
    probs, cells, logprobs, points, levels = drawn_numbers
    rows = [candidate(n, prob, prob / 2) for n, prob in enumerate(probs)]
    figure: Figure = (
        bars("Bars", rows, 0.25, rest_sampled=0.125),
        table(
            (*numbers("x"), "y", "share", ""),
            (
                (notation.number(x), notation.number(y), notation.chance(share),
                 Cell(bar=(share,)))
                for x, y, share in cells
            ),
            title="Table",
        ),
        ShadedText("Text", tuple(token("t", logprob) for logprob in logprobs)),
        Chart("Chart", tuple(sorted(points)), "x", "y",
              tuple((f"l{n}", value) for n, value in enumerate(levels))),
    )  # fmt: skip
    expected = {
        *map(notation.chance, (*probs, *(prob / 2 for prob in probs), 0.25, 0.125)),
        *(notation.number(value) for x, y, _ in cells for value in (x, y)),
        *(notation.chance(share) for *_, share in cells),
        *map(notation.surprisal, logprobs),
        *(notation.rate(y) for _, y in points),
        *(notation.number(x, ",g") for x, _ in points),
        *map(notation.rate, levels),
    }
    plain = "\n".join(figure_text(figure))
    for number in expected:
        assert number in plain
    for width in WIDTHS:
        drawn = texts(figure_lines(figure, width))
        assert max(map(cell_len, drawn)) <= width


@pytest.mark.parametrize("foreign", [*HOSTILE.values(), "<|im_end|>", "[bold]x[/bold]"])
def test_foreign_text_is_made_visible_everywhere(foreign: str) -> None:
    for figure in gallery(foreign):
        drawn = [*texts(figure_lines(figure, 66)), *figure_text(figure)]
        assert not any(ord(sign) < 32 for text in drawn for sign in text)
        if foreign.isascii() and foreign.isprintable():
            assert any(foreign in text for text in drawn)


def test_bars_are_as_long_as_they_are_and_the_second_is_the_lower_half() -> None:
    rows = (
        candidate(1, 0.5, 0.25),
        candidate(2, 0.25, 0.5),
        candidate(3, 0.5, 0.0, "k"),
    )
    shown = bars("", rows, 0.0, rest_sampled=0.0)
    lines = figure_lines((shown,), 42)[1:]
    drawn = [line[2:4] for line in lines]
    texts_of_bars = ["".join(text for text, _ in bar) for bar in drawn]
    assert texts_of_bars[:3] == ["████▀▀▀▀", "████▄▄▄▄", "▀▀▀▀▀▀▀▀"]
    assert [[style for text, style in bar if text.strip()] for bar in drawn] == [
        ["sampled", "raw"], ["sampled"], ["raw"], [],
    ]  # fmt: skip
    assert texts(lines)[2].endswith("50.0%     0%  top-k ")
    words = list(figure_text((shown,)))
    assert words[2] == "token ·token3: p 50.0%, drawn 0%, cut by top-k"


def test_table_that_does_not_fit_is_a_sentence_a_row() -> None:
    shown = gallery()[1][2]
    wide, narrow = figure_lines((shown,), 40), figure_lines((shown,), 10)
    assert texts(figure_lines((shown,), 14))[3] == "rare   <0.1%"  # without the bars
    assert texts(wide)[1].split() == ["word", "p"]
    assert [style for _, style in wide[3]][:1] == ["cursor"]
    assert "> word rare: p <0.1%" in " ".join("".join(texts(narrow)).split())


@given(st.lists(FINITE, min_size=1, max_size=60))
def test_curve_rises_and_falls_as_its_points(values: list[float]) -> None:
    points = tuple((float(x), y) for x, y in enumerate(values))
    lines = texts(figure_lines((Chart("", points, "x", "y"),), 60))
    curve = [re.split("[│┤]", line)[1] for line in lines[1:11]]
    assert any("\u2800" < sign <= "\u28ff" for line in curve for sign in line)
    if max(values) - min(values) > 1e-3:
        assert curve[0].strip() and curve[-1].strip()


def test_level_is_a_line_with_its_name_and_value() -> None:
    chart = Chart("", ((0.0, 1.0), (3.0, 2.0)), "x", "y", (("near", 1.5),))
    lines = texts(figure_lines((chart,), 60))
    (level,) = (line for line in lines if "near 1.500" in line)
    assert level.count("┄") > 20
    assert list(figure_text((chart,))) == ["line of near 1.500", "x 0: y 1.000",
                                           "x 3: y 2.000"]  # fmt: skip


def test_words_wrap_and_empty_figures_have_no_lines() -> None:
    lines = figure_lines((Words("one two\nthree", "strong"),), 5)
    assert [line[0] for line in lines] == [
        ("one ", "strong"), ("two", "strong"), ("three", "strong"),
    ]  # fmt: skip
    assert figure_lines((), 5) == [] == figure_lines((Words("x"),), 0)


def test_longest_bar_of_a_token_fills_its_column() -> None:
    """All others together may be more: their bar is cut, and marked so."""
    rows = (candidate(1, 0.08), candidate(2, 0.04))
    first, second, others = texts(figure_lines((bars("", rows, 0.88),), 60))
    assert abs(first.count("█") - 2 * second.count("█")) <= 1
    assert others.count("█") == first.count("█") - 1 and "█…" in others
    assert "…" not in first + second
    first, second, others = texts(figure_lines((bars("", rows, 0.04),), 60))
    assert others.count("█") == second.count("█") and "…" not in others
