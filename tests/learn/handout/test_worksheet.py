"""The steps that are done before a figure is printed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lmtui.cancellation import cancelled_when
from lmtui.errors import Cancelled
from lmtui.learn.course import Page
from lmtui.learn.figure import Figure, Words
from lmtui.learn.figure_lines import figure_text
from lmtui.learn.handout.worksheet import worksheet
from lmtui.learn.instrument import Measurement
from lmtui.learn.instruments import scratch
from lmtui.learn.instruments.catalogue import INSTRUMENTS as REAL
from tests.engine import tiny
from tests.fakes import FakeEngine
from tests.learn.handout.gallery import (
    MATERIAL,
    BrokenInstrument,
    GalleryInstrument,
    gallery,
    page_of,
)
from tests.learn.test_first_course import GIVEN, PAGES
from tests.learn.test_scratch import train_here


def test_steps_are_done_in_order_as_a_learner_does_them() -> None:
    made: list[GalleryInstrument] = []

    class Seen(GalleryInstrument):
        def begin(self) -> Measurement | None:
            made.append(self)
            return super().begin()

    sheet = worksheet(Seen, page_of(1), MATERIAL, FakeEngine())
    assert made[0].calls == [
        ("begin", None),
        ("typed", " the and 3"),
        ("enter", " the and 3"),
        ("act", "draw"),
        ("slide", -2),
    ]
    assert (sheet.start, sheet.result) == gallery()
    assert sheet.steps == ("“ the and 3” entered", "draw one", "temperature −2")
    assert sheet.message == "You wrote  the and 3"
    assert sheet.error is None


def test_option_in_an_option_is_not_replaced() -> None:
    sheet = worksheet(
        GalleryInstrument, page_of(1, foreign="{number}"), MATERIAL, FakeEngine()
    )
    assert sheet.steps[0] == "“{number} and 3” entered"


def test_failure_leaves_what_was_done_before() -> None:
    sheet = worksheet(BrokenInstrument, page_of(1, "broken"), MATERIAL, FakeEngine())
    assert sheet.error is not None
    assert sheet.error.title == "this model has no <layers>"
    assert (sheet.start, sheet.result) == gallery()
    assert sheet.steps == ("“ the and 3” entered",)


def test_start_is_printed_only_where_it_tells_more_than_the_end() -> None:
    first, (_, bars, *_) = gallery()

    class OnlyWords(GalleryInstrument):
        @property
        def figure(self) -> Figure:
            return (Words(f"{len(self.calls)} calls"),)

    class Same(GalleryInstrument):
        HANDOUT = ()

    class Grows(GalleryInstrument):
        @property
        def figure(self) -> Figure:
            return (*first, *([bars] if len(self.calls) > 1 else []))

    for kind in (OnlyWords, Same):
        sheet = worksheet(kind, page_of(1), MATERIAL, FakeEngine())
        assert sheet.start == () and sheet.result
    sheet = worksheet(Grows, page_of(1), MATERIAL, FakeEngine())
    rest = Words("The rest is as at the beginning.", "quiet")
    assert (sheet.start, sheet.result) == (first, (bars, rest))


def test_stop_is_asked_before_each_step() -> None:
    for calls in range(4):  # of three steps and the end
        answers = iter([False] * calls)
        with pytest.raises(Cancelled), cancelled_when(lambda a=answers: next(a, True)):
            worksheet(GalleryInstrument, page_of(1), MATERIAL, FakeEngine())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.id)
def test_every_page_of_the_course_has_its_numbers(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "pretrain", train_here)
    page = replace(page, options={**page.options, "steps": 2, "long": 24})
    sheet = worksheet(REAL[page.instrument], page, GIVEN, tiny.engine())
    assert sheet.error is None
    assert any(char.isdigit() for line in figure_text(sheet.result) for char in line)
    assert bool(sheet.steps) == bool(REAL[page.instrument].HANDOUT)
