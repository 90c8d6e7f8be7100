"""The pages on guesses, products and surprise, as they stand on the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from lmtui.learn.course import first_course, read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.lesson import Lesson
from lmtui.tui.learn.screen import LearnScreen
from tests.fake_writing import FakeWriter
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


@asynccontextmanager
async def learning(page: str, size: tuple[int, int]) -> AsyncIterator[Learner]:
    """A page of the program's course on the screen, once its figure is there."""
    course = read_course(first_course(), INSTRUMENTS)
    lesson = Lesson(course, INSTRUMENTS, start=course.number_of(page))
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
