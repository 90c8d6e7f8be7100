"""The status line: what the program is doing, and with which model.

Owns one line of text and what of it is cut first; knows no engine. Model names are
foreign and made visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from textual import on
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from lmtui.engine.types import EngineInfo
from lmtui.tui.model_state import described, shown_label
from lmtui.tui.widgets.cells import clip, clip_middle, pack
from lmtui.tui.widgets.sampler_controls import SamplerControls


class HintLine(Static):
    """A line or two, hidden at first."""

    DEFAULT_CSS = """
    HintLine {
        display: none;
        height: auto;
        max-height: 3;
        padding: 0 2;
        background: $surface;
        &.-shown { display: block; }
    }
    """

    class Wondered(Message):
        """There is a screen with a hint; was it ever seen?"""

        def __init__(self, hint: HintLine) -> None:
            self.hint = hint
            super().__init__()

    def __init__(self, name: str, words: str) -> None:
        line = Content.assemble(
            ("New here? ", "bold $accent"), words, ("  Esc hides this.", "$quiet")
        )
        super().__init__(line, name=name, markup=False)

    def on_mount(self) -> None:
        """Ask."""
        self.post_message(self.Wondered(self))

    def show(self) -> None:
        """It was never seen."""
        self.add_class("-shown")

    def hide(self) -> bool:
        """It was read; whether there was anything to hide."""
        shown = self.has_class("-shown")
        self.remove_class("-shown")
        return shown

    def on_click(self) -> None:
        """A click hides it too."""
        self.hide()


class MainPart(Horizontal):
    """What is shown, side by side; it takes all room that the foot leaves."""

    def on_resize(self) -> None:
        """The foot takes other room than it did."""
        self.place_notices()

    @on(SamplerControls.Moved)
    def place_notices(self) -> None:
        """Keep what is below free of them."""
        free = self.region.bottom
        for sampler in self.query(SamplerControls):
            if sampler.region:
                free = sampler.region.y
        foot = self.screen.size.height - free
        for rack in self.screen.query("ToastRack"):
            rack.styles.margin = (0, 0, foot, 0)


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
