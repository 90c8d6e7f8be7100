"""The two lines above a training: what is trained, how it is with it, how far.

Owns the bar and the words. Knows no engine and no screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len

from lmtui.tui.widgets.cells import clip, pack_best
from lmtui.tui.widgets.styled_lines import Line, StyledLines

_BAR = (8, 48)  # cells, least and most


@dataclass(frozen=True, slots=True)
class Head:
    """What the lines say."""

    title: str
    state: str
    share: float | None = None
    """How much is done, from 0 to 1; None while nothing can be counted."""
    progress: Sequence[Sequence[str]] = ((),)
    """How far it is, in words, ever shorter."""


class RunHead(StyledLines):
    """Title and state, a bar and what it counts."""

    PREFIX = "head--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "head--title",
        "head--state",
        "head--done",
        "head--quiet",
    }
    DEFAULT_CSS = """
    RunHead { height: 2; color: $foreground; }
    RunHead > .head--title { color: $primary; text-style: bold; }
    RunHead > .head--state { color: $accent; text-style: bold; }
    RunHead > .head--done { color: $primary; }
    RunHead > .head--quiet { color: $quiet; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._head = Head("", "")

    def show(self, head: Head) -> None:
        """Say this."""
        if head != self._head:
            self._head = head
            self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """The title to the left, the state to the right; the bar below."""
        head = self._head
        state = clip(head.state, width // 2)
        title = clip(head.title, max(0, width - cell_len(state) - 2))
        gap = width - cell_len(title) - cell_len(state)
        first: Line = [(title, "title"), (" " * gap, ""), (state, "state")]
        if head.share is None:
            return [first, [(pack_best(head.progress, width)[0], "quiet")]]
        return [first, self._bar(head.share, width)]

    def _bar(self, share: float, width: int) -> Line:
        room = min(_BAR[1], max(_BAR[0], width * 2 // 5))
        words = pack_best(self._head.progress, max(1, width - room - 7))[0]
        done = int(room * min(1.0, max(0.0, share)))
        return [
            ("━" * done, "done"),
            ("─" * (room - done), "quiet"),
            (f" {int(100 * min(1.0, share)):3d}%  ", ""),
            (words, "quiet"),
        ]
