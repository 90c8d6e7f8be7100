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
        metavar="FILE...",
        help="Text files; - is stdin, and so is no file in a pipe.",
        show_default=False,
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
        help="Number of the message on the current branch; unset is the last one.",
        show_default=False,
    ),
]
Plain = Annotated[
    bool,
    typer.Option(
        "--plain", help="Print shaded text and a summary; the default in a pipe."
    ),
]
Rows = Annotated[
    bool,
    typer.Option(
        "--summary",
        help="Print one row per file, and one for all together; ece is the expected "
        "calibration error.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Sort the rows by a column: the largest numbers first, or by name.",
        show_default=False,
    ),
]
Html = Annotated[
    str | None,
    typer.Option(
        metavar="OUT",
        help="Write a self-contained web page into this file.",
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
    typer.Option(help="Begin with the BOS token; auto follows the tokenizer."),
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
