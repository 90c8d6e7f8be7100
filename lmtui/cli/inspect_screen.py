"""`lmtui inspect` on a terminal: one text in the inspector.

Owns the way from the verb's options to the screen. The screen is imported late.
"""

from __future__ import annotations

from pathlib import Path

from lmtui.cli.loading import OpenEngine
from lmtui.cli.screen import open_screen
from lmtui.engine.types import BosRule
from lmtui.reading import Document
from lmtui.settings import Settings


def open_inspector(
    settings: Settings,
    document: Document,
    *,
    bos: BosRule,
    window: int | None,
    stride: int | None,
    no_color: bool,
    open_engine: OpenEngine | None,
) -> None:
    """Look into one text on the screen until the user leaves it.

    Raises:
        LmtuiError: there is no theme of the name that was asked for.
    """
    from lmtui.tui.subject import Subject

    subject = Subject(
        Path(document.name).name,
        read=lambda: document.text,
        bos=bos,
        window=window,
        stride=stride,
    )
    open_screen(
        settings,
        first="inspect",
        subject=subject,
        no_color=no_color,
        open_engine=open_engine,
    )
