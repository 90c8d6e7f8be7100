"""The steps that are done before a figure is printed."""

from __future__ import annotations

import pytest

from lmtui.cancellation import cancelled_when
from lmtui.errors import Cancelled
from lmtui.learn.figure import Figure, Words
from lmtui.learn.handout.worksheet import worksheet
from lmtui.learn.instrument import Instrument, Measurement
from lmtui.learn.instruments.catalogue import INSTRUMENTS as REAL
from tests.fakes import FakeEngine
from tests.learn.handout.gallery import (
    MATERIAL,
    BrokenInstrument,
    GalleryInstrument,
    gallery,
    page_of,
)


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


@pytest.mark.parametrize("kind", REAL.values(), ids=REAL.keys())
def test_steps_of_every_instrument_name_what_it_has(kind: type[Instrument]) -> None:
    actions = {action.id for action in kind.ACTIONS}
    for step, value in kind.HANDOUT:
        if step == "enter":
            assert kind.ASKS
            value.format_map({**kind.OPTIONS, "entered": ""})  # names no others
        elif step == "act":
            assert value in actions
        else:
            assert step == "slide" and kind.SLIDES
            assert int(value.replace("−", "-"))
