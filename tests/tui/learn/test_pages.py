"""Pages of the course on the screen, done by what their words ask for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lmtui.learn.course import first_course, read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.lesson import Lesson
from lmtui.tui.learn.screen import LearnScreen
from tests.fake_writing import FakeWriter
from tests.tui.programs import assert_laid_out, program

pytestmark = pytest.mark.usefixtures("home")

Steps = Sequence[tuple[str, str]]
"""Keys, or a line after a `=` that is entered, and what is then seen."""

PAGES: dict[str, Steps] = {
    "guess-the-next-word": (
        ("=time", "“time” is right."),
        ("=wrong", "guess  wrong"),
        ("=", "It was “there”."),
        ("=was", "“was” is right."),
        ("=a", "“a” is right."),
        # The score has to be seen without scrolling.
        ("=poor", "by its probabilities: "),
    ),
    "the-chain-rule": (
        ("=I saw it go.", "“I saw it go.”, given “I”: 1 in "),
        ("=I saw it go!", "Before: “I saw it go.”"),
        ("f2", "“I it saw go!”"),
        ("f2", "“I saw go it!”"),
    ),
    "one-pass": (
        ("=The sun rises in x east and sets in the west.", " same "),
        ("f2", " passes, "),
    ),
    "softmax": (
        ("up up up", "T = 0.3"),
        ("down down down down down down", "T = 3"),
        ("f2", "1,000 draws"),
        ("f2", "2,000 draws"),
        ("f2", "3,000 draws: χ² = "),
    ),
    "surprise-is-the-loss": (
        ("x", "plain.x"),
        ("f2", "A: The capital of France"),
        ("f4", "is likelier per byte. "),
        ("f2", "A: It rained"),
        ("=Some other text that is long.", "Perplexity "),
    ),
    "decoding": (
        ("=The old man and", "beam"),
        ("f2", "seed 2"),
        ("f3", "oop"),
        ("down down down down down down down", "top-p 0.1"),
    ),
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("page", PAGES)
async def test_page_is_done_by_keys(page: str, size: tuple[int, int]) -> None:
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
        for keys, seen in PAGES[page]:
            if keys.startswith("="):
                screen.field.value = keys[1:]
                await running.press("enter")
            else:
                await running.press(*keys.split())
            # Beside the words of the page, a line of the figure may break.
            await running.until(lambda s=seen: s in running.seen or s in said(lesson))
        if page != "surprise-is-the-loss":  # its perplexities are a model's
            await running.until(lambda: lesson.is_complete(lesson.page))
        assert screen.field.value == "" or not lesson.instrument.EMPTIES
        assert_laid_out(screen)


def said(lesson: Lesson) -> str:
    """The message of the instrument."""
    return lesson.instrument.message
