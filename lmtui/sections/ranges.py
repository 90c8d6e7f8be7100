"""Ranges that settings of several sections share."""

from __future__ import annotations

from typing import Any

from lmtui.errors import LmtuiError


def at_least_one(name: str, value: Any) -> None:
    """Refuse a number below 1.

    Raises:
        LmtuiError: it is one.
    """
    if isinstance(value, int) and value < 1:
        raise LmtuiError(f"{name} is out of range", f"{value}", "Give at least 1.")


def positive(name: str, value: Any) -> None:
    """Refuse a number below 0, or without end.

    Raises:
        LmtuiError: it is one.
    """
    _within(name, value, most=float("inf"))


def share(name: str, value: Any) -> None:
    """Refuse what is no part of a whole.

    Raises:
        LmtuiError: it is below 0 or above 1.
    """
    _within(name, value, most=1)


def _within(name: str, value: Any, *, most: float) -> None:
    if isinstance(value, int | float) and 0 <= value <= most and value < float("inf"):
        return
    bounds = "at least 0" if most > 1 else "from 0 to 1"
    raise LmtuiError(f"{name} is out of range", f"{value}", f"Give a value {bounds}.")
