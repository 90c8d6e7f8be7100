"""Numbers as people read them: their sign, their unit, and what is never shown."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui import notation, surprisal_scale
from lmtui.analysis.html.writer import page
from lmtui.cli.inspect.plain import DIFFERENCE, SURPRISE, legend_of
from lmtui.partial import EntropyRange
from lmtui.tui.widgets.text_totals import LABELS
from lmtui.tui.widgets.token_view import TokenLegend

UNITS = {"k": 1e3, "M": 1e6, " million": 1e6, "B": 1e9, " billion": 1e9, "T": 1e12}
UNITS |= {" trillion": 1e12}
PLAIN_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
NUMBERS = st.none() | st.floats(width=64)


def value_of(words: str) -> float:
    """The number that is written as `20,000`, `57 trillion` or `57T`."""
    digits, unit = re.fullmatch(r"([\d.,]+)(.*)", words).groups()  # type: ignore[union-attr]
    return float(digits.replace(",", "")) * UNITS.get(unit, 1.0)


@given(NUMBERS)
def test_no_number_has_a_hyphen_or_a_zero_with_a_sign(value: float | None) -> None:
    writers = (
        notation.number, notation.log_prob, notation.surprisal, notation.in_bits,
        notation.difference, notation.perplexity, notation.rate, notation.percent,
        notation.likely, notation.seconds, notation.speed,
    )  # fmt: skip
    for write in writers:
        written = write(value)
        assert "-" not in written and "nan" not in written and "inf" not in written
        assert not re.search(r"[−+]0(\.0*)?(?![\d.])", written), written
        known = value is not None and math.isfinite(value)
        assert known or written in (notation.NONE, "0.00", "0.0"), written


@given(st.floats(-1e9, 1e-9))
def test_a_log_prob_is_never_positive_and_a_surprisal_never_negative(
    nats: float,
) -> None:
    told = notation.log_prob(nats)
    assert told.startswith("−") or float(told) == 0
    in_bits = notation.surprisal(nats)
    assert float(in_bits.replace(",", "")) == pytest.approx(
        max(0, -nats) / math.log(2), abs=0.0501
    )


@given(st.floats(0, 1))
def test_a_percentage_tells_none_from_little_and_all_from_most(prob: float) -> None:
    for width in (5, 6):
        written = notation.percent(prob, width=width)
        assert written.endswith("%") and " " not in written and len(written) <= width
        assert (written == "0%") == (prob == 0)
        assert (written == "100%") == (prob == 1)


@pytest.mark.parametrize(
    ("value", "words"),
    [(1.0, "1.00"), (84.239, "84.24"), (382.61, "382.6"), (1234.5, "1,234"),
     (2.4e7, "2.4e7"), (math.inf, "–"), (None, "–")],
)  # fmt: skip
def test_a_perplexity_has_four_figures_or_its_order_of_magnitude(
    value: float | None, words: str
) -> None:
    assert notation.perplexity(value) == words


@given(st.floats(0, 690))
def test_exp_of_nats_is_right_to_two_digits(nats: float) -> None:
    number, *power = notation.times(nats).split(" × 10")
    value = value_of(number)
    exponent = "".join(power).translate(PLAIN_DIGITS)
    log10 = math.log10(value) + int(exponent or 0)
    assert log10 == pytest.approx(nats / math.log(10), abs=0.03)
    assert "e" not in exponent


@pytest.mark.parametrize(
    ("nats", "words"),
    [(0.0, "1 in 1.00"), (-math.log(8), "1 in 8.00"),
     (-1000 * math.log(10), "1 in 1.0 × 10¹⁰⁰⁰"),
     (-math.log(9.96e7), "1 in 100 million"), (-math.log(5.74e13), "1 in 57 trillion"),
     (-math.log(2.46e9), "1 in 2.5 billion"), (-math.log(734_000), "1 in 730,000"),
     (-math.log(99_400), "1 in 99,400"), (-math.log(2.44e15), "1 in 2.4 × 10¹⁵"),
     (0.1, "1 in 1.00"), (-math.inf, "–"), (math.nan, "–"), (None, "–")],
)  # fmt: skip
def test_a_probability_is_one_in_a_number_of_any_size(
    nats: float | None, words: str
) -> None:
    assert notation.one_in(nats) == words


@pytest.mark.parametrize(
    ("prob", "words"),
    [(0.612, "61.2%"), (0.0005, "0.1%"), (5e-5, "1 in 20,000"),
     (3e-7, "1 in 3.3 million"), (2e-14, "1 in 50 trillion"),
     (1e-20, "1 in 1.0 × 10²⁰"), (0, "0%"), (None, "–")],
)  # fmt: skip
def test_a_chance_is_a_percentage_or_one_in_a_round_number(
    prob: float | None, words: str
) -> None:
    assert notation.chance(prob) == words


@given(st.floats(1.1e-15, 0.000499))
def test_a_small_chance_is_right_to_two_digits(prob: float) -> None:
    for write, before in ((notation.chance, "1 in "), (notation.likely, "1/")):
        value = value_of(write(prob).removeprefix(before))
        assert value == pytest.approx(1 / prob, rel=0.051)


@given(st.floats(0, 1) | st.floats(-700, 0).map(math.exp))
def test_a_column_of_six_cells_holds_every_probability(prob: float) -> None:
    for width in (5, 6):
        written = notation.likely(prob, width=width)
        assert len(written) <= width and "e" not in written
    assert "<" not in notation.likely(prob)


def test_labels_of_every_length_differ_from_each_other() -> None:
    for names in zip(*LABELS, strict=True):
        assert len(set(names)) == len(LABELS)


def test_screen_shell_and_page_have_one_scale() -> None:
    found = re.search(r'id="data">(.*?)</script>', page("", "{}"))
    assert found
    scales = {each["name"]: each for each in json.loads(found[1])["scales"]}
    assert scales["surprisal"]["bounds"] == list(surprisal_scale.BOUNDS)
    for name in surprisal_scale.MEASURES:
        assert scales[name]["names"] == list(surprisal_scale.explained(name))
    shell = legend_of("surprisal", SURPRISE).plain
    assert all(words in shell for words in scales["surprisal"]["names"])
    shell = legend_of("difference", DIFFERENCE).plain
    assert all(words in shell for words in scales["difference"]["names"])
    (line,) = TokenLegend().lines(100, 1)
    screen = "".join(part for part, _ in line)
    assert all(words in screen for words in scales["surprisal"]["names"])


@pytest.mark.parametrize("width", [30, 38, 48, 60, 100])
def test_a_legend_keeps_its_unit_where_it_is_narrow(width: int) -> None:
    (line,) = TokenLegend().lines(width, 1)
    shown = "".join(part for part, _ in line)
    assert "bits" in shown and ("p > 0.8" in shown or width < 60)


def test_entropy_without_a_greatest_one_is_known_from_below() -> None:
    assert notation.entropy(EntropyRange(2.3 * notation.LN2, math.inf)) == "≥2.3"
    assert notation.choices(EntropyRange(math.log(3.4), math.inf)) == "≥3.4"


@pytest.mark.parametrize(
    ("prob", "written"),
    [(0.0005, "0.1%"), (0.0001, "1/10k"), (0.00044, "1/2.3k"), (3e-6, "1/330k"),
     (3e-7, "1/3.3M"), (2e-14, "1/50T"), (3e-28, "10⁻²⁸"), (0, "0%")],
)  # fmt: skip
def test_small_probabilities_in_a_column_are_one_in_a_number(
    prob: float, written: str
) -> None:
    assert notation.likely(prob) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0.000"), (0.0005, "0.001"), (2.3e-7, "<0.001"), (1234.5, "1,234.500"),
     (None, "–")],
)  # fmt: skip
def test_weights_may_be_tiny(value: float | None, written: str) -> None:
    assert notation.weight(value) == written


def test_short_times_are_in_milliseconds() -> None:
    assert notation.milliseconds(0.0428) == "43 ms"
    assert notation.milliseconds(2.64) == "2.64 s"
    assert notation.milliseconds(None) == "–"
