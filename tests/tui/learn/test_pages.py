"""Pages of the course, done by what their words ask for: on the screen, in the dialog,
and on the default model."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lmtui.learn.course import first_course, read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.lesson import Lesson
from lmtui.tui.learn.screen import LearnScreen
from tests.cli.program import run
from tests.fake_writing import FakeWriter
from tests.learn.instruments import answer
from tests.tui.programs import Program, assert_laid_out, program

pytestmark = pytest.mark.usefixtures("home")
SIZES = [(80, 24), (120, 40)]


class Learner:
    """Whoever types on a page."""

    def __init__(self, running: Program, screen: LearnScreen) -> None:
        self.running, self.screen = running, screen

    async def enter(self, text: str, seen: str) -> None:
        """Enter a line, and wait until something is seen."""
        self.screen.field.value = text
        await self.running.press("enter")
        await self.running.until(lambda: seen in self.running.seen)

    async def press(self, key: str, seen: Callable[[str], bool]) -> None:
        """Press a key, and wait until something is seen."""
        await self.running.press(key)
        await self.running.until(lambda: seen(self.running.seen))

    @property
    def is_done(self) -> bool:
        """Whether all exercises of the page are done."""
        return self.screen.lesson.is_complete(self.screen.lesson.page)


def lesson_at(page: str) -> Lesson:
    """The course of the program at a page."""
    course = read_course(first_course(), INSTRUMENTS)
    return Lesson(course, INSTRUMENTS, start=course.number_of(page))


@asynccontextmanager
async def learning(page: str, size: tuple[int, int]) -> AsyncIterator[Learner]:
    """A page of the program's course on the screen, once its figure is there."""
    lesson = lesson_at(page)
    async with program(
        {"default": FakeWriter(name="default")},
        first="learn",
        open_lesson=lambda: lesson,
        size=size,
    ) as running:
        screen = await running.on(LearnScreen)
        await running.ready()
        await running.until(lambda: lesson.instrument.figure)
        yield Learner(running, screen)
        assert_laid_out(screen)


@pytest.mark.parametrize("size", SIZES)
async def test_guesses_are_typed_and_the_field_is_emptied(
    size: tuple[int, int],
) -> None:
    async with learning("guess-the-next-word", size) as learner:
        await learner.enter("time", "“time” is right.")
        assert learner.screen.field.value == ""
        await learner.enter("wrong", "Guesses left: 2")
        await learner.running.until(lambda: "guess  wrong" in learner.running.seen)
        await learner.enter("", "It was “there”.")
        for word in ("was", "a", "poor"):
            await learner.enter(word, f"“{word}” is right.")
        # The score has to be seen without scrolling.
        assert "by its probabilities: " in learner.running.seen
        assert learner.is_done


@pytest.mark.parametrize("size", SIZES)
async def test_sentences_are_compared_and_words_swapped(size: tuple[int, int]) -> None:
    async with learning("the-chain-rule", size) as learner:
        await learner.enter("I saw it go.", "“I saw it go.”, given “I”: 1 in ")
        await learner.enter("I saw it go!", "Before: “I saw it go.”")
        await learner.press("f2", lambda seen: "“I it saw go!”" in seen)
        assert learner.is_done
        await learner.press("f2", lambda seen: "“I saw go it!”" in seen)


@pytest.mark.parametrize("size", SIZES)
async def test_text_is_followed_and_pairs_are_answered(size: tuple[int, int]) -> None:
    async with learning("surprise-is-the-loss", size) as learner:
        before = learner.running.seen
        await learner.press("x", lambda seen: "plain.x" in seen and seen != before)
        assert "loss, nats a token" in learner.running.seen
        await learner.press("f2", lambda seen: "A: The capital of France" in seen)
        await learner.press("f4", lambda seen: "is likelier per byte. " in seen)
        await learner.press("f2", lambda seen: "A: It rained" in seen)
        assert learner.screen.lesson.is_done("guess")
        await learner.enter("Some other text that is long.", "Perplexity ")


@pytest.mark.parametrize("size", SIZES)
async def test_one_pass_on_the_screen(size: tuple[int, int]) -> None:
    async with learning("one-pass", size) as learner:
        running, screen = learner.running, learner.screen
        await running.until(lambda: "All at once: " in running.seen)
        await running.press(*["left"] * 20, "x", "enter")
        await running.until(lambda: "mask" in screen.lesson.instrument.done)
        await running.until(lambda: "same" in running.seen)
        await running.press("f2")
        # With long times the line breaks here, beside the words of the page.
        ratio = re.compile(r"times\s+(?:.*│ )?as\s+(?:.*│ )?long")
        await running.until(lambda: ratio.search(running.seen))
        await running.until(lambda: "page done" in running.seen)


@pytest.mark.parametrize("size", SIZES)
async def test_softmax_on_the_screen(size: tuple[int, int]) -> None:
    async with learning("softmax", size) as learner:
        running = learner.running
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


@pytest.mark.parametrize("size", SIZES)
async def test_decoding_on_the_screen(size: tuple[int, int]) -> None:
    async with learning("decoding", size) as learner:
        running = learner.running
        done = learner.screen.lesson.instrument.done
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
            measurement = instrument.submit(line)
        if measurement is not None:
            answer(engine, measurement)
    exercises = {exercise.id for exercise in lesson_at(page).page.exercises}
    assert exercises <= instrument.done
