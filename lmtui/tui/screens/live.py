"""A screen that shows what the model does, with the panel beside it.

Owns what every such screen does alike: following what becomes of the model, errors,
the panel's place. What the screen is for is its subclass's. The engine is asked through
the runner and answers by messages. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input, TextArea

from lmtui.engine.types import Capabilities, EngineInfo
from lmtui.errors import LmtuiError
from lmtui.text import visible, visible_line
from lmtui.tui.batches import Post
from lmtui.tui.changed_parts import ChangedParts
from lmtui.tui.model_state import ModelState
from lmtui.tui.runner import Runner
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.status import Status

LOADING = "The model is loading."
READING = "The model is reading; what it expects appears here."


class LiveScreen(Screen[None]):
    """Has a `ProbabilityPanel`, a `Status` and mostly a `LikelihoodStrip`."""

    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (the base class declares it so)
        (0, "-folded"),
        (60, "-narrow"),
        (100, "-wide"),
        (160, "-very-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "Copy or stop", id="live.interrupt",
                tooltip="Copy the selection, or stop what the model does.",
                priority=True, show=False),
        Binding("f2", "panel", "Panel", id="live.panel",
                tooltip="Show or hide the panel."),
        # Before the text field, which would select a line.
        Binding("f6", "pause", "Pause panel", id="live.pause", show=False,
                tooltip="Hold the panel still while the model goes on.",
                priority=True),
    ]  # fmt: skip

    def __init__(self, make_runner: Callable[[Post], Runner]) -> None:
        super().__init__()
        self._compositor = ChangedParts()
        self.runner = make_runner(self.post_message)
        """The bridge to the engine, whose answers come to this screen."""
        self._info: EngineInfo | None = None
        self._capabilities = Capabilities()

    def on_mount(self) -> None:
        """Follow the model from what it is now."""
        self.watch(self.app, "model", self.follow_model)

    def model_ready(self) -> None:
        """There is a model now."""
        raise NotImplementedError

    def model_missing(self) -> None:
        """There is none, and none will come of itself."""
        raise NotImplementedError

    def stop_work(self) -> bool:
        """Stop what the model does for the user; whether there was anything."""
        raise NotImplementedError

    def to_text(self) -> None:
        """Give the focus back to where the user writes."""
        raise NotImplementedError

    @property
    def _panel(self) -> ProbabilityPanel:
        return self.query_one(ProbabilityPanel)

    @property
    def _strip(self) -> LikelihoodStrip:
        return self.query_one(LikelihoodStrip)

    @property
    def _status(self) -> Status:
        return self.query_one(Status)

    # The model.

    def follow_model(self, state: ModelState) -> None:
        """Show what became of the model; everything can be used meanwhile."""
        self._info, self._capabilities = state.info, state.capabilities
        self._status.show_info(state.info)
        if state.info is not None:
            self._status.state = "ready"
            self._panel.clear(READING)
            for strip in self.query(LikelihoodStrip):
                strip.reset(info=state.info)
            self.model_ready()
        elif state.error is not None:
            self._status.state = "no model"
            hint = state.error.hint
            self._panel.clear(f"{state.error}. {hint} F5 leads to the models.")
            self.model_missing()
        else:
            self._status.state = state.words
            self._panel.clear(LOADING)

    def _show_error(self, error: LmtuiError) -> None:
        text = visible("\n".join(part for part in (error.detail, error.hint) if part))
        title = visible_line(error.title)
        self.notify(text, title=title, severity="error", markup=False, timeout=12)

    # Keys.

    def selected_words(self) -> str:
        """What is selected, on the screen or in the field that has the focus."""
        focused = self.focused
        inside = focused.selected_text if isinstance(focused, TextArea | Input) else ""
        return self.get_selected_text() or inside

    def action_interrupt(self) -> None:
        """Copy what is selected, or stop, or say how to leave."""
        if selected := self.selected_words():
            self.app.copy_to_clipboard(selected)
        elif not self.stop_work():
            self.notify("Ctrl+Q quits.")

    def show_panel(self) -> None:
        """Show the panel, wherever there is room for it."""
        self.remove_class("-no-panel")
        self.add_class("-unfolded")

    def action_panel(self) -> None:
        """Show or hide the panel; on few columns it is folded until it is asked for."""
        folded = self.has_class("-folded")
        self.toggle_class("-unfolded" if folded else "-no-panel")

    def action_pause(self) -> None:
        """Hold the panel still, or let it go on."""
        self._panel.paused = not self._panel.paused
