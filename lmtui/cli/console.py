"""A console of Rich that draws what it is given, and ends with a closed pipe."""

from __future__ import annotations

import sys
from typing import NoReturn

from rich.console import Console


class _Console(Console):
    """Console that raises BrokenPipeError for a closed pipe, as `guarded` expects."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def terminal_console(*, no_color: bool = False) -> Console:
    """Return a Rich console on stdout, without markup, highlighting and emoji."""
    return _Console(
        file=sys.stdout,
        no_color=no_color or None,
        markup=False,
        highlight=False,
        emoji=False,
    )
