"""A learner's way through a course: the open page, and the exercises that are done.

Progress is saved whenever an exercise is done or a page opened. A broken or unwritable
file counts as none: progress is optional state, and never an error.
"""

from __future__ import annotations

import json
from typing import Any

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.learn.course import Catalogue, Course, Page
from lmtui.learn.instrument import Instrument, Material


class Lesson:
    """The open page of a course and its instrument, and what is done of each page."""

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
        self._material = own or Material(course.text, course.text_name)
        self._saved = _read(course.id)
        self._open: dict[int, Instrument] = {}
        self.number = self._last() if start is None else start
        """The page that is open, from 0."""

    def _last(self) -> int:
        ids = [page.id for page in self.course.pages]
        last = self._saved.get("page")
        return ids.index(last) if last in ids else 0

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
        """Return whether an exercise of a page was done, now or earlier."""
        return exercise in self._done_of(page or self.page)

    def is_complete(self, page: Page) -> bool:
        return all(self.is_done(exercise.id, page) for exercise in page.exercises)

    def _done_of(self, page: Page) -> list[str]:
        found: list[str] = self._saved["done"].setdefault(page.id, [])
        return found

    def note(self) -> tuple[str, ...]:
        """Tick what the instrument has seen done, and save it; return the ids of the
        exercises that were ticked now."""
        done, page = self.instrument.done, self.page
        new = [
            exercise.id
            for exercise in page.exercises
            if exercise.id in done and not self.is_done(exercise.id)
        ]
        if new:
            self._done_of(page).extend(new)
            self._save()
        return tuple(new)

    def move_to(self, number: int) -> bool:
        """Open another page; return whether there is one of this number."""
        if not 0 <= number < len(self.course.pages) or number == self.number:
            return False
        self.number = number
        self._saved["page"] = self.page.id
        self._save()
        return True

    def forget(self) -> None:
        """Open all instruments anew: another model was loaded."""
        self._open.clear()

    def _save(self) -> None:
        _merge(self.course.id, self._saved)


def _file() -> Any:
    return paths.state_folder() / "learn.json"


def _read_all() -> dict[str, Any]:
    paths.make_private(_file())
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(course: str) -> dict[str, Any]:
    """Return what is saved of a course: the last page, and the exercises done of
    each."""
    return _checked(_read_all().get(course))


def _checked(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        return {"done": {}}
    done = found.get("done")
    known = {
        page: [exercise for exercise in exercises if isinstance(exercise, str)]
        for page, exercises in (done.items() if isinstance(done, dict) else ())
        if isinstance(exercises, list)
    }
    return {"page": found.get("page"), "done": known}


def _merge(course: str, saved: dict[str, Any]) -> None:
    """Save a course. What another window has done meanwhile is added to `saved`."""
    try:
        paths.ensure_folder(paths.state_folder())
        with paths.locked_folder(paths.state_folder()):
            whole = _read_all()
            for page, exercises in _checked(whole.get(course))["done"].items():
                mine = saved["done"].setdefault(page, [])
                mine += (each for each in exercises if each not in mine)
            whole[course] = saved
            paths.write_atomically(_file(), json.dumps(whole).encode())
    except (OSError, LmtuiError):
        return
