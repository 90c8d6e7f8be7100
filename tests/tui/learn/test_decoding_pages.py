"""The pages of one pass, softmax and decoding: done by what their words ask for, on the
screen, in the dialog, and on the default model."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lmtui.learn.course import first_course, read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.lesson import Lesson
from lmtui.tui.learn.screen import LearnScreen
from tests.cli.program import run
from tests.learn.instruments import answer
from tests.tui.programs import Program, assert_laid_out, program

pytestmark = pytest.mark.usefixtures("home")


def lesson_at(page: str) -> Lesson:
    """The course of the program at a page."""
    course = read_course(first_course(), INSTRUMENTS)
    return Lesson(course, INSTRUMENTS, start=course.number_of(page))


@asynccontextmanager
async def learning(
    page: str, size: tuple[int, int]
) -> AsyncIterator[tuple[Program, LearnScreen]]:
    """A page on the screen, once the model is there."""
    lesson = lesson_at(page)
    async with program(first="learn", open_lesson=lambda: lesson, size=size) as running:
        screen = await running.on(LearnScreen)
        await running.ready()
        await running.until(lambda: screen.lesson.instrument.figure)
        yield running, screen


SIZES = ((80, 24), (120, 40))


@pytest.mark.parametrize("size", SIZES)
async def test_one_pass_on_the_screen(size: tuple[int, int]) -> None:
    async with learning("one-pass", size) as (running, screen):
        await running.until(lambda: "All at once: " in running.seen)
        await running.press(*["left"] * 20, "x", "enter")
        await running.until(lambda: "mask" in screen.lesson.instrument.done)
        await running.until(lambda: "same" in running.seen)
        await running.press("f2")
        # With long times the line breaks here, beside the words of the page.
        ratio = re.compile(r"times\s+(?:.*│ )?as\s+(?:.*│ )?long")
        await running.until(lambda: ratio.search(running.seen))
        await running.until(lambda: "page done" in running.seen)
        assert_laid_out(screen)


@pytest.mark.parametrize("size", SIZES)
async def test_softmax_on_the_screen(size: tuple[int, int]) -> None:
    async with learning("softmax", size) as (running, screen):
        await running.until(lambda: "T = 1" in running.seen)
        for heading in ("logit", "÷ T", "exp", "÷ Σ", "others", "Σ"):
            assert heading in running.seen
        await running.press(*["up"] * 3)
        await running.until(lambda: "T = 0.3" in running.seen)
        await running.press(*["down"] * 6)
        await running.until(lambda: "T = 3" in running.seen)
        for total in ("1,000", "2,000", "3,000"):
            await running.press("f2")
            await running.until(lambda total=total: f"{total} draws" in running.seen)
        await running.until(lambda: "page done" in running.seen)
        assert "χ²" in running.seen
        assert_laid_out(screen)


@pytest.mark.parametrize("size", SIZES)
async def test_decoding_on_the_screen(size: tuple[int, int]) -> None:
    async with learning("decoding", size) as (running, screen):
        done = screen.lesson.instrument.done
        await running.until(lambda: "beam" in running.seen)
        await running.press(*" and", "enter")
        await running.until(lambda: "three" in done)
        await running.until(lambda: "Σ log P" in running.seen)
        await running.press("f2")
        await running.until(lambda: "again" in done)
        await running.press("f3")
        await running.until(lambda: "long" in done)
        await running.until(lambda: "oop" in running.seen)
        for _ in range(7):
            await running.press("down")
        await running.until(lambda: "cut" in done)
        await running.until(lambda: "top-p 0.1" in running.seen)
        await running.until(lambda: "page done" in running.seen)
        assert_laid_out(screen)


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ("one-pass", ["The sun rises in x east and sets.", ":generate"]),
        ("softmax", [":slide -3", ":slide 6", ":draw", ":draw", ":draw"]),
        ("decoding", ["Once upon a time", ":again", ":long", ":slide -7"]),
    ],
)
def test_pages_in_the_dialog(page: str, lines: list[str]) -> None:
    result = run("learn", "--plain", page, stdin="\n".join(lines))
    assert (result.code, result.err) == (0, "")
    assert "This page is done; :next goes on." in result.out


@pytest.mark.real
@pytest.mark.parametrize(
    ("page", "lines"),
    [
        (
            "one-pass",
            ["The sun rises in the morning and sets in the west.", ":generate"],
        ),
        ("softmax", [":slide -3", ":slide 6", ":slide -3", *[":draw"] * 3]),
        ("decoding", ["Once upon a time there was", ":again", ":long", ":slide -2"]),
    ],
)
def test_pages_on_the_default_model(
    page: str, lines: list[str], default_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    from lmtui.engine.engine import LocalEngine

    engine = LocalEngine.open(quantize="auto")
    instrument = lesson_at(page).instrument
    answer(engine, instrument.begin())
    for line in lines:
        command, _, number = line.partition(" ")
        if command == ":slide":
            measurement = instrument.slide(int(number))
        elif command.startswith(":"):
            measurement = instrument.act(command[1:])
        else:
            measurement = instrument.take(line)
        if measurement is not None:
            answer(engine, measurement)
    exercises = {exercise.id for exercise in lesson_at(page).page.exercises}
    assert exercises <= instrument.done
