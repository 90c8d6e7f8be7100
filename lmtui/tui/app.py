"""The program on a screen: which screens there are, the model, and the way out.

The only place that knows all screens. Owns what belongs to every one of them: the
engine's thread, which model is in use. What happens on a screen is the screen's; the
user's colours and keys are followed by `preferences`. Knows no torch: an engine comes
from a factory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import var
from textual.screen import Screen

from lmtui.engine.types import SamplingSettings
from lmtui.text import visible
from lmtui.tui import messages as facts
from lmtui.tui.keys import shown_actions
from lmtui.tui.model_state import DEFAULT, ModelState
from lmtui.tui.preferences import Preferences, PreferencesApp
from lmtui.tui.questions import OpenEngine
from lmtui.tui.runner import EngineRunner
from lmtui.tui.screens.chat import ChatScreen


class LmtuiApp(PreferencesApp):
    """See a language model think."""

    TITLE = "lmtui"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", tooltip="Show or hide the keys."),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True,
                tooltip="Leave the program."),
        Binding("ctrl+p", "command_palette", "Palette", id="app.palette", show=False,
                priority=True, tooltip="Everything that can be done here, by name."),
    ]  # fmt: skip

    model: var[ModelState] = var(ModelState())
    """Which model there is; every screen that shows it watches this."""

    def __init__(
        self,
        open_model: Callable[[str], OpenEngine],
        *,
        model: str | None = None,
        sampling: SamplingSettings,
        system: str = "",
        preferences: Preferences | None = None,
    ) -> None:
        super().__init__(preferences or Preferences())
        self._open_model = open_model
        self._load = 0
        self._engine = EngineRunner(self.post_message)
        self._chat = ChatScreen(
            self._engine.for_screen, sampling=sampling, system=system
        )
        self.set_reactive(LmtuiApp.model, ModelState(model or DEFAULT))

    def on_mount(self) -> None:
        """Follow the preferences, open the chat, and then load the model."""
        self.follow_preferences()
        self.push_screen(self._chat)
        self.call_after_refresh(self.load_model, self.model.wanted)

    # The model.

    def load_model(self, wanted: str) -> None:
        """Load a model in place of the one there is."""
        self.model = self.model.switched(wanted)
        self._load = self._engine.load(self._open_model(wanted))

    @on(facts.ModelLoadProgressed)
    def keep_progress(self, event: facts.ModelLoadProgressed) -> None:
        """The model is on its way."""
        if event.load == self._load:
            self.model = self.model.progressed(event)

    @on(facts.ModelLoadWarned)
    def show_warning(self, event: facts.ModelLoadWarned) -> None:
        """Pass a warning on."""
        if event.load == self._load:
            self.notify(visible(event.what), severity="warning", markup=False)

    @on(facts.ModelLoaded)
    def keep_model(self, event: facts.ModelLoaded) -> None:
        """The model is there."""
        if event.load == self._load:
            self.model = self.model.loaded(event.info)

    @on(facts.ModelFailed)
    def keep_failure(self, event: facts.ModelFailed) -> None:
        """There is no model."""
        if event.load == self._load:
            self.model = self.model.failed(event.error)

    # The way out.

    @property
    def broke_off_with(self) -> Exception | None:
        """What ended the program, if the user did not."""
        return self._exception

    def action_help(self) -> None:
        """Show what each key does where the focus is, or hide it."""
        self.screen.toggle_class("-help")
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: Textual's own commands, and every key of this screen."""
        yield from super().get_system_commands(screen)
        for binding, keys in shown_actions(screen):
            yield SystemCommand(
                f"{binding.description}  ({keys})",
                binding.tooltip,
                partial(self.call_later, screen.run_action, binding.action),
            )

    async def action_quit(self) -> None:
        """Leave; whatever the engine does is stopped and not waited for."""
        self._engine.close()
        self.exit()
