"""`lmtui inspect` on a terminal: one text in the inspector.

Owns the way from the verb's options to the screen. The screen is imported late.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lmtui.cli.inspect_chat import KeptMessage
from lmtui.cli.scoring import Rules
from lmtui.cli.screen import open_screen
from lmtui.models.wanted import Wanted
from lmtui.reading import Document
from lmtui.settings import Settings

if TYPE_CHECKING:
    from lmtui.tui.subject import Subject


def open_inspector(
    context: typer.Context,
    settings: Settings,
    document: Document,
    rules: Rules,
    other: Wanted | None,
    *,
    no_color: bool,
) -> None:
    """Look into one text on the screen until the user leaves it; `other` is what the
    model is compared with, if anything."""
    open_screen(
        settings,
        first="inspect",
        subject=_subject(document, rules),
        against=other,
        no_color=no_color,
        open_engine=context.obj,
    )


def _subject(document: Document, rules: Rules) -> Subject:
    if isinstance(document, KeptMessage):
        return document.subject(rules)
    from lmtui.tui.subject import Subject

    return Subject(
        Path(document.name).name,
        read=lambda: document.text,
        bos=rules.bos,
        window=rules.window,
        stride=rules.stride,
    )
