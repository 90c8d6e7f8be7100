"""`lmtui learn`: a course on a screen or as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui.cli import options
from lmtui.cli.engine import engine_for
from lmtui.cli.output import read_document
from lmtui.cli.screen import is_interactive, open_screen
from lmtui.errors import LmtuiError

if TYPE_CHECKING:
    from lmtui.learn.instrument import Material
    from lmtui.learn.lesson import Lesson

Which = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[COURSE] [PAGE]",
        help="The folder of a course, unset for the one that comes with the program; "
        "and a page by number or name, unset for the one that was open last.",
    ),
]
Text = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A text of your own, which the pages then use; - is stdin.",
    ),
]
Plain = Annotated[
    bool,
    typer.Option(
        "--plain",
        help="Open no screen: text and questions line by line, for screen readers; the "
        "default in a pipe.",
    ),
]


@options.with_settings(*options.MODEL, "theme")
def learn(
    ctx: typer.Context,
    which: Which = None,
    text: Text = None,
    *,
    plain: Plain = False,
    no_color: options.NoColor = False,
) -> None:
    """Learn how a language model works, by doing.

    A course of short pages, each with a live instrument on a real model: guess the next
    word, multiply probabilities, move a slider, train a small model from random
    weights. What you have done is ticked, and saved. `lmtui help learn` says how to
    write a course of your own.

    \b
    Examples:
      lmtui learn
      lmtui learn 3
      lmtui learn the-chain-rule --text my-essay.txt
      lmtui learn my-course/
      lmtui learn --plain
    """
    settings = options.settings(ctx)
    lesson = open_lesson(which or [], text)
    if not plain and is_interactive():
        open_screen(
            settings,
            first="learn",
            open_lesson=lambda: lesson,
            no_color=no_color,
            open_engine=ctx.obj,
        )
        return
    engine = engine_for(ctx, settings)
    from lmtui.cli.learn.dialog import Dialog

    Dialog(lesson, engine).run()


def open_lesson(which: Sequence[str], text: str | None) -> Lesson:
    """Return the course that the arguments name, at the page that they name."""
    from lmtui.learn.course import first_course, read_course
    from lmtui.learn.instruments.catalogue import INSTRUMENTS
    from lmtui.learn.lesson import Lesson

    given = list(which)
    folder = Path(given.pop(0)) if given and _is_folder(given[0]) else first_course()
    course = read_course(folder, INSTRUMENTS)
    page = course.number_of(given.pop(0)) if given else None
    if given:
        raise LmtuiError("too many arguments", given[0], "Give [COURSE] [PAGE].")
    return Lesson(course, INSTRUMENTS, own=_own_text(text), start=page)


def _own_text(text: str | None) -> Material | None:
    from lmtui.learn.instrument import Material

    if text is None:
        return None
    source = read_document(text)
    if not source.text.strip():
        raise LmtuiError("the text is empty", source.name, "Give another --text.")
    return Material(source.text, Path(source.name).name, is_own=True)


def _is_folder(name: str) -> bool:
    return "/" in name or Path(name).is_dir()
