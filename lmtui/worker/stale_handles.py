"""Requests about an earlier position, whose numbers may be gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.worker.requests import Context

T = TypeVar("T")


def of_position(
    read: Callable[[Engine], T], title: str, hint: str
) -> Callable[[Engine, Context], T]:
    """Return a request that reads a position; where its numbers are gone, the error has
    this title and hint."""

    def run(engine: Engine, _: Context) -> T:
        try:
            return read(engine)
        except KeyError as error:
            why = "the numbers of this position are no longer in memory"
            raise LmtuiError(title, why, hint) from error

    return run
