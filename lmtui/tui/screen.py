"""Base classes of the screens that show the model at work: panel, status, sampler.

The engine is asked through a client and answers by messages. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input, TextArea

from lmtui.config.settings import Preset
from lmtui.engine.types import Capabilities, EngineInfo, SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.text import visible, visible_line
from lmtui.tui.controller import Activity, Controller
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.message_client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.model_state import ModelState
from lmtui.tui.partial_compositor import ChangedParts
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.status import Status

LOADING = "The model is loading."
READING = "The model is reading; what it expects appears here."


class ModelScreen(Screen[None]):
    """A screen that shows the model at work: panel, status line, and the controllers
    that work with the model.

    Holds what all of them have in common: they follow the state of the model, and can
    be stopped.
    """

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
        # With priority: a TextArea selects a line on F6.
        Binding("f6", "pause", "Pause panel", id="live.pause", show=False,
                tooltip="Hold the panel still while the model goes on.",
                priority=True),
    ]  # fmt: skip

    def __init__(
        self, *, panel_title: str, context: Callable[[], object] = lambda: None
    ) -> None:
        """`context` is that of the `Activity`."""
        super().__init__()
        self._compositor = ChangedParts()
        self.panel = ProbabilityPanel(id="panel", title=panel_title)
        """The distribution that the user looks at."""
        self.status = Status(id="status")
        """The status line, whose state the `activity` decides."""
        self.activity = Activity(self.status, context=context)
        """What the status line says."""
        self.controllers: tuple[Controller, ...] = ()
        """What this screen is made of, in the order in which it starts and follows the
        model."""

    def on_mount(self) -> None:
        """Start the controllers, and follow the model."""
        for controller in self.controllers:
            controller.start()
        self.watch(self.app, "model", self.follow_model)
        self.focus_text()

    def focus_text(self) -> None:
        """Focus what the user writes in or reads."""

    def follow_model(self, state: ModelState) -> None:
        """Show the state of the model; the screen stays usable while it loads."""
        self.status.show_info(state.info)
        if state.info is not None:
            self.panel.clear(READING)
        elif state.error is not None:
            hint = state.error.hint
            self.panel.clear(f"{state.error}. {hint} F5 lists the models.")
        else:
            self.panel.clear(LOADING)
        self.activity.follow_model(state)
        for controller in self.controllers:
            controller.follow_model(state)
        self.activity.update()

    def show_error(self, error: LmtuiError) -> None:
        """Show an error, with its hint, in a notification."""
        text = visible("\n".join(part for part in (error.detail, error.hint) if part))
        title = visible_line(error.title)
        self.notify(text, title=title, severity="error", markup=False, timeout=12)

    def stop_work(self) -> bool:
        """Stop what the model does for the user; return whether there was anything."""
        stopped = [controller.stop() for controller in self.controllers]
        return any(stopped)

    def selected_words(self) -> str:
        """Return the selection, on the screen or in the focused field."""
        focused = self.focused
        inside = focused.selected_text if isinstance(focused, TextArea | Input) else ""
        return self.get_selected_text() or inside

    def action_interrupt(self) -> None:
        """Copy the selection, or stop the work, or say which key quits."""
        if selected := self.selected_words():
            self.app.copy_to_clipboard(selected)
        elif not self.stop_work():
            self.notify("Ctrl+Q quits.")

    def show_panel(self) -> None:
        """Show the panel, even on a narrow screen."""
        self.remove_class("-no-panel")
        self.add_class("-unfolded")

    def action_panel(self) -> None:
        """Show or hide the panel; on a narrow screen it is hidden by default."""
        folded = self.has_class("-folded")
        self.toggle_class("-unfolded" if folded else "-no-panel")

    def action_pause(self) -> None:
        self.panel.paused = not self.panel.paused


class LiveScreen(Screen[None]):
    """Screen with a `ProbabilityPanel`, a `Status` and mostly a `LikelihoodStrip`.

    Follows the state of the model; subclasses say what the screen is for.
    """

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
        # With priority: a TextArea selects a line on F6.
        Binding("f6", "pause", "Pause panel", id="live.pause", show=False,
                tooltip="Hold the panel still while the model goes on.",
                priority=True),
    ]  # fmt: skip

    def __init__(self, make_client: Callable[[Post], EngineClient]) -> None:
        super().__init__()
        self._compositor = ChangedParts()
        self.client = make_client(self.post_message)
        """Sends requests to the engine's worker; the answers come to this screen as
        messages."""
        self._info: EngineInfo | None = None
        self._capabilities = Capabilities()

    def on_mount(self) -> None:
        self.watch(self.app, "model", self.follow_model)

    def model_ready(self) -> None:
        """Handle that a model was loaded."""
        raise NotImplementedError

    def model_missing(self) -> None:
        """Handle that loading failed; the user has to choose a model."""
        raise NotImplementedError

    def stop_work(self) -> bool:
        """Stop the model's work for the user; return whether there was any."""
        raise NotImplementedError

    def to_text(self) -> None:
        """Return the focus to the field that the user writes in."""
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

    # State of the model.

    def follow_model(self, state: ModelState) -> None:
        """Show the state of the model; the screen stays usable while it loads."""
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
            self._panel.clear(f"{state.error}. {hint} F5 lists the models.")
            self.model_missing()
        else:
            self._status.state = state.words
            self._panel.clear(LOADING)

    def _show_error(self, error: LmtuiError) -> None:
        text = visible("\n".join(part for part in (error.detail, error.hint) if part))
        title = visible_line(error.title)
        self.notify(text, title=title, severity="error", markup=False, timeout=12)

    # Actions.

    def selected_words(self) -> str:
        """Return the selection, on the screen or in the focused field."""
        focused = self.focused
        inside = focused.selected_text if isinstance(focused, TextArea | Input) else ""
        return self.get_selected_text() or inside

    def action_interrupt(self) -> None:
        """Copy the selection, or stop the work, or say which key quits."""
        if selected := self.selected_words():
            self.app.copy_to_clipboard(selected)
        elif not self.stop_work():
            self.notify("Ctrl+Q quits.")

    def show_panel(self) -> None:
        """Show the panel, even on a narrow screen."""
        self.remove_class("-no-panel")
        self.add_class("-unfolded")

    def action_panel(self) -> None:
        """Show or hide the panel; on a narrow screen it is hidden by default."""
        folded = self.has_class("-folded")
        self.toggle_class("-unfolded" if folded else "-no-panel")

    def action_pause(self) -> None:
        self._panel.paused = not self._panel.paused


class SamplingScreen(LiveScreen):
    """Live screen that also has `SamplerControls`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f4", "sampler", "Sampler", id="live.sampler",
                tooltip="Go to the sampler settings, or back."),
    ]  # fmt: skip

    def __init__(
        self, make_client: Callable[[Post], EngineClient], *, sampling: SamplingSettings
    ) -> None:
        super().__init__(make_client)
        self._settings = sampling
        self._previewed = 0
        self._followed: Mapping[str, Any] = {}
        self.presets: Mapping[str, Preset] = {}
        """Presets that a conversation can use, by name."""

    def on_mount(self) -> None:
        """Follow the sampling settings and presets of the app."""
        self.watch(self.app, "sampling_changes", self.follow_settings)
        self.watch(self.app, "presets", self.update_presets)

    def update_presets(self, presets: Mapping[str, Preset]) -> None:
        self.presets = presets

    def follow_settings(self, changed: Mapping[str, Any]) -> None:
        """Apply sampling settings changed in the app; keep this screen's others."""
        known = self._followed
        new = {
            name: changed[name]
            for name in changed
            if known.get(name, ...) != changed[name]
        }
        self._followed = changed
        if new:
            self.draw_with(replace(self._settings, **new))

    def draw_with(self, settings: SamplingSettings) -> None:
        """Use other sampling settings, and show them in the controls."""
        self.query_one(SamplerControls).settings = settings
        self._draw(settings)

    @on(SamplerControls.SettingsChanged)
    def use_settings(self, event: SamplerControls.SettingsChanged) -> None:
        """Redraw the distribution; the next answer uses the settings, too."""
        self._draw(event.settings)

    def _draw(self, settings: SamplingSettings) -> None:
        self._settings = settings
        shown = self._panel.distribution
        if shown is not None:
            self._preview(shown.handle, shown.start, len(shown.candidates))

    @on(ProbabilityPanel.PageRequested)
    def show_page(self, event: ProbabilityPanel.PageRequested) -> None:
        self._preview(event.handle, event.start, event.count)

    def _preview(self, handle: int, start: int, rows: int) -> None:
        self._previewed = self.client.number()
        self.client.preview(self._previewed, handle, self._settings, start, rows)

    @on(facts.PreviewReady)
    def show_preview(self, event: facts.PreviewReady) -> None:
        """Redraw the distribution, unless another position is shown by now."""
        shown = self._panel.distribution
        same = shown is not None and shown.handle == event.distribution.handle
        if event.revision == self._previewed and same:
            chosen = self._panel.chosen
            self._panel.show(event.distribution, chosen=chosen, again=True)

    @on(facts.PreviewFailed)
    def show_preview_failed(self, event: facts.PreviewFailed) -> None:
        """Report the error; the panel stays as it is."""
        if event.revision == self._previewed:
            self._status.state = visible_line(event.error.title)

    def action_sampler(self) -> None:
        """Move the focus to the sampler's settings, or back to the text."""
        self.show_panel()
        sampler = self.query_one(SamplerControls)
        if sampler.has_focus:
            self.remove_class("-sampler")
            self.to_text()
        else:
            self.add_class("-sampler")
            sampler.focus()
