"""A course as a dialog in plain text: for screen readers, pipes and scripts.

What is done by keys on the screen is done by lines: a line is given to the instrument,
a line that begins with a colon is a command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping

from lmtui.cli.output import Output
from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.learn.inline import enter_inline, run_inline
from lmtui.learn.instrument import SLIDE, Instrument, Measurement
from lmtui.learn.lesson import Lesson
from lmtui.learn.plain import (
    figure_lines,
    page_lines,
    paragraph_text,
    sentence_text,
)
from lmtui.text import visible_line

_COMMANDS = {
    ":next": "the next page",
    ":back": "the page before",
    ":pages": "all pages",
    ":page N": "the page of this number or name",
    ":read": "this page again",
    ":textbook": "this page in the symbols of a textbook",
    ":words": "the glossary",
    ":quit": "leave",
}


PROGRESS_EVERY = 5.0
"""Seconds between two lines on how far a long measurement is."""


class Dialog:
    """Reads lines from stdin and writes pages and figures to stdout."""

    def __init__(self, lesson: Lesson, engine: Engine) -> None:
        self._lesson, self._engine = lesson, engine
        self._output = Output()
        self._progress_at = 0.0

    def run(self) -> None:
        """Go through the course until the input ends or `:quit`."""
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
            self._list()
        elif word == ":read":
            self._open()
        elif word == ":textbook":
            self._write_textbook()
        elif word == ":words":
            for term, meaning in lesson.course.glossary:
                self._write(f"{term}: {sentence_text(meaning, {})}")
        elif word.startswith(":"):
            self._act(word[1:], rest)
        else:
            enter_inline(lesson.instrument, line, self._engine)
            self._show(lesson.instrument)

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
        lesson, keys = self._lesson, self._keys()
        count = len(lesson.course.pages)
        self._write(f"Page {lesson.number + 1} of {count}")
        for line in page_lines(lesson.page, keys):
            self._write(line)
        for exercise in lesson.page.exercises:
            done = "done" if lesson.is_done(exercise.id) else "to do"
            self._write(f"- {done}: {sentence_text(exercise.sentence, keys)}")
        self._write("")
        instrument = lesson.instrument
        if not instrument.figure:
            self._measure(instrument.begin())
        else:
            self._show(instrument)
        self._list_commands()

    def _measure(self, measurement: Measurement | None) -> None:
        instrument = self._lesson.instrument
        self._progress_at = time.monotonic()
        run_inline(measurement, self._engine, reported=self._show_progress)
        self._show(instrument)

    def _show_progress(self) -> None:
        """Write now and then how far a long measurement is: the first line of the
        figure."""
        now = time.monotonic()
        if now - self._progress_at >= PROGRESS_EVERY:
            self._progress_at = now
            instrument = self._lesson.instrument
            first = next(figure_lines(instrument.figure), instrument.message)
            self._write(f"… {first}")

    def _show(self, instrument: Instrument) -> None:
        if instrument.message:
            self._write(visible_line(instrument.message))
        for line in figure_lines(instrument.figure):
            self._write(line)
        keys = self._keys()
        page = self._lesson.page
        lesson = self._lesson
        is_untouched = not any(map(lesson.is_done, self._ids()))
        for done in self._lesson.note():
            exercise = next(
                exercise for exercise in page.exercises if exercise.id == done
            )
            self._write(f"Done: {sentence_text(exercise.sentence, keys)}")
            if self._lesson.is_complete(page):
                for paragraph in page.after:
                    self._write(paragraph_text(paragraph, keys))
                self._write("This page is done; :next goes on.")
        if page.textbook and is_untouched and any(map(lesson.is_done, self._ids())):
            self._write_textbook()  # its numbers were made just now
        self._write("")

    def _ids(self) -> Iterator[str]:
        return (exercise.id for exercise in self._lesson.page.exercises)

    def _write_textbook(self) -> None:
        textbook = self._lesson.page.textbook
        if textbook:
            self._write(sentence_text(textbook, self._keys()))
        else:
            self._write("This page has none.")

    def _list(self) -> None:
        for number, page in enumerate(self._lesson.course.pages, 1):
            done = "done" if self._lesson.is_complete(page) else "to do"
            self._write(f"{number}. {page.title}: {done}")

    def _list_commands(self) -> None:
        instrument = self._lesson.instrument
        if instrument.ASKS:
            self._write(f"Write a line for: {instrument.ASKS}.")
        if instrument.SLIDES:
            self._write(f":slide N or :slide -N moves: {instrument.SLIDES}.")
        for action in instrument.ACTIONS:
            self._write(f":{action.id}: {action.meaning}")
        self._write(", ".join(_COMMANDS) + ".")

    def _keys(self) -> Mapping[str, str]:
        """Return what to write for each action that the text of a page names."""
        named = {
            action.id: f":{action.id}" for action in self._lesson.instrument.ACTIONS
        }
        fixed = {"enter": "Enter", "help": ":words"}
        pages = {name: f":{name}" for name in ("next", "back", "pages")}
        return {**named, **fixed, **pages, SLIDE.id: ":slide 1 or :slide -1"}

    def _write(self, line: str) -> None:
        self._output.text(f"{line}\n")
        sys.stdout.flush()


def _steps(text: str) -> int:
    """Return the number of steps that is written; 1 where none is.

    Raises:
        LmtuiError: it is no whole number.
    """
    try:
        return int(text.replace("−", "-").strip() or 1)
    except ValueError:
        raise LmtuiError(
            "this is no number of steps", text, "Write :slide 3."
        ) from None
