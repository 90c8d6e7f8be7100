"""Results on stdout.

Owns the one difference between a terminal, which gets only what is safe to draw,
and a pipe, which gets the text as it is. Every write is flushed: the reader sees
an answer grow.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from lmtui.cli.edge import output_failed
from lmtui.cli.jsonl import Event, encode
from lmtui.text import visible_flow


class Output:
    """Where results go."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.is_terminal = self._stream.isatty()
        self._at_line_start = True

    def text(self, text: str) -> None:
        """Write a piece of a text that was not written here."""
        if text:
            self._at_line_start = text.endswith("\n")
            self._write(visible_flow(text) if self.is_terminal else text)

    def end_line(self) -> None:
        """Write a newline unless the text has just ended with one."""
        if not self._at_line_start:
            self.text("\n")

    def event(self, event: Event) -> None:
        """Write one JSON line."""
        self._write(encode(event))

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise output_failed(error) from error


def stdin_is_terminal() -> bool:
    """Whether a person could be typing."""
    return sys.stdin is not None and sys.stdin.isatty()


def prepare_streams() -> None:
    """Make stdout UTF-8 for a reader, and never fail on a terminal that is not.

    A stdout that was closed before the start takes everything and keeps nothing.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is None:
            continue
        if stream.isatty():
            reconfigure(errors="backslashreplace")
        else:
            reconfigure(encoding="utf-8", errors="backslashreplace")
