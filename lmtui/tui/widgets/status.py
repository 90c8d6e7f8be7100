"""The status line, the hint line, and the main area of a screen.

`Status` is one line: state, model, how it computes. Where it does not fit, parts
are dropped or cut in a fixed order. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import on
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from lmtui.engine.types import EngineInfo
from lmtui.text import visible_line
from lmtui.tui.model_state import described, shown_label
from lmtui.tui.widgets.cells import clip, clip_middle, pack
from lmtui.tui.widgets.sampler_controls import SamplerControls

_SHORTEST = 8  # least cells of a model name that is cut in the middle


class HintLine(Static):
    """A hint that is shown once ever, of up to three lines; hidden at first."""

    DEFAULT_CSS = """
    HintLine {
        display: none;
        max-height: 3;
        padding: 0 2;
        background: $surface;
        &.-shown { display: block; }
    }
    """

    @dataclass
    class HintReady(Message):
        """A hint fits now; `show` it if the user has not seen it before."""

        hint: HintLine

    def __init__(
        self, name: str, text: str, *, lead: str = "New here?", at_once: bool = True
    ) -> None:
        line = Content.assemble(
            (f"{lead} ", "bold $accent"), text, ("  Esc hides this.", "$quiet")
        )
        super().__init__(line, name=name, markup=False)
        self._at_once = at_once

    def on_mount(self) -> None:
        if self._at_once:
            self.show_if_new()

    def show_if_new(self) -> None:
        # Later, as the hint itself: what its parent sends does not get beyond that.
        self.call_later(lambda: self.post_message(self.HintReady(self)))

    def show(self) -> None:
        self.add_class("-shown")

    def hide(self) -> bool:
        """Return whether the hint was shown."""
        was_shown = self.has_class("-shown")
        self.remove_class("-shown")
        return was_shown

    def on_click(self) -> None:
        self.hide()


class MainPart(Horizontal):
    """The main area of a screen; it takes the height that the lines below leave."""

    def on_resize(self) -> None:
        self.move_toasts()

    @on(SamplerControls.AreaChanged)
    def move_toasts(self) -> None:
        """Keep notifications off the lines below and off the sampler's controls, which
        they end beside where the rack has a padding."""
        regions = [sampler.region for sampler in self.query(SamplerControls)]
        for rack in self.screen.query("ToastRack"):
            below = () if rack.styles.padding.right else filter(None, regions)
            bottom = min((region.y for region in below), default=self.region.bottom)
            rack.styles.margin = (0, 0, self.screen.size.height - bottom, 0)


class Status(Static):
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
    """The current state in a few words; parts after ` · ` are dropped first."""
    model: reactive[str] = reactive("")
    path: reactive[tuple[str, ...]] = reactive(())
    """How the model is computed, in full; then the precision alone."""
    note: reactive[str] = reactive("")
    """Instructions to the model that no message shows, such as a system prompt."""

    def render(self) -> Content:
        width = max(1, self.content_size.width)
        state, note = visible_line(self.state), visible_line(self.note)
        return Content(fitted(state, self.model, self.path, note, width=width))

    def show_info(self, info: EngineInfo | None) -> None:
        self.model = shown_label(info.label) if info else ""
        self.path = (described(info), info.precision) if info else ()


def fitted(
    state: str, model: str, path: Sequence[str], note: str, *, width: int
) -> str:
    """Return the parts on one line of `width` cells. Dropped or cut are, in this order:
    the end of the state, all of `path` but the precision, the middle of the model's
    name, the name, `note`. The precision stays."""
    for parts in _forms(state.split(" · "), model, path, note, width):
        packed = pack([part for part in parts if part], width, lines=1)
        if packed:
            return packed[0]
    first = state.partition(" · ")[0]
    if not path:
        return clip(first, width)
    return " · ".join((clip(first, max(1, width - cell_len(path[-1]) - 3)), path[-1]))


def _forms(
    state: Sequence[str], model: str, path: Sequence[str], note: str, width: int
) -> Iterator[Sequence[str]]:
    for count in range(len(state), 0, -1):
        yield *state[:count], model, *path[:1], note
    yield state[0], model, *path[-1:], note
    others = [part for part in (state[0], *path[-1:], note) if part]
    room = width - sum(cell_len(part) + 3 for part in others)
    if room >= _SHORTEST:
        yield state[0], clip_middle(model, room), *path[-1:], note
    yield state[0], *path[-1:], note
    yield state[0], *path[-1:]
