"""The one error a user is meant to see.

Owns the shape of an error (what happened, the detail, what to do now). Knows
nothing of terminals: the command line and the screens turn it into text.
"""

from __future__ import annotations


class LmtuiError(Exception):
    """A failure of the user's input or environment, never a bug of the program."""

    def __init__(self, title: str, detail: str = "", hint: str = "") -> None:
        super().__init__(title)
        self.title = title
        """What happened, in one clause without a full stop."""
        self.detail = detail
        """The facts: a path, a number, the library's own words."""
        self.hint = hint
        """What the user can do now, as an imperative sentence."""

    def __str__(self) -> str:
        return f"{self.title}: {self.detail}" if self.detail else self.title


class Cancelled(Exception):
    """Work was stopped on request; raised by the engine, never shown as an error."""
