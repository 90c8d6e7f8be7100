"""`lmtui help`: texts about a subject, each a file in `lmtui/topics`."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated

import typer

from lmtui.cli import completion
from lmtui.cli.output import Output, table
from lmtui.errors import LmtuiError


def topics() -> dict[str, Traversable]:
    entries = (files("lmtui") / "topics").iterdir()
    named = {file.name.removesuffix(".txt"): file for file in entries}
    return {name: named[name] for name in sorted(named)}


Topic = Annotated[
    str | None,
    typer.Argument(
        metavar="TOPIC",
        help="A name from the list.",
        autocompletion=completion.values(tuple(topics())),
    ),
]


def help_on(topic: Topic = None) -> None:
    """Read about a topic; without TOPIC, list the topics.

    \b
    Examples:
      lmtui help
      lmtui help numbers
      lmtui help glossary
    """
    known, output = topics(), Output()
    if topic is None:
        rows = [[name, _title(file)] for name, file in known.items()]
        output.text(table(["topic", "about"], rows, terminal=output.is_terminal))
        return
    if topic not in known:
        close = get_close_matches(topic, known, n=1)
        hint = f"Did you mean {close[0]}?" if close else "See `lmtui help`."
        raise LmtuiError("there is no such topic", topic, hint)
    output.text(known[topic].read_text(encoding="utf-8"))


def _title(file: Traversable) -> str:
    return file.read_text(encoding="utf-8").partition("\n")[0]
