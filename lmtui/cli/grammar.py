"""Flags that give an answer a grammar: `--schema`, `--regex` and `--grammar`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmtui.cli.output import require_text
from lmtui.engine.grammar.text import Grammar, read_grammar, read_schema
from lmtui.errors import LmtuiError

Schema = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        help="Allow only JSON that follows this JSON schema.",
    ),
]
Regex = Annotated[
    str | None,
    typer.Option(
        "--regex",
        metavar="RE",
        help="Allow only a text that matches this regular expression as a whole.",
    ),
]
GrammarFile = Annotated[
    Path | None,
    typer.Option(
        "--grammar",
        metavar="FILE",
        help="Allow only a text that follows this grammar: Lark, or llama.cpp's GBNF.",
    ),
]


def grammar_setting(
    schema: Path | None, regex: str | None, grammar: Path | None
) -> str | None:
    """Return the grammar of these flags as a setting; None without one of them."""
    if [schema, regex, grammar].count(None) < 2:
        raise LmtuiError(
            "an answer can follow one grammar only",
            "",
            "Give one of --schema, --regex and --grammar.",
        )
    if schema is not None:
        return checked(read_schema(schema))
    if regex is not None:
        return checked(Grammar("regex", require_text(regex, "--regex")))
    return None if grammar is None else checked(read_grammar(grammar))


def checked(grammar: Grammar) -> str:
    """Return a grammar as a setting, once it has compiled."""
    from lmtui.engine.grammar.compile import check_grammar

    check_grammar(grammar)
    return grammar.setting
