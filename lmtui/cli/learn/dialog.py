"""A course as a dialog in plain text: for screen readers, pipes and scripts.

What is done by keys on the screen is done by lines: a line is given to the instrument,
a line that begins with a colon is a command.
"""

from __future__ import annotations

import sys
import time

from lmtui.cli.output import Output
from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.learn.course import Paragraph, Sentence, sentence_text
from lmtui.learn.figure_lines import figure_text
from lmtui.learn.instrument import (
    SLIDE,
    Measurement,
    enter_inline,
    run_inline,
)
from lmtui.learn.lesson import Lesson
from lmtui.text import visible_line

_COMMANDS = (
    ":next", ":back", ":pages", ":page N", ":read", ":textbook", ":words", ":quit",
)  # fmt: skip
PROGRESS_EVERY = 5.0
"""Seconds between two lines on how far a long measurement is."""


class Dialog:
    def __init__(self, lesson: Lesson, engine: Engine) -> None:
        self._lesson, self._engine = lesson, engine
        self._output = Output()
        self._progress_at = 0.0

    def run(self) -> None:
        self._open()
        for line in sys.stdin:
            command = line.rstrip("\n")
            if command.strip() == ":quit":
                return
            try:
                self._obey(command)
            except LmtuiError as error:
                parts = (error.title, error.detail, error.hint)
                self._write(" · ".join(part for part in parts if part))

    def _obey(self, line: str) -> None:
        lesson = self._lesson
        word, _, rest = line.strip().partition(" ")
        turns = {":next": 1, ":back": -1}
        if word in turns:
            self._turn(lesson.number + turns[word])
        elif word == ":page":
            self._turn(lesson.course.number_of(rest.strip()))
        elif word == ":pages":
            for number, page in enumerate(lesson.course.pages, 1):
                done = _state(lesson.is_complete(page))
                self._write(f"{number}. {page.title}: {done}")
        elif word == ":read":
            self._open()
        elif word == ":textbook":
            textbook = self._text(lesson.page.textbook)
            self._write(textbook or "This page has none.")
        elif word == ":words":
            for term, meaning in lesson.course.glossary:
                self._write(f"{term}: {sentence_text(meaning, {})}")
        elif word.startswith(":"):
            self._act(word[1:], rest)
        else:
            enter_inline(lesson.instrument, line, self._engine)
            self._show()

    def _act(self, name: str, rest: str) -> None:
        instrument = self._lesson.instrument
        if instrument.SLIDES and name == SLIDE.id:
            self._measure(instrument.slide(_steps(rest)))
        elif any(action.id == name for action in instrument.ACTIONS):
            self._measure(instrument.act(name))
        else:
            self._write(f":{name} is no command here.")
            self._list_commands()

    def _turn(self, number: int) -> None:
        if self._lesson.move_to(number):
            self._open()
        else:
            self._write("There is no further page this way.")

    def _open(self) -> None:
        lesson, page = self._lesson, self._lesson.page
        self._write(f"Page {lesson.number + 1} of {len(lesson.course.pages)}")
        self._write(f"{page.title}\n")
        for paragraph in page.before:
            self._write(f"{self._paragraph(paragraph)}\n")
        for exercise in page.exercises:
            done = _state(lesson.is_done(exercise.id))
            self._write(f"- {done}: {self._text(exercise.sentence)}")
        self._write("")
        if lesson.instrument.figure:
            self._show()
        else:
            self._measure(lesson.instrument.begin())
        self._list_commands()

    def _measure(self, measurement: Measurement | None) -> None:
        self._progress_at = time.monotonic()
        run_inline(measurement, self._engine, reported=self._show_progress)
        self._show()

    def _show_progress(self) -> None:
        """Write now and then how far a long measurement is: the first line of the
        figure."""
        now = time.monotonic()
        if now - self._progress_at >= PROGRESS_EVERY:
            self._progress_at = now
            instrument = self._lesson.instrument
            first = next(figure_text(instrument.figure), instrument.message)
            self._write(f"… {first}")

    def _show(self) -> None:
        lesson, page = self._lesson, self._lesson.page
        if message := lesson.instrument.message:
            self._write(visible_line(message))
        for line in figure_text(lesson.instrument.figure):
            self._write(line)
        done_before = [e for e in page.exercises if lesson.is_done(e.id)]
        done_now = lesson.note()
        for exercise in page.exercises:
            if exercise.id in done_now:
                self._write(f"Done: {self._text(exercise.sentence)}")
        if done_now and lesson.is_complete(page):
            for paragraph in page.after:
                self._write(self._paragraph(paragraph))
            self._write("This page is done; :next goes on.")
        if page.textbook and done_now and not done_before:
            self._write(self._text(page.textbook))  # its numbers were made just now
        self._write("")

    def _list_commands(self) -> None:
        instrument = self._lesson.instrument
        if instrument.ASKS:
            self._write(f"Write a line for: {instrument.ASKS}.")
        if instrument.SLIDES:
            self._write(f":slide N or :slide -N moves: {instrument.SLIDES}.")
        for action in instrument.ACTIONS:
            self._write(f":{action.id}: {action.meaning}")
        self._write(", ".join(_COMMANDS) + ".")

    def _paragraph(self, paragraph: Paragraph) -> str:
        return ("- " if paragraph.is_item else "") + self._text(paragraph.spans)

    def _text(self, sentence: Sentence) -> str:
        actions = (action.id for action in self._lesson.instrument.ACTIONS)
        keys = {name: f":{name}" for name in (*actions, "next", "back", "pages")}
        keys |= {"enter": "Enter", "help": ":words", SLIDE.id: ":slide 1 or :slide -1"}
        return sentence_text(sentence, keys)

    def _write(self, line: str) -> None:
        self._output.text(f"{line}\n")
        sys.stdout.flush()


def _state(is_done: bool) -> str:
    return "done" if is_done else "to do"


def _steps(text: str) -> int:
    try:
        return int(text.replace("−", "-").strip() or 1)
    except ValueError:
        raise LmtuiError(
            "this is no number of steps", text, "Write :slide 3."
        ) from None
