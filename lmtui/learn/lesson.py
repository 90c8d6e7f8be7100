"""A learner's way through the course: the open page, and the exercises that are done.

Progress is saved whenever an exercise is done or a page opened. A broken or unwritable
file counts as none: progress is optional state, and never an error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.learn.course import TEXT_NAME, Catalogue, Course, Page
from lmtui.learn.instrument import Instrument, Material


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
            ids, last = [page.id for page in course.pages], self._saved["page"]
            start = ids.index(last) if last in ids else 0
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
        return exercise in self._saved["done"].get((page or self.page).id, ())

    def is_complete(self, page: Page) -> bool:
        return all(self.is_done(exercise.id, page) for exercise in page.exercises)

    def note(self) -> bool:
        """Tick what the instrument has seen done, and save it; return whether anything
        was ticked now."""
        ids = (exercise.id for exercise in self.page.exercises)
        seen = self.instrument.done
        new = [id_ for id_ in ids if id_ in seen and not self.is_done(id_)]
        if new:
            self._saved["done"].setdefault(self.page.id, []).extend(new)
            self._save()
        return bool(new)

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
        """Save what is done, with what another window has done meanwhile."""
        try:
            paths.ensure_folder(paths.state_folder())
            with paths.locked_folder(paths.state_folder()):
                for page, exercises in _read_progress()["done"].items():
                    mine = self._saved["done"].setdefault(page, [])
                    mine += (id_ for id_ in exercises if id_ not in mine)
                saved = json.dumps(self._saved).encode()
                paths.write_atomically(_progress_file(), saved)
        except (OSError, LmtuiError):
            return


def _progress_file() -> Path:
    return paths.state_folder() / "learn.json"


def _read_progress() -> dict[str, Any]:
    """Return what is saved, as far as it can be used: the last page, and the exercises
    done of each."""
    paths.make_private(_progress_file())
    try:
        saved = json.loads(_progress_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        saved = None
    known = saved if isinstance(saved, dict) else {}
    done = known.get("done")
    pages = done.items() if isinstance(done, dict) else ()
    return {
        "page": known.get("page"),
        "done": {page: ids for page, ids in pages if isinstance(ids, list)},
    }
