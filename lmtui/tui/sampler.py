"""The sampling settings of a screen, and the distribution as they leave it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType

from lmtui.config.settings import Preset
from lmtui.engine import token_bias
from lmtui.engine.sampling.recommended import NAMES, SamplingFor, recommended
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Candidate,
    Distribution,
)
from lmtui.errors import LmtuiError
from lmtui.tui.controller import Controller
from lmtui.tui.engine.client import EngineClient, MakeClient
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.probability_panel import WITH_THESE, ProbabilityPanel
from lmtui.tui.widgets.sampler_chain import LABELS
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.worker.requests import Slot
from lmtui.worker.stale_handles import of_position


class SamplerController(Controller):
    """Holds the sampling settings; draws the panels again when they change, and those
    rows that the user pages to."""

    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        settings: SamplingSettings,
        sampling_for: SamplingFor | None = None,
    ) -> None:
        self._client, self._screen = client, screen
        self._sampling_for = sampling_for
        self._changed_here: frozenset[str] = frozenset()  # settings changed here
        self._app_settings: Mapping[str, Any] = {}  # settings changed in the app so far
        self.settings = settings
        """The settings that the next token is drawn with."""
        self.presets: Mapping[str, Preset] = {}
        self.controls = SamplerControls(settings, id="sampler")
        self._panels: list[tuple[ProbabilityPanel, bool]] = [(screen.panel, False)]
        screen.panel.picks = True

    def start(self) -> None:
        screen = self._screen
        screen.watch(screen.app, "sampling_changes", self._follow_app)
        screen.watch(screen.app, "presets", self._set_presets)

    def follow_model(self) -> None:
        """Use what the model's makers recommend for all that the user has not set."""
        if self.model.info is None or self._sampling_for is None:
            return
        initial, defaults = (
            self._sampling_for(self.model.info),
            self.model.info.generation_defaults,
        )
        names = [name for name in NAMES if name not in self._changed_here]
        new = {name: getattr(initial, name) for name in names}
        settings = replace(self.settings, **new)
        self.controls.defaults = recommended(SamplingSettings(), defaults)
        self.controls.recommended = dict(defaults).keys() & NAMES
        if settings != self.settings:
            self.controls.settings = self.settings = settings

    def _set_presets(self, presets: Mapping[str, Preset]) -> None:
        self.presets = presets

    def _follow_app(self, changed: Mapping[str, Any]) -> None:
        previous, self._app_settings = self._app_settings, changed
        new = {
            name: changed[name]
            for name in changed
            if previous.get(name, ...) != changed[name]
        }
        if new:
            self.use(replace(self.settings, **new))

    def use(self, settings: SamplingSettings) -> None:
        self.controls.settings = settings
        self.follow_controls(settings)

    def follow_controls(self, settings: SamplingSettings) -> None:
        current, default = self.settings, self.controls.defaults
        for name in NAMES:
            value = getattr(settings, name)
            if value == getattr(default, name):
                self._changed_here -= {name}
            elif value != getattr(current, name):
                self._changed_here |= {name}
        self.settings = settings
        self.redraw()

    def bias(self, candidate: Candidate, by: float | None) -> None:
        """Add to a token's bias, or, for None, ban it or lift its ban."""
        if not candidate.bytes:
            hint = "Only tokens with a text can be banned."
            raise LmtuiError("this token has no bytes", candidate.text, hint)
        biases = token_bias.parse(self.settings.logit_bias)
        current = biases.get(candidate.bytes, 0.0)
        if by is None:
            new = 0.0 if current == -math.inf else -math.inf
        else:
            limit = token_bias.MOST
            base = 0.0 if current == -math.inf else current
            new = max(-limit, min(limit, base + by))
        entries = token_bias.with_bias(
            self.settings.logit_bias, candidate.bytes, new or None
        )
        self.use(replace(self.settings, logit_bias=entries))

    def add_other_panel(self, panel: ProbabilityPanel) -> None:
        """Draw the panel of the model that is compared with, too."""
        self._panels.append((panel, True))

    def redraw(self) -> None:
        """Draw the shown distributions under the settings as they are now, up to the
        stage that the user looks at."""
        self._redraw(self._panels)

    def follow_shown(self, panel: ProbabilityPanel) -> None:
        """While the chain is looked at, find what it does to a distribution that has
        come to a panel."""
        if self.controls.has_focus:
            self._redraw([entry for entry in self._panels if entry[0] is panel])

    def _redraw(self, panels: Sequence[tuple[ProbabilityPanel, bool]]) -> None:
        """Draw these panels, one after the other: one request takes the place of
        another."""
        if not panels:
            return
        panel, distribution = panels[0][0], panels[0][0].distribution
        redraw_others = partial(self._redraw, panels[1:])
        if distribution is None or distribution.handle < 0:  # it came with a score
            redraw_others()
        else:
            count = len(distribution.candidates)
            self._show_rows(panel, distribution.start, count, redraw_others)

    def follow_panel(self, event: ProbabilityPanel.PageRequested) -> None:
        """Show the rows that the user pages to; then draw the other panels, whose
        request this one may have replaced."""
        others = [entry for entry in self._panels if entry[0] is not event.panel]
        redraw_others = partial(self._redraw, others)
        self._show_rows(event.panel, event.start, event.count, redraw_others)

    def _show_rows(
        self,
        panel: ProbabilityPanel,
        start: int,
        count: int,
        then: Callable[[], object],
    ) -> None:
        """Show rows of the distribution that a panel shows, unless it shows another one
        by the time they are there."""
        current = panel.distribution
        if current is None or current.handle < 0:
            return

        stage = self.controls.stage

        def show(distribution: Distribution) -> None:
            latest = panel.distribution
            if latest is not None and latest.handle == distribution.handle:
                drawn = WITH_THESE if panel.drawn else ""
                panel.show(distribution, chosen=panel.chosen, drawn=drawn, again=True)
                panel.after = LABELS.get(stage or "", "")
                if panel is self._screen.panel:
                    self.controls.show_effects(distribution.chain)
            then()

        def fail(error: LmtuiError) -> None:
            self._screen.activity.notice(error.title)
            then()

        handle, settings = current.handle, self.settings
        with_chain = self.controls.has_focus
        self._client.ask(
            Slot.PREVIEW,
            of_position(
                lambda engine: engine.preview(
                    handle,
                    settings,
                    start=start,
                    count=count,
                    until=stage,
                    with_chain=with_chain,
                ),
                "this position can't be drawn again",
                "Type or generate more to see a new one.",
            ),
            show,
            fail,
            other=dict(self._panels)[panel],
        )


class SamplingScreen(ModelScreen):
    """A screen on which tokens are drawn: its panel shows what the settings leave."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f4", "sampler", "Sampler", id="live.sampler",
                tooltip="Go to the sampler settings, or back."),
        # With priority: a TextArea selects a line on F6.
        Binding("f6", "pause", "Pause panel", id="live.pause", show=False,
                tooltip="Hold the panel still while the model goes on.",
                priority=True),
    ]  # fmt: skip

    def __init__(
        self,
        make_client: MakeClient,
        sampling: SamplingSettings,
        *,
        panel_title: str,
        sampling_for: SamplingFor | None = None,
    ) -> None:
        super().__init__(panel_title=panel_title)
        self.new_client = partial(make_client, self.call_later)
        """Returns a client for a controller of this screen."""
        self.sampler = SamplerController(
            self.new_client(), self, sampling, sampling_for
        )

    @on(ProbabilityPanel.PageRequested)
    def show_page(self, event: ProbabilityPanel.PageRequested) -> None:
        self.sampler.follow_panel(event)

    @on(SamplerControls.SettingsChanged)
    def use_settings(self, event: SamplerControls.SettingsChanged) -> None:
        self.sampler.follow_controls(event.settings)

    @on(ProbabilityPanel.BiasRequested)
    def bias_token(self, event: ProbabilityPanel.BiasRequested) -> None:
        try:
            self.sampler.bias(event.candidate, event.by)
        except LmtuiError as error:
            self.show_error(error)
        else:
            self.follow_bias()

    def follow_bias(self) -> None:
        """Show a changed bias elsewhere than in the panel."""

    @on(SamplerControls.StageChanged)
    def show_after_stage(self) -> None:
        self.sampler.redraw()

    @on(ProbabilityPanel.DistributionShown)
    def show_effects(self, event: ProbabilityPanel.DistributionShown) -> None:
        self.sampler.follow_shown(event.panel)

    def action_pause(self) -> None:
        self.panel.paused = not self.panel.paused

    def action_sampler(self) -> None:
        self.show_panel()
        if self.sampler.controls.has_focus:
            self.remove_class("-sampler")
            self.focus_text()
        else:
            self.add_class("-sampler")
            self.sampler.controls.focus()
