"""A learner's way through the course: the open page, and the exercises that are done.

Progress is saved whenever an exercise is done or a page opened. A broken or unwritable
file counts as none: progress is optional state, and never an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from lmtui import paths, records
from lmtui.errors import LmtuiError
from lmtui.learn.course import TEXT_NAME, Catalogue, Course, Page
from lmtui.learn.instrument import Instrument, Material


@dataclass
class Progress:
    page: str | None = None
    """Id of the page that was open last."""
    done: dict[str, list[str]] = field(default_factory=dict)
    """Ids of the exercises that are done, by the id of their page."""


class Lesson:
    """The open page of the course and its instrument, and what is done of each page."""

    def __init__(
        self,
        course: Course,
        instruments: Catalogue,
        *,
        own: Material | None = None,
        start: int | None = None,
    ) -> None:
        """`own` is the learner's text. The page is that of number `start` from 0, or
        the one that was open last."""
        self.course, self._instruments = course, instruments
        self._material = own or Material(course.text, TEXT_NAME)
        self._saved = _read_progress()
        self._open: dict[int, Instrument] = {}
        if start is None:
            ids = [page.id for page in course.pages]
            start = ids.index(self._saved.page) if self._saved.page in ids else 0
        self.number = start
        """The page that is open, from 0."""

    @property
    def page(self) -> Page:
        return self.course.pages[self.number]

    @property
    def instrument(self) -> Instrument:
        """The instrument of the page; it stays as it was left."""
        if self.number not in self._open:
            kind = self._instruments[self.page.instrument]
            self._open[self.number] = kind(self.page.options, self._material)
        return self._open[self.number]

    def is_done(self, exercise: str, page: Page | None = None) -> bool:
        return exercise in self._saved.done.get((page or self.page).id, ())

    def is_complete(self, page: Page) -> bool:
        return all(self.is_done(exercise.id, page) for exercise in page.exercises)

    def note(self) -> bool:
        """Tick what the instrument has seen done, and save it; return whether anything
        was ticked now."""
        ids = (exercise.id for exercise in self.page.exercises)
        seen = self.instrument.done
        new = [id_ for id_ in ids if id_ in seen and not self.is_done(id_)]
        if new:
            self._saved.done.setdefault(self.page.id, []).extend(new)
            self._save()
        return bool(new)

    def move_to(self, number: int) -> bool:
        """Open another page; return whether there is one of this number."""
        if not 0 <= number < len(self.course.pages) or number == self.number:
            return False
        self.number = number
        self._saved.page = self.page.id
        self._save()
        return True

    def forget(self) -> None:
        """Open all instruments anew: another model was loaded."""
        self._open.clear()

    def _save(self) -> None:
        """Save what is done, with what another window has done meanwhile."""
        try:
            paths.ensure_folder(paths.state_folder())
            with paths.locked_folder(paths.state_folder()):
                for page, exercises in _read_progress().done.items():
                    mine = self._saved.done.setdefault(page, [])
                    mine += (id_ for id_ in exercises if id_ not in mine)
                saved = json.dumps(records.plain(self._saved)).encode()
                paths.write_atomically(_progress_file(), saved)
        except (OSError, LmtuiError):
            return


def _progress_file() -> Path:
    return paths.state_folder() / "learn.json"


def _read_progress() -> Progress:
    paths.make_private(_progress_file())
    try:
        return records.read(_progress_file(), Progress, title="", hint="")
    except LmtuiError:
        return Progress()
