"""The processor, shared with other programs of ours.

Owns the words, and when a person is asked. On a GPU it hardly matters; which device a
program will use is not known before it has loaded torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from lmtui import busy
from lmtui.cli.edge import note
from lmtui.text import visible_line


def tell_of_others(*, trainings_only: bool = False) -> bool:
    """Say on stderr what else computes on this machine; whether anything does."""
    uses = [use for use in busy.others() if use.trains or not trainings_only]
    for use in uses:
        words = visible_line(use.words)
        note(f"note: {words} runs too; on a CPU they slow each other down\n")
    return bool(uses)


@contextmanager
def sharing_if_wanted(what: str) -> Iterator[None]:
    """Let others know that this program computes; where one trains, first ask whether
    to go on.

    Raises:
        typer.Abort: it is not wanted.
    """
    if tell_of_others(trainings_only=True):
        typer.confirm("Go on all the same?", default=True, abort=True, err=True)
    with busy.using(what):
        yield
