"""`lmtui learn`: the course on a screen or as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui.cli import options
from lmtui.cli.engine import engine_for
from lmtui.cli.output import Output, read_document
from lmtui.cli.screen import is_interactive, open_screen, read_lesson
from lmtui.errors import LmtuiError
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.learn.course import Paragraph
    from lmtui.learn.instrument import Instrument, Material
    from lmtui.learn.lesson import Lesson

Which = Annotated[
    str | None,
    typer.Argument(
        metavar="[PAGE]",
        help="A page by number or name; unset for the one that was open last.",
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
        help="Open no screen: print the page, for screen readers; the default in a "
        "pipe.",
    ),
]


@options.with_settings(*options.MODEL, "theme")
def learn(
    ctx: typer.Context,
    page: Which = None,
    text: Text = None,
    *,
    plain: Plain = False,
    no_color: options.NoColor = False,
) -> None:
    """Learn how a language model works, by doing.

    A course of short pages, each with a live instrument on a real model: guess the next
    word, multiply probabilities, move a slider, train a small model from random
    weights. What you have done is ticked, and saved.

    \b
    Examples:
      lmtui learn
      lmtui learn 3
      lmtui learn the-chain-rule --text my-essay.txt
      lmtui learn 3 --plain
    """
    settings = options.settings(ctx)
    on_screen = not plain and is_interactive()  # before stdin is read as a text
    lesson = read_lesson(page, _own_text(text))
    if on_screen:
        open_screen(
            settings,
            first="learn",
            open_lesson=lambda: lesson,
            no_color=no_color,
            open_engine=ctx.obj,
        )
        return
    engine = engine_for(ctx, settings)
    from lmtui.learn.instrument import run_inline

    run_inline(lesson.instrument.begin(), engine)
    Output().text("\n".join(_page_lines(lesson)) + "\n")


def _own_text(text: str | None) -> Material | None:
    from lmtui.learn.instrument import Material

    if text is None:
        return None
    source = read_document(text)
    if not source.text.strip():
        raise LmtuiError("the text is empty", source.name, "Give another --text.")
    return Material(source.text, Path(source.name).name, is_own=True)


def _page_lines(lesson: Lesson) -> Iterator[str]:
    """Yield a page as plain text: what it says, what is to be done on its screen, and
    the figure of its instrument as sentences."""
    from lmtui.learn.course import sentence_text
    from lmtui.learn.figure_lines import figure_text

    page, instrument = lesson.page, lesson.instrument
    keys = _key_names(instrument)

    def texts(paragraphs: list[Paragraph]) -> Iterator[str]:
        for paragraph in paragraphs:
            mark = "- " if paragraph.is_item else ""
            yield mark + sentence_text(paragraph.spans, keys)
            yield ""

    yield f"Page {lesson.number + 1} of {len(lesson.course.pages)}"
    yield page.title
    yield ""
    yield from texts(page.before)
    for exercise in page.exercises:
        state = "done" if lesson.is_done(exercise.id) else "to do"
        yield f"- {state}: {sentence_text(exercise.sentence, keys)}"
    yield ""
    if instrument.message:
        yield visible_line(instrument.message)
    yield from figure_text(instrument.figure)
    yield ""
    yield from texts(page.after)
    yield sentence_text(page.textbook, keys)


def _key_names(instrument: Instrument) -> dict[str, str]:
    """Return what the text of a page calls the keys of its screen."""
    from lmtui.learn.instrument import SLIDE

    actions = {id_: f"“{words}”" for id_, words in instrument.ACTIONS.items()}
    return {"enter": "Enter", SLIDE: "↑ or ↓", **actions}
