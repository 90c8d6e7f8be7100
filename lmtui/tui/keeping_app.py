"""What an app says when conversations can't be kept, and when they can again.

Owns the words. Knows nothing of what is kept where.
"""

from __future__ import annotations

from textual import on
from textual.app import App

from lmtui.text import visible, visible_line
from lmtui.tui import chat_facts as kept


class KeepingApp(App[None]):
    """Tells what becomes of the conversations."""

    @on(kept.KeepingFailed)
    def tell_not_kept(self, event: kept.KeepingFailed) -> None:
        """What is said stays on the screen; say why it is nowhere else."""
        error = event.error
        self.notify(
            visible(f"{error.detail}\n{error.hint}".strip()),
            title=f"Not kept: {visible_line(error.title)}",
            severity="error",
            markup=False,
            timeout=15,
        )

    @on(kept.KeepingRecovered)
    def tell_kept(self) -> None:
        """What was held is on the disk by now."""
        self.notify("What was said is kept again.")
