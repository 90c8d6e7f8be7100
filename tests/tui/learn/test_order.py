"""Keys in any order and at any speed: none is lost, and no figure of another page or of
an older text is drawn as if it were current.

| the page                 | what is drawn                                             |
|--------------------------|-----------------------------------------------------------|
| was just opened          | nothing of the page before; what the model does           |
| was opened again         | its own figure, dim where the field has another text      |
| has a new text           | the figure of the text before, dim                        |
| is measured              | the figure of what stands in the field                    |
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest

from lmtui import cancellation
from lmtui.learn.course import read_course
from lmtui.learn.figure import Figure, Words
from lmtui.learn.figure_lines import figure_text
from lmtui.learn.instrument import Instrument, Material, Measurement, Options
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.lesson import Lesson
from lmtui.tui.learn.figure_view import FigureView
from lmtui.tui.learn.screen import LearnScreen
from tests.fake_writing import FakeWriter
from tests.learn.courses import write_course
from tests.tui.programs import Program, program

pytestmark = pytest.mark.usefixtures("home")


class Gate:
    """What a measurement has to pass before it is made."""

    def __init__(self) -> None:
        self.is_open = Event()
        self._one = Event()

    def let_one(self) -> None:
        """Let the one that waits pass, or the next one."""
        self._one.set()

    def wait(self) -> None:
        """Wait until it is open, or the measurement is stopped."""
        while not self.is_open.wait(0.05):
            if self._one.is_set():
                self._one.clear()
                return
            cancellation.check()


class Live(Instrument):
    """Tells what it was given, in order, and of which text its figure is."""

    NAME = "live"
    OPTIONS: ClassVar[Options] = {"text": ""}
    ACTIONS: ClassVar[Mapping[str, str]] = {"mark": "mark"}
    ASKS = "Text"
    SLIDES = "a step"
    gate = Gate()

    def __init__(self, options: Any, material: Any) -> None:
        super().__init__(options, material)
        self.log: list[str] = []
        self.text: str | None = None

    def _measure(self, text: str, said: str = "") -> Measurement:
        def take(_: Any) -> None:
            self.text = text
            self.log += [said] if said else []

        return Measurement(lambda _, context: self.gate.wait(), take)

    def begin(self) -> Measurement | None:
        self.entered = self.options["text"]
        return self._measure(self.entered)

    def typed(self, text: str) -> Measurement | None:
        return self._measure(text)

    def enter(self, text: str) -> Measurement | None:
        return self._measure(text, f"enter {text}")

    def act(self, action: str) -> Measurement | None:
        return self._measure(self.entered, f"act {self.entered}")

    def slide(self, by: int) -> Measurement | None:
        self.log.append(f"slide {self.entered}")
        return None

    @property
    def figure(self) -> Figure:
        if self.text is None:
            return ()
        return Words(f"«{self.options['text'][0]}|{self.text}»"), Words(f"{self.log}")

    @property
    def measured(self) -> str | None:
        return self.text


class Entered(Live):
    """The same, but only what is entered is measured."""

    NAME = "entered"

    def typed(self, text: str) -> Measurement | None:
        return None

    def act(self, action: str) -> Measurement | None:
        return self._measure(self.text or "", "act")


class Emptied(Live):
    """The same, but its field is for one answer after the other."""

    NAME = "emptied"
    EMPTIES = True

    def typed(self, text: str) -> Measurement | None:
        return None

    @property
    def measured(self) -> str | None:
        return None


KINDS = {kind.NAME: kind for kind in (Live, Entered, Emptied)}
PAGE = "# {0}\n\nText.\n\n```{0}\ntext: {0}\n- never: Do nothing.\n```\n"


@asynccontextmanager
async def learning(
    folder: Path, gate: Gate
) -> AsyncIterator[tuple[Program, LearnScreen]]:
    """A course with a page for each of the instruments above."""
    for kind in KINDS.values():
        kind.gate = gate
    pages = {f"{n:02}-{name}.md": PAGE.format(name) for n, name in enumerate(KINDS, 2)}
    write_course(folder, pages)
    (folder / "01-a-page.md").unlink()
    lesson = Lesson(read_course(KINDS, folder), KINDS, start=0)
    async with program(first="learn", open_lesson=lambda: lesson) as running:
        screen = await running.on(LearnScreen)
        await running.ready()
        yield running, screen
        gate.is_open.set()


KEYS = ("x", "enter", "f2", "up", "f8", "f7")


def each_after_each(items: Sequence[str]) -> Iterator[str]:
    """Each item after each other and after itself: a walk along all edges."""
    for number, first in enumerate(items):
        yield first
        for other in items[number:]:
            yield from (other, first) if other != first else (first,)


def idle(screen: LearnScreen) -> bool:
    return not screen.measure.status_text


async def outcome(running: Program, screen: LearnScreen) -> list[str]:
    seen = []
    await running.press(*["f7"] * len(KINDS))
    for _ in KINDS:
        await running.until(lambda: idle(screen) and "«" in running.seen)
        lines = [
            line for line in running.seen.splitlines() if "«" in line or "[" in line
        ]
        seen += [*lines, screen.field.value]
        await running.press("f8")
    return seen


async def test_keys_before_an_answer_are_done_in_order(tmp_path: Path) -> None:
    outcomes = []
    for is_held in (True, False):
        gate = Gate()
        if not is_held:
            gate.is_open.set()
        async with learning(tmp_path / f"{is_held}", gate) as (running, screen):
            for _ in KINDS:
                for key in each_after_each(KEYS):
                    await running.press(key)
                    if not is_held:
                        await running.until(lambda s=screen: idle(s))
                await running.press("f8")
            gate.is_open.set()
            outcomes.append(await outcome(running, screen))
    assert outcomes[0] == outcomes[1]
    assert "enter" in "".join(outcomes[0])


async def test_no_figure_of_another_page_or_text_is_drawn_as_current(
    tmp_path: Path,
) -> None:
    gate = Gate()
    async with learning(tmp_path / "c", gate) as (running, screen):
        view = screen.query_one(FigureView)

        def is_honest() -> bool:
            found = re.search(r"«(.)\|(.*)»", running.seen)
            if found is None:
                return True
            kind = screen.lesson.instrument.NAME
            page, text = found.groups()
            current = kind == "emptied" or text == screen.field.value.strip()
            return page == kind[0] and (current or view.stale)

        for key in each_after_each((*KEYS, "let", "escape")):
            if key == "let":
                gate.let_one()
            elif key != "escape" or screen.measure.status_text:  # idle, it leaves
                await running.press(key)
            await running.until(is_honest)
        gate.is_open.set()
        await running.until(lambda: idle(screen))


# The instruments of the course.

MEASURED = re.compile(r"[\d.,]+ (?:ms|s)\b|[\d.,]+ times as long")
"""Times, which no two runs share."""
TYPED = [
    "space", "m", "a", "t", "enter", "f2", "x", "backspace", "enter", "down", "f3",
    "c", "a", "t", "enter", "t", "i", "m", "e", "enter", "up", "f2", "f4", "enter",
]  # fmt: skip


async def end_of(page: str, *, early: bool) -> tuple[Any, ...]:
    """Press the keys on a page, before the model is there or one by one after it;
    return what it shows in the end."""
    go = Event()

    def open_model(_: str) -> Any:
        def load(_: Any) -> FakeWriter:
            assert go.wait(60)
            return FakeWriter(["one two three four"] * 40, name="default")

        return load

    course = read_course(INSTRUMENTS)
    own = Material("A text that is counted. It is a short text. " * 40, "a text")
    lesson = Lesson(course, INSTRUMENTS, own=own, start=course.number_of(page))
    options: dict[str, Any] = {"open_lesson": lambda: lesson, "open_model": open_model}
    async with program(first="learn", **options) as running:
        screen = await running.on(LearnScreen)
        if not early:
            go.set()
            await running.ready()
            await running.until(lambda: lesson.instrument.figure)
        for key in TYPED:
            await running.press(key)
            if not early:
                await running.until(lambda: idle(screen))
        go.set()
        await running.ready()
        await running.until(lambda: idle(screen))
        instrument = lesson.instrument
        lines = [MEASURED.sub("", line) for line in figure_text(instrument.figure)]
        assert lines
        return lines, instrument.message, instrument.done, screen.field.value


@pytest.mark.parametrize(
    "page",
    ["one-promise", "guess-the-next-word", "surprise-is-the-loss", "decoding"],
)
async def test_page_is_the_same_with_keys_before_the_model(page: str) -> None:
    assert await end_of(page, early=True) == await end_of(page, early=False)
