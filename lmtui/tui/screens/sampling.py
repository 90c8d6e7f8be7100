"""A live screen with a sampler to set: every setting is seen in the panel at once.

Owns the settings in use, and the panel's pages and previews, which are made under
them. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType

from lmtui.engine.types import SamplingSettings
from lmtui.sections.presets import Preset
from lmtui.text import visible_line
from lmtui.tui import messages as facts
from lmtui.tui.batches import Post
from lmtui.tui.runner import Runner
from lmtui.tui.screens.live import LiveScreen
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.sampler_controls import SamplerControls


class SamplingScreen(LiveScreen):
    """Has `SamplerControls` besides."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f4", "sampler", "Sampler", id="live.sampler",
                tooltip="To the slider and the other sampler settings, and back."),
    ]  # fmt: skip

    def __init__(
        self, make_runner: Callable[[Post], Runner], *, sampling: SamplingSettings
    ) -> None:
        super().__init__(make_runner)
        self._settings = sampling
        self._previewed = 0
        self._followed: Mapping[str, Any] = {}
        self.presets: Mapping[str, Preset] = {}
        """What a conversation can take up, by its name."""

    def on_mount(self) -> None:
        """Follow what is set for good while the screen is there."""
        self.watch(self.app, "kept_sampling", self.follow_kept)
        self.watch(self.app, "presets", self.keep_presets)

    def keep_presets(self, presets: Mapping[str, Preset]) -> None:
        """These are what there is to begin with now."""
        self.presets = presets

    def follow_kept(self, kept: Mapping[str, Any]) -> None:
        """Draw as was set just now; what was not stays as it is here."""
        known = self._followed
        new = {name: kept[name] for name in kept if known.get(name, ...) != kept[name]}
        self._followed = kept
        if new:
            self.draw_with(replace(self._settings, **new))

    def draw_with(self, settings: SamplingSettings) -> None:
        """Use other settings, and show them in the controls."""
        self.query_one(SamplerControls).settings = settings
        self._draw(settings)

    @on(SamplerControls.SettingsChanged)
    def use_settings(self, event: SamplerControls.SettingsChanged) -> None:
        """Redraw what is shown; the next answer uses them."""
        self._draw(event.settings)

    def _draw(self, settings: SamplingSettings) -> None:
        self._settings = settings
        shown = self._panel.distribution
        if shown is not None:
            self._preview(shown.handle, shown.start, len(shown.candidates))

    @on(ProbabilityPanel.PageRequested)
    def show_page(self, event: ProbabilityPanel.PageRequested) -> None:
        """Fetch other rows of the ranking."""
        self._preview(event.handle, event.start, event.count)

    def _preview(self, handle: int, start: int, rows: int) -> None:
        self._previewed = self.runner.number()
        self.runner.preview(self._previewed, handle, self._settings, start, rows)

    @on(facts.PreviewReady)
    def show_preview(self, event: facts.PreviewReady) -> None:
        """Draw the same position anew, unless another one is shown by now."""
        shown = self._panel.distribution
        same = shown is not None and shown.handle == event.distribution.handle
        if event.revision == self._previewed and same:
            chosen = self._panel.chosen
            self._panel.show(event.distribution, chosen=chosen, again=True)

    @on(facts.PreviewFailed)
    def show_preview_failed(self, event: facts.PreviewFailed) -> None:
        """What is drawn stays as it is; say why."""
        if event.revision == self._previewed:
            self._status.state = visible_line(event.error.title)

    def action_sampler(self) -> None:
        """Go to the sampler's settings, or back."""
        self.show_panel()
        sampler = self.query_one(SamplerControls)
        if sampler.has_focus:
            self.remove_class("-sampler")
            self.to_text()
        else:
            self.add_class("-sampler")
            sampler.focus()
