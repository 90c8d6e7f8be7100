"""`lmtui inspect` on a terminal: one text in the inspector.

Owns the way from the verb's options to the screen. The screen is imported late.
"""

from __future__ import annotations

from pathlib import Path

import typer

from lmtui.cli.scoring import Rules
from lmtui.cli.screen import open_screen
from lmtui.models.wanted import Wanted
from lmtui.reading import Document
from lmtui.settings import Settings


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
    model is compared with, if anything.

    Raises:
        LmtuiError: there is no theme of the name that was asked for.
    """
    from lmtui.tui.subject import Subject

    subject = Subject(
        Path(document.name).name,
        read=lambda: document.text,
        bos=rules.bos,
        window=rules.window,
        stride=rules.stride,
    )
    open_screen(
        settings,
        first="inspect",
        subject=subject,
        against=other,
        no_color=no_color,
        open_engine=context.obj,
    )
