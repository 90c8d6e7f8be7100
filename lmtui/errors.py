"""The error class that users see: what happened, the detail, and what to do now.

Knows no terminal: the command line and the screens turn it into text.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager


class LmtuiError(Exception):
    """A failure caused by the user's input or environment, never by a bug."""

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


class BugError(LmtuiError):
    """A failure that nobody foresaw; its traceback is in the log."""


class Unavailable(LmtuiError):
    """This machine can't do it for now: it is busy, or ending."""


class SystemLimitError(Unavailable):
    """A failure to start a thread or a process, since the system has too many."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            "no thread or process can be started",
            detail,
            "End some programs and try again; `ulimit -u` shows how many processes "
            "are allowed.",
        )


def system_limit(error: BaseException) -> SystemLimitError | None:
    """Return the error for what threads, processes and libraries raise where the
    system starts no more of them; None for any other exception."""
    if isinstance(error, OSError):
        return SystemLimitError(str(error)) if error.errno == errno.EAGAIN else None
    # Of Python's threads, and those of libraries in C++ and Rust.
    if re.search("start new thread|temporarily unavailable", str(error)):
        return SystemLimitError(str(error))
    return None


class Cancelled(Exception):
    """Raised by the engine where work is stopped on request; never shown as an
    error."""


@contextmanager
def panics_as_errors(
    title: str = "a library that runs the model broke off",
    hint: str = "Use another model, or another text.",
) -> Iterator[None]:
    """Turn the panic of a library written in Rust into an LmtuiError. A panic is a
    BaseException, so that `except Exception` does not catch it."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        limit = system_limit(error)
        raise limit or LmtuiError(title, str(error), hint) from error
