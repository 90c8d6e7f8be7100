"""Errors of the command line's parser, in the program's own words.

Owns the words. What the parser or its validation says about a value depends on the
versions of two libraries; what is not known here stays as they say it.
"""

from __future__ import annotations

import re

from lmtui.errors import LmtuiError

# What the libraries say of a value that a flag does not take, and what it takes.
_TAKES = (
    (re.compile(r"valid integer"), "a whole number"),
    (re.compile(r"valid (?:number|float)"), "a number"),
    (re.compile(r"(?:greater than or equal to |x>=)(-?\d+)"), r"at least \1"),
)
_CHOICES = re.compile(r"is not one of (.+?)\.?$")


def explained(error: Exception) -> LmtuiError | None:
    """A usage error of the parser as one of ours; None for any other exception."""
    # The parser's own exceptions have moved between packages; their names have not.
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        return None
    context = getattr(error, "ctx", None)
    hint = f"See `{context.command_path if context else 'lmtui'} --help`."
    match type(error).__name__:
        case "BadParameter" if taken := _taken(str(getattr(error, "message", ""))):
            return LmtuiError(f"{_name(error)} takes {taken}", _given(error), hint)
        case "NoSuchOption":
            title = str(getattr(error, "message", "")).rstrip(".")
            if close := sorted(getattr(error, "possibilities", None) or ()):
                hint = f"Did you mean {' or '.join(close)}? {hint}"
            return LmtuiError(title, "", hint)
    message = str(format_message()).rstrip(".")
    if extra := re.fullmatch(
        r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", message
    ):
        return LmtuiError("Too many arguments", extra[1], hint)
    return LmtuiError(message, "", hint)


def _taken(message: str) -> str:
    """The values that a flag takes, by a library's words about one it does not."""
    for said, takes in _TAKES:
        if found := said.search(message):
            return found.expand(takes)
    if found := _CHOICES.search(message):
        *others, last = re.findall(r"'([^']*)'", found[1]) or [found[1]]
        return f"{', '.join(others)} or {last}" if others else last
    return ""


def _name(error: Exception) -> str:
    """The flag or argument as the user writes it."""
    parameter = getattr(error, "param", None)
    flags = [name for name in getattr(parameter, "opts", ()) if name.startswith("-")]
    return flags[0] if flags else str(getattr(parameter, "metavar", "") or "this")


def _given(error: Exception) -> str:
    """The value that the user wrote, where the library tells."""
    details = getattr(error.__cause__, "errors", None)
    return str(details()[0].get("input", "")) if details else ""
