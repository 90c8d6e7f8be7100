"""The course as web pages: each page is written once its numbers are there."""

from __future__ import annotations

import os
from pathlib import Path

from lmtui import cancellation, paths
from lmtui.cli.errors import cancel_on_interrupt, note
from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.learn.course import Catalogue, Course
from lmtui.learn.handout.worksheet import worksheet
from lmtui.learn.handout.writer import INDEX, Handout, file_name
from lmtui.learn.instrument import Material
from lmtui.text import visible_line


def require_folder(out: Path) -> None:
    """Check that pages can be written into a folder, or that it can be made.

    Called before a model is loaded.
    """
    if os.path.lexists(out) and not out.is_dir():
        hint = "Name a folder; it is made if there is none."
        raise _unwritten(out, "it is a file", hint)
    above = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not above.is_dir():
        raise _unwritten(out, f"{above} is a file", "Name another folder.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise _unwritten(out, f"{above} is read-only", "Name another folder.")


def _unwritten(out: Path, why: str, hint: str) -> LmtuiError:
    return LmtuiError("the pages can't be written", f"{out}: {why}", hint)


def write_handout(
    course: Course, material: Material, instruments: Catalogue, *,
    engine: Engine, out: Path,
) -> None:  # fmt: skip
    """Write all pages of a course into a folder, with the numbers of a model."""
    handout = Handout(course, engine.info, material.name)
    with cancel_on_interrupt():
        for number, page in enumerate(course.pages):
            title = visible_line(page.title)
            note(f"page {number + 1} of {len(course.pages)}: {title}\n")
            sheet = worksheet(instruments[page.instrument], page, material, engine)
            if sheet.error is not None:
                note(f"warning: {visible_line(str(sheet.error))}\n")
            _write(out, file_name(course, number), handout.page(sheet))
        _write(out, INDEX, handout.index())
    note(f"wrote {visible_line(str(out / INDEX))}\n")


def _write(out: Path, name: str, text: str) -> None:
    """Write a page whole, or leave what is there."""
    cancellation.check()
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths.write_atomically(out / name, text.encode(), private=False)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "Free some space, or name another folder."
        raise _unwritten(out / name, reason, hint) from error
