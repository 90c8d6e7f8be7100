"""The status line: what the program is doing, and with which model.

Owns one line of text and what of it is cut first; knows no engine. Model names are
foreign and made visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from lmtui.engine.types import EngineInfo
from lmtui.tui.model_state import described, shown_label
from lmtui.tui.widgets.cells import clip, clip_middle, pack

_SHORTEST = 8  # cells of a name whose middle is cut
_HINTED = 60  # cells from which on there is room for a hint
_GAP = 2  # cells before a hint


class Status(Static):
    """State on the left, model and precision after it, and keys at the right."""

    DEFAULT_CSS = """
    Status {
        width: 100%;
        height: 1;
        padding: 0 1;
        background: $panel;
        color: $foreground;
    }
    """
    state: reactive[str] = reactive("")
    """What is going on, as a few words; what matters least comes last, after ` · `."""
    model: reactive[str] = reactive("")
    """The model in use."""
    path: reactive[tuple[str, ...]] = reactive(())
    """How it is computed: first in full, then only whether exactly."""
    told: reactive[str] = reactive("")
    """What the model is told that no message says, as a few words."""
    hints: reactive[tuple[str, ...]] = reactive(())
    """What the most important keys do, ever shorter."""

    def render(self) -> Content:
        """One line; what does not fit is cut in the order of its worth."""
        width = max(1, self.content_size.width)
        room = width - self._reserved(width)
        line = fitted(self.state, self.model, self.path, self.told, width=room)
        free = width - cell_len(line) - _GAP
        hint = next((hint for hint in self.hints if cell_len(hint) <= free), "")
        if width < _HINTED or not hint:
            return Content(line)
        space = " " * (width - cell_len(line) - cell_len(hint))
        return Content.assemble(line, space, (hint, "$quiet"))

    def _reserved(self, width: int) -> int:
        """Cells that are left to the hints: for all of the keys, where that costs no
        more than details of the state and of the path, or for the last."""
        if width < _HINTED or not self.hints:
            return 0
        first, precision = self.state.split(" · ")[0], "".join(self.path[-1:])
        parts = (first, self.model, precision, self.told)
        needed = cell_len(" · ".join(filter(None, parts)))
        rooms = [cell_len(hint) + _GAP for hint in self.hints[1:]]
        return next((room for room in rooms if needed + room <= width), rooms[-1])

    def show_info(self, info: EngineInfo | None) -> None:
        """Name the model, if there is one."""
        self.model = shown_label(info.label) if info else ""
        self.path = (described(info), info.precision) if info else ()


def fitted(
    state: str, model: str, path: Sequence[str], told: str, *, width: int
) -> str:
    """All of it in so many cells: the state loses what it says last, the path all but
    its first word, the name its middle. Whether it is exact or fast stays."""
    for parts in _forms(state.split(" · "), model, path, told, width):
        packed = pack([part for part in parts if part], width, lines=1)
        if packed:
            return packed[0]
    first = state.partition(" · ")[0]
    if not path:
        return clip(first, width)
    return " · ".join((clip(first, max(1, width - cell_len(path[-1]) - 3)), path[-1]))


def _forms(
    said: Sequence[str], model: str, path: Sequence[str], told: str, width: int
) -> Iterator[Sequence[str]]:
    """The same, ever shorter."""
    for count in range(len(said), 0, -1):
        yield *said[:count], model, *path[:1], told
    yield said[0], model, *path[-1:], told
    others = [part for part in (said[0], *path[-1:], told) if part]
    room = width - sum(cell_len(part) + 3 for part in others)
    if room >= _SHORTEST:
        yield said[0], clip_middle(model, room), *path[-1:], told
    yield said[0], *path[-1:], told
    yield said[0], *path[-1:]
