"""The one error a user is meant to see.

Owns the shape of an error (what happened, the detail, what to do now). Knows
nothing of terminals: the command line and the screens turn it into text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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


@contextmanager
def panics_told(
    title: str = "a library that runs the model broke off",
    hint: str = "Use another model, or another text.",
) -> Iterator[None]:
    """Turn the panic of a library written in Rust into an LmtuiError. It is no
    Exception, so nothing that looks for those finds it.

    Raises:
        LmtuiError: there was one inside.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise LmtuiError(title, str(error), hint) from error
