"""Dialog with all pages of a course."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from lmtui.learn.lesson import Lesson
from lmtui.text import visible_line
from lmtui.tui.picker import Picker, PickerRows


class PagesScreen(Picker[int, int]):
    """The pages of a course, and what is done of each. Returns the number of the chosen
    one."""

    HELP = """\
A page is ticked once all that it asks for is done. Any page can be opened at any time.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="pages.close",
                tooltip="Stay on the page that is open."),
    ]  # fmt: skip

    def __init__(self, lesson: Lesson) -> None:
        pages = lesson.course.pages
        lines = []
        for number, page in enumerate(pages, 1):
            done = sum(lesson.is_done(exercise.id, page) for exercise in page.exercises)
            mark = "☑" if lesson.is_complete(page) else "☐"
            text = f"{mark} {number:>2}  {visible_line(page.title)}"
            lines.append(
                Content.assemble(text, (f"  {done} of {len(page.exercises)}", "$quiet"))
            )
        rows = PickerRows(
            range(len(pages)), lines, foot="Enter opens · Esc closes", at=lesson.number
        )
        super().__init__(lesson.course.title, rows)
