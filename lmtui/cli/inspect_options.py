"""The options of `lmtui inspect`, as types for its signature."""

from __future__ import annotations

from typing import Annotated

import typer

from lmtui.cli import completion
from lmtui.engine.types import BosRule

PAGE_TOP = 5
"""Alternatives at each token of a page, where nothing else was asked for."""

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...", help="Text files; - is stdin.", show_default=False
    ),
]
Chat = Annotated[
    str | None,
    typer.Option(
        metavar="ID|last",
        help="A message of this conversation, instead of a file.",
        show_default=False,
        autocompletion=completion.conversations,
    ),
]
Number = Annotated[
    int | None,
    typer.Option(
        "--message",
        min=1,
        metavar="N",
        help="Which one, on the branch that is shown; unset is the last.",
        show_default=False,
    ),
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Shaded text and a summary; the default.")
]
Rows = Annotated[
    bool,
    typer.Option(
        "--summary",
        help="One row a file, and one for all; ece: the expected calibration error.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Order the rows by a column: the largest numbers first, or the names.",
        show_default=False,
    ),
]
Html = Annotated[
    str | None,
    typer.Option(
        metavar="OUT",
        help="Write a page for a browser, complete in itself, into this file.",
        show_default=False,
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help=f"Alternatives for each token; unset is 0, and {PAGE_TOP} with --html.",
        show_default=False,
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Tokens read together; unset is 2048, or the context if smaller.",
        show_default=False,
    ),
]
Stride = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Tokens between the starts of two windows; unset is half a window.",
        show_default=False,
    ),
]
Bos = Annotated[
    BosRule,
    typer.Option(help="Begin with the BOS token; auto does what the model does."),
]
Against = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Compare with another model on the same text.",
        show_default=False,
        autocompletion=completion.models,
        rich_help_panel="Model",
    ),
]
AgainstAdapter = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Compare with the same model and this adapter on it.",
        show_default=False,
        autocompletion=completion.adapters,
        rich_help_panel="Model",
    ),
]
