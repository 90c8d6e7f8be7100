"""The screen of a course: text, exercises and instrument, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest

from lmtui import cancellation
from lmtui.errors import Cancelled, LmtuiError
from lmtui.learn.course import read_course
from lmtui.learn.figure import Figure, Words, numbers, table
from lmtui.learn.instrument import Instrument, Measurement
from lmtui.learn.instruments.bars import BarsInstrument
from lmtui.learn.lesson import Lesson
from lmtui.models.source import ModelRef
from lmtui.tui.dialogs import ErrorScreen
from lmtui.tui.help import HelpScreen
from lmtui.tui.learn.screen import LearnScreen, PagesScreen
from lmtui.tui.start import StartScreen
from tests.fakes import FakeEngine
from tests.learn.courses import PAGE, write_course
from tests.tui.programs import Program, assert_laid_out, program


class Counter(Instrument):
    """An instrument with everything that the screen has to offer."""

    NAME = "counter"
    ACTIONS: ClassVar[Mapping[str, str]] = {
        "add": "add ten",
        "wait": "wait",
        "fail": "fail",
    }
    SLIDES = "the number"
    value, reported = 0, 0
    waits = Event()

    def act(self, action: str) -> Measurement | None:
        if action == "add":
            self.value += 10
            self.done.add("acted")
            return None
        run = self._wait if action == "wait" else self._fail
        return Measurement(run, lambda _: None, self._hear, words="waiting")

    def _wait(self, engine: Any, context: Any) -> None:
        context.emit(1)
        context.emit(2)
        while not cancellation.requested():
            self.waits.wait(0.01)
        raise Cancelled

    def _fail(self, engine: Any, context: Any) -> None:
        raise LmtuiError("it \x1b[31mfailed", "here", "Try again.")

    def _hear(self, value: int) -> None:
        self.reported += value

    def slide(self, by: int) -> Measurement | None:
        self.value += by
        if by > 0:
            self.done.add("up")
        return None

    @property
    def figure(self) -> Figure:
        return (
            Words(f"value {self.value}, reported {self.reported}"),
            table(numbers("n"), ((f"{n}",) for n in range(50))),
        )


KINDS = {"bars": BarsInstrument, "counter": Counter}
SECOND = """\
# Counting

Press {slide}, {add} and {next}.

```counter
- up: Press {slide}.
- acted: Press {add}.
```

All is counted.
"""


@asynccontextmanager
async def learning(
    tmp_path: Path, *, page: int = 0, **options: Any
) -> AsyncIterator[tuple[Program, LearnScreen]]:
    """A course of two pages on the screen, once the model is there."""
    files = {"02-counting.md": SECOND}
    folder = write_course(tmp_path / "c", files)
    lesson = Lesson(read_course(KINDS, folder), KINDS, start=page)
    given = {"open_lesson": lambda: lesson, **options}
    async with program(first="learn", **given) as running:
        screen = await running.on(LearnScreen)
        await running.ready()
        await running.until(lambda: screen.lesson.instrument.figure)
        yield running, screen


pytestmark = pytest.mark.usefixtures("home")


async def test_page_shows_text_exercises_and_bars_that_follow_the_keys(
    tmp_path: Path,
) -> None:
    async with learning(tmp_path) as (running, screen):
        await running.until(lambda: "After “one two”" in running.seen)
        for words in ("1 of 2", "A page", "A word and another, “code”.", "all others"):
            assert words in running.seen
        assert "☐ Write, then Enter." in running.seen
        await running.press(*"x")
        await running.until(lambda: "After “one twox”" in running.seen)
        await running.until(lambda: "☑ Write, then Enter." in running.seen)
        assert "Done." in running.seen  # what stands after the exercises
        await running.press("enter")
        await running.until(lambda: "“twox” was given" in running.seen)
        assert screen.field.value == "one twox"


async def test_pages_turn_and_stay_as_they_were_left(tmp_path: Path) -> None:
    async with learning(tmp_path) as (running, screen):
        await running.press(*"x")
        await running.press("f7")
        await running.until(lambda: "this is the first page" in running.seen)
        await running.press("f8")
        await running.until(lambda: "2 of 2" in running.seen)
        assert "Press ↑ or ↓, F2 and F8." in running.seen
        await running.press("f8")
        await running.until(lambda: "this is the last page" in running.seen)
        await running.press("f7")
        await running.until(lambda: "1 of 2" in running.seen)
        assert screen.field.value == "one twox"


async def test_keys_of_the_instrument(tmp_path: Path) -> None:
    async with learning(tmp_path, page=1) as (running, _screen):
        await running.until(lambda: "value 0" in running.seen)
        assert "F2 add ten" in running.seen
        await running.press("f2", "up", "up", "down")
        await running.until(lambda: "value 11" in running.seen)
        await running.until(lambda: "All is counted." in running.seen)
        await running.until(lambda: "page done · F8 goes on" in running.seen)
        await running.press("f4")
        failed = "it ␛[31mfailed · here · Try again."
        await running.until(lambda: failed in running.seen)


async def test_long_measurement_reports_and_is_stopped(tmp_path: Path) -> None:
    async with learning(tmp_path, page=1) as (running, _screen):
        await running.press("f3")
        await running.until(lambda: "reported 3" in running.seen)
        assert "waiting" in running.seen
        await running.press("escape")
        await running.until(lambda: "waiting" not in running.seen)
        assert isinstance(running.app.screen, LearnScreen)
        await running.press("f3")
        await running.until(lambda: "reported 6" in running.seen)
        await running.press("f7")  # leaving the page ends it, too
        await running.until(lambda: "After “one two”" in running.seen)


async def test_list_of_pages_opens_one_and_help_has_terms(
    tmp_path: Path,
) -> None:
    async with learning(tmp_path) as (running, _screen):
        await running.press("ctrl+g")
        await running.on(PagesScreen)
        await running.until(lambda: "0 of 2" in running.seen)
        await running.press("down", "enter")
        await running.until(lambda: "value 0" in running.seen)
        await running.press("ctrl+g")
        await running.on(PagesScreen)
        await running.press("escape")
        assert isinstance(await running.on(LearnScreen), LearnScreen)
        await running.press("f1")
        await running.on(HelpScreen)
        await running.until(lambda: "word: [b]a piece." in running.seen)


async def test_escape_leaves_and_the_start_screen_leads_back(tmp_path: Path) -> None:
    async with learning(tmp_path) as (running, screen):
        await running.press(*"x")
        await running.press("escape")
        await running.on(StartScreen)
        await running.press("l")
        back = await running.on(LearnScreen)
        assert back is screen
        assert screen.field.value == "one twox"


async def test_figure_longer_than_its_room_scrolls_by_keys(tmp_path: Path) -> None:
    folder = write_course(
        tmp_path / "c",
        {
            "01-a-page.md": PAGE.replace("A ", "A\n\n- x\n\nB " * 9).replace(
                "text: one two", "text: one two\nrows: 12"
            )
        },
    )
    lesson = Lesson(read_course(KINDS, folder), KINDS)
    async with program(first="learn", open_lesson=lambda: lesson, size=(80, 24)) as run:
        await run.on(LearnScreen)
        await run.until(lambda: "After “one two”" in run.seen)
        assert "together" not in run.seen
        await run.press("down", "down", "down", "down")
        await run.until(lambda: "together" in run.seen)
        before = run.seen
        await run.press("pagedown")
        await run.until(lambda: run.seen != before)
        await run.press("pageup", "up")


async def test_text_folds_and_the_figure_scrolls(tmp_path: Path) -> None:
    async with learning(tmp_path, page=1, size=(80, 24)) as (running, _):
        await running.until(lambda: "value 0" in running.seen)
        assert "Press ↑ or ↓, F2 and F8." in running.seen
        await running.press("f6")
        await running.until(lambda: "Press ↑ or ↓, F2 and F8." not in running.seen)
        assert "☐ Press ↑ or ↓." in running.seen  # the exercise stays
        await running.press("ctrl+down")
        await running.until(lambda: "value 0" not in running.seen)
        await running.press("ctrl+up", "f6")
        await running.until(lambda: "F2 and F8" in running.seen)
        assert "value 0" in running.seen


async def test_what_is_typed_before_the_model_is_there_is_not_lost(
    tmp_path: Path,
) -> None:
    go = Event()

    def open_model(name: str) -> Any:
        def load(_: Any) -> FakeEngine:
            assert go.wait(20)
            return FakeEngine(name="late")

        return load

    folder = write_course(tmp_path / "c")
    lesson = Lesson(read_course(KINDS, folder), KINDS)
    options: dict[str, Any] = {"open_lesson": lambda: lesson, "open_model": open_model}
    async with program(first="learn", **options) as run:
        screen = await run.on(LearnScreen)
        await run.until(lambda: "The model is loading" in run.seen)
        await run.until(lambda: screen.field.value == "one two")
        await run.press(*"xy", "enter")
        go.set()
        await run.ready("late")
        await run.until(lambda: "After “one twoxy”" in run.seen)
        await run.until(lambda: "“twoxy” was given" in run.seen)
        await run.until(lambda: "The model is loading" not in run.seen)


async def test_failed_model_is_said_and_another_one_begins_anew(tmp_path: Path) -> None:
    broken = LmtuiError("it is damaged", "at byte 7", "Fetch it again.")
    folder = write_course(tmp_path / "c")
    lesson = Lesson(read_course(KINDS, folder), KINDS)
    engines = {"default": broken, "second": FakeEngine(name="second")}
    async with program(engines, first="learn", open_lesson=lambda: lesson) as run:
        await run.on(ErrorScreen)
        await run.press("escape")
        await run.on(LearnScreen)
        await run.until(lambda: "it is damaged" in run.seen)
        run.app.load_model(ModelRef("second"))
        await run.ready("second")
        await run.until(lambda: "After “one two”" in run.seen)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 12)])
async def test_layout_holds_at_every_size(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with learning(tmp_path, size=size) as (running, screen):
        await running.until(lambda: "After “one two”" in running.seen)
        assert_laid_out(screen)
        await running.press("f8")
        await running.until(lambda: "value 0" in running.seen)
        assert_laid_out(screen)


async def test_all_exercises_can_be_read_on_a_small_screen(tmp_path: Path) -> None:
    long = SECOND.replace("Press {slide}, {add}", "Words. " * 150 + "Press {add}")
    folder = write_course(tmp_path / "c", {"01-a-page.md": long})
    lesson = Lesson(read_course(KINDS, folder), KINDS)
    async with program(first="learn", open_lesson=lambda: lesson, size=(80, 24)) as run:
        screen = await run.on(LearnScreen)
        await run.ready()
        await run.until(lambda: "☐ Press ↑ or ↓. 1/2" in run.seen)
        assert "☐ Press F2." not in run.seen
        page = screen.query_one("#page")
        while page.scroll_offset.y < page.max_scroll_y:
            before = page.scroll_offset.y
            await run.press("pagedown")
            await run.until(lambda y=before: page.scroll_offset.y > y)
        assert "☐ Press F2." in run.seen
        await run.press("up")
        await run.until(lambda: "☐ Press F2. 2/2" in run.seen)
        assert "☑ Press ↑ or ↓." in run.seen


async def test_textbook_is_folded_until_it_is_asked_for(tmp_path: Path) -> None:
    page = f"{PAGE}\nIn a textbook: P(x_t | x_<t).\n"
    folder = write_course(tmp_path / "c", {"01-a-page.md": page})
    lesson = Lesson(read_course(KINDS, folder), KINDS)
    async with program(first="learn", open_lesson=lambda: lesson) as run:
        await run.on(LearnScreen)
        await run.until(lambda: "After “one two”" in run.seen)
        assert "textbook" not in run.seen
        await run.press("x")
        await run.until(lambda: "▸ In a textbook: Ctrl+T" in run.seen)
        assert "P(x_t" not in run.seen
        await run.press("ctrl+t")
        await run.until(lambda: "In a textbook: P(x_t | x_<t)." in run.seen)
        await run.press("ctrl+t")
        await run.until(lambda: "P(x_t" not in run.seen)
        assert "▸ In a textbook: Ctrl+T" in run.seen
