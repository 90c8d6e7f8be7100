"""Every page of the course, on its text and on another one."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from lmtui.engine.engine import LocalEngine
from lmtui.errors import LmtuiError
from lmtui.learn.course import Page, read_course
from lmtui.learn.figure import Figure, Table
from lmtui.learn.figure_lines import figure_lines, figure_text
from lmtui.learn.instrument import Instrument, Material, run_inline
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.instruments.counts import CountsInstrument
from tests.engine.tiny import engine
from tests.learn.instruments import answer, made

PAGES = read_course(INSTRUMENTS).pages
OWN = Material(
    "Meine Katze heißt Mîa — sie schläft \x1b[31m viel. Am Abend trinkt sie Milch. "
    * 40,
    "mein-text.txt",
    is_own=True,
)
GIVEN = Material("The cat sat on the mat and slept. It was a warm day. " * 40, "cats")
SLOW = ("train",)
"""Actions that other tests try: a minute of training."""


def drawn(figure: Figure) -> str:
    """What a figure is as plain text and on screens of several widths."""
    lines = list(figure_text(figure))
    for width in (20, 66, 120):
        for line in figure_lines(figure, width):
            text = "".join(piece for piece, _ in line)
            assert cell_len(text) <= width, text
            lines.append(text)
    return "\n".join(lines)


def used(model: LocalEngine, instrument: Instrument) -> tuple[str, list[str]]:
    """What stands in the field of an instrument at first, and everything that it shows
    while all that it offers is tried."""
    shown: list[str] = []

    def do(measurement: Any) -> None:
        run_inline(measurement, model)
        shown.append(drawn(instrument.figure))

    do(instrument.begin())
    entered = instrument.entered
    if instrument.ASKS:
        for text in (instrument.entered, f"{instrument.entered} x y", "", "z"):
            run_inline(instrument.follow(text), model)
            do(instrument.submit(text))
    for action in instrument.ACTIONS:
        if action not in SLOW:
            do(instrument.act(action))
            do(instrument.act(action))
    if instrument.SLIDES:
        for by in (1, -1, -3, 9):
            do(instrument.slide(by))
    return entered, shown


@pytest.mark.parametrize("material", [GIVEN, OWN], ids=["given", "own"])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.id)
def test_page_works_on_any_text_and_shows_nothing_that_a_terminal_obeys(
    page: Page, material: Material
) -> None:
    instrument = INSTRUMENTS[page.instrument](page.options, material)
    entered, shown = used(engine(), instrument)
    assert all(shown), shown
    assert not any(ord(sign) < 32 and sign != "\n" for text in shown for sign in text)
    if material.is_own:  # which gives the examples
        own = f"{entered}\n{shown[0]}"
        assert any(word in own for word in ("Katze", "Milch", "mein-text", "trained"))


def test_each_page_fits_into_a_small_screen() -> None:
    """Some eight lines of 78 cells are seen at 80x24 without scrolling."""
    for page in PAGES:
        cells = sum(
            len("".join(span.text for span in paragraph.spans)) + 40
            for paragraph in page.before
        )
        assert cells <= 78 * 10, page.id
        assert len(page.before) <= 3, page.id
        assert page.after, page.id


@pytest.mark.parametrize("kind", INSTRUMENTS.values(), ids=INSTRUMENTS.keys())
def test_nothing_happens_before_there_is_a_figure(kind: type[Instrument]) -> None:
    instrument = made(kind, text="the cat sat on the mat")
    for action in kind.ACTIONS:
        assert action == "train" or instrument.act(action) is None
    assert instrument.slide(-1) is None
    assert not any(isinstance(part, Table) for part in instrument.figure)
    assert not instrument.done


@pytest.mark.parametrize("kind", INSTRUMENTS.values(), ids=INSTRUMENTS.keys())
def test_empty_and_long_texts_say_what_to_do(kind: type[Instrument]) -> None:
    if not kind.ASKS or kind.EMPTIES:
        return
    instrument = made(kind, text="the cat sat on the mat")
    begun = instrument.begin()
    if kind is not CountsInstrument:  # its text is too short to count in
        answer(engine(), begun)
    before = instrument.figure
    assert instrument.submit("  ") is None
    assert instrument.message.startswith("Write ")
    assert [*instrument.figure] == [*before]
    with pytest.raises(LmtuiError, match="too "):
        answer(engine(), instrument.submit("word " * 300))
