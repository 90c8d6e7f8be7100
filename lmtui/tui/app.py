"""The program on a screen: which screens there are, the model, and the way out.

The only place that knows all screens. Owns what belongs to every one of them: the
engine's thread, which model is in use. What happens on a screen is the screen's; the
user's colours and keys are followed by `preferences`. Knows no torch: an engine comes
from a factory.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.driver import Driver
from textual.reactive import var
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from lmtui.chat.summary import StoredConversation
from lmtui.config import settings as fields
from lmtui.config.settings import FOLLOWED, SAMPLING, Preset
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.files import read_file
from lmtui.models.source import ModelRef
from lmtui.processes import shell_waits
from lmtui.text import visible, visible_line
from lmtui.tui import no_colour, palette
from lmtui.tui.chat import store as kept
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.chat.store import ConversationStore
from lmtui.tui.dialogs import ConfirmDialog, ErrorScreen
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.screen import CompleteScreen
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.questions import OpenEngine
from lmtui.tui.engine.runner import EngineRunner
from lmtui.tui.finetune.options import Finetuning
from lmtui.tui.finetune.screen import FinetuneScreen
from lmtui.tui.help import HelpScreen
from lmtui.tui.history import HistoryScreen
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.inspector.source import InspectSource
from lmtui.tui.key_order import KeysInOrder
from lmtui.tui.model_state import ModelState
from lmtui.tui.models import ListModels, ModelsScreen
from lmtui.tui.preferences import Preferences, PreferencesApp
from lmtui.tui.settings import events
from lmtui.tui.settings.screen import SettingsScreen
from lmtui.tui.start import RecentFiles, StartScreen
from lmtui.tui.terminal import (
    InputFailed,
    TerminalDriver,
    TerminalGone,
    exit_code,
    leave_when_gone,
)


class SettingsApp(PreferencesApp):
    """Follows the settings as they are changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f10", "settings", "Settings", id="app.settings",
                tooltip="See every setting and preset, and change them."),
    ]  # fmt: skip

    kept_sampling: var[Mapping[str, Any]] = var({})
    """How a token is drawn, as far as that was set since the program began; every
    screen with a sampler follows this."""
    kept_chat: var[events.SettingChanged | None] = var(None, always_update=True)
    """The setting of conversations that was changed last; the chat follows this."""
    presets: var[Mapping[str, Preset]] = var({})
    """The presets by name; every screen that offers them looks here."""

    def __init__(self, preferences: Preferences) -> None:
        super().__init__(preferences)
        self._settings_file = file = preferences.settings_file
        self.set_reactive(SettingsApp.presets, file.presets if file else {})

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a file there is nothing to change."""
        if action == "settings":
            return self._settings_file is not None
        return super().check_action(action, parameters)

    def action_settings(self) -> None:
        """Show the settings, over what is shown now."""
        shown = any(isinstance(each, SettingsScreen) for each in self.screen_stack)
        if self._settings_file is None or shown or isinstance(self.screen, ModalScreen):
            return
        themes = {"theme": tuple(self.available_themes)}
        self.push_screen(SettingsScreen(self._settings_file, choices=themes))

    @on(events.SheetRead)
    def follow_presets(self, event: events.SheetRead) -> None:
        """The presets are what the file says."""
        self.presets = event.sheet.kept.presets

    @on(events.KeysKept)
    def follow_keys(self, event: events.KeysKept) -> None:
        """The keys are what the file says."""
        self.use_keys(event.sheet.kept.keys)

    @on(events.SettingKept)
    def follow_setting(self, event: events.SettingKept) -> None:
        """A setting was changed: what can counts at once, but where a flag or a
        variable counts before the file."""
        name = event.name
        if event.sheet.stronger(name) is not None:
            return
        value = getattr(event.sheet.counting, name)
        if name == "theme":
            self.wear(value)
        elif fields.item(name).metadata["section"] == SAMPLING:
            self.kept_sampling = {**self.kept_sampling, name: value}
        elif name in FOLLOWED:
            self.kept_chat = events.SettingChanged(name, value)


class KeepingApp(App[None]):
    """Tells what becomes of the conversations."""

    @on(kept.KeepingFailed)
    def tell_not_kept(self, event: kept.KeepingFailed) -> None:
        """What is said stays on the screen; say why it is nowhere else."""
        error = event.error
        self.notify(
            visible(f"{error.detail}\n{error.hint}".strip()),
            title=f"Not kept: {visible_line(error.title)}",
            severity="error",
            markup=False,
            timeout=15,
        )

    @on(kept.KeepingRecovered)
    def tell_kept(self) -> None:
        """What was held is on the disk by now."""
        self.notify("What was said is kept again.")


OpenModel = Callable[[ModelRef], OpenEngine]
"""What opens an engine for a model and an adapter, once it is called."""


class LmtuiApp(KeysInOrder, KeepingApp, SettingsApp):
    """See a language model think."""

    TITLE = "lmtui"
    COMMANDS = {palette.CommandList}  # noqa: RUF012 (the base class declares it so)
    SUSPENDED_SCREEN_CLASS = "-below"
    # Notices take no more room than their words, and are seen once, on top.
    CSS = f"""{no_colour.SHEET}
    ToastRack {{ scrollbar-size-vertical: 0; }} .-below Toast {{ display: none; }}
    Toast {{ width: auto; max-width: 60%; padding: 0 1; }}"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", priority=True,
                tooltip="Show or hide the keys."),
        Binding("f5", "models", "Model", id="app.models",
                tooltip="Choose another model; it is loaded without a restart."),
        Binding("f9", "start", "Start screen", id="app.start",
                tooltip="To the first screen; everything stays as it is."),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True,
                tooltip="Leave the program."),
        Binding("ctrl+z", "suspend", "Suspend", id="app.suspend", show=False,
                tooltip="Back to the shell; `fg` brings the program back."),
        Binding("ctrl+p", "command_palette", "Palette", id="app.palette", show=False,
                priority=True, tooltip="Everything that can be done here, by name."),
    ]  # fmt: skip

    all_kept = True
    """Whether everything that was said was kept when the program was left."""
    unsent = ""
    """What was written in the chat when the program had to end."""
    model: var[ModelState] = var(ModelState())
    """Which model there is; every screen that shows it watches this."""

    def __init__(
        self,
        open_model: OpenModel,
        *,
        wanted: ModelRef | None = None,
        sampling: SamplingSettings,
        list_models: ListModels = tuple,
        recent_files: RecentFiles = tuple,
        chats_file: Path | None = None,
        opened: StoredConversation | None = None,
        chat_options: ChatOptions | None = None,
        system: str = "",
        first: Literal["start", "chat", "complete", "finetune", "inspect"] = "start",
        subject: InspectSource | None = None,
        writing: Writing | None = None,
        finetuning: Finetuning | None = None,
        preferences: Preferences | None = None,
    ) -> None:
        super().__init__(preferences or Preferences())
        self._input_error: Exception | None = None
        self._open_model = open_model
        self._sampling = sampling
        self._load = 0
        self._engine = EngineRunner(self.post_message)
        self._chats = (
            ConversationStore(chats_file, self.post_message) if chats_file else None
        )
        self._chat = chat = ChatScreen(
            self._engine.for_screen,
            sampling=sampling,
            system=system,
            chats=self._chats,
            opened=opened,
        )
        chat.options = options = chat_options or ChatOptions()
        self.install_screen(StartScreen(recent_files, self._chats), "start")
        self.install_screen(chat, "chat")  # it is kept while another one is shown
        self._complete: CompleteScreen | None = None
        if writing is not None:
            self._complete = CompleteScreen(self._engine.for_writing, writing)
            self.install_screen(self._complete, "complete")
        self.finetune: FinetuneScreen | None = None
        """The training that is watched, if there is one."""
        if finetuning is not None:
            can_write = writing is not None
            self.finetune = FinetuneScreen(
                finetuning, leave=self.leave, can_write=can_write
            )
            self.install_screen(self.finetune, "finetune")
        self._first, self._subject = first, subject
        self._list_models = list_models
        state = ModelState(wanted or ModelRef(), error=options.missing)
        self.set_reactive(LmtuiApp.model, state)

    def on_mount(self) -> None:
        """Follow the preferences, open a screen, and then load the model."""
        leave_when_gone(self, self.leave)
        # Each layout leaves garbage that the first generations take away; going through
        # everything for it stops the screen for a tenth of a second.
        gc.set_threshold(*gc.get_threshold()[:2], 100)
        self.follow_preferences()
        if self._chats is not None:
            self._chats.purge()
        if self._first == "inspect" and self._subject is not None:
            self.push_screen("start")
            self.inspect(self._subject)
        else:
            self.push_screen(self._first)
        if self._first != "finetune" and self.model.error is None:
            self.call_after_refresh(self.load_model, self.model.wanted)

    def get_driver_class(self) -> type[Driver]:
        """Ours, of which a paste and a broken byte are safe."""
        return TerminalDriver

    # The model.

    def load_model(self, wanted: ModelRef) -> None:
        """Load a model, with its adapter, in place of the one there is."""
        self.model = self.model.switched(wanted)
        self._load = self._engine.load(self._open_model(wanted))

    @on(facts.ModelChosen)
    def load_chosen(self, event: facts.ModelChosen) -> None:
        """The user chose a model or an adapter."""
        self.load_model(event.wanted)

    @on(facts.AdapterChosen)
    def use_adapter(self, event: facts.AdapterChosen) -> None:
        """A training is over, and what it made is to be used."""
        self.load_model(event.wanted)
        self._go(event.place)

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
            self.model = self.model.loaded(
                event.info, event.capabilities, event.against
            )

    @on(facts.ModelFailed)
    def keep_failure(self, event: facts.ModelFailed) -> None:
        """There is no model: the user is asked what to do."""
        if event.load != self._load:
            return
        self.model = state = self.model.failed(event.error)
        if isinstance(self.screen, ErrorScreen):
            self.pop_screen()
        asked = ErrorScreen(event.error, wanted=state.wanted, before=state.before)
        self.push_screen(asked, self._answer_error)

    def _answer_error(self, answer: str | None) -> None:
        if answer == "again":
            self.load_model(self.model.wanted)
        elif answer == "before" and self.model.before is not None:
            self.load_model(self.model.before)
        elif answer == "models":
            self.action_models()

    # The conversations.

    @on(kept.StoreReplaced)
    def tell_replaced(self, event: kept.StoreReplaced) -> None:
        """Say what became of the broken file, and keep what is held once more."""
        self.notify(visible(event.words), severity="warning", markup=False, timeout=20)
        self._chat.keep_whole()

    @on(kept.ChangedElsewhere)
    def let_go_on_apart(self, event: kept.ChangedElsewhere) -> None:
        """Nothing is written over what another program has said."""
        self._chat.keep_as_another(event.uid)

    @on(kept.ConversationChosen)
    def open_conversation(self, event: kept.ConversationChosen) -> None:
        """Go on with a conversation."""
        self._go("chat")
        self.call_later(self._chat.open_stored, event)

    def action_history(self, words: str = "") -> None:
        """Show the conversations, over what is shown now."""
        if self._chats and not isinstance(self.screen, HistoryScreen):
            self.push_screen(HistoryScreen(self._chats, words))

    # From screen to screen.

    def action_start(self) -> None:
        """Show the first screen."""
        self._go("start")

    def action_chat(self) -> None:
        """Show the chat."""
        self._go("chat")

    def action_complete(self) -> None:
        """Show the editor, where a file is being edited."""
        if self._complete is not None:
            self._go("complete")

    def action_finetune(self) -> None:
        """Show the training, where one is watched."""
        if self.finetune is not None:
            self._go("finetune")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is not always a file that is edited, a training, or a store. While a
        training has the processor, no model is loaded beside it."""
        if action == "history" and self._chats is None:
            return False
        if action == "suspend":  # what is written there could be meant
            return not (isinstance(self.focused, Input) and self.focused.value)
        if action == "complete":
            return self._complete is not None
        if action == "finetune":
            return self.finetune is not None
        if action in ("models", "start", "chat", "history"):
            return self.finetune is None or bool(self._load)
        return super().check_action(action, parameters)

    def _go(self, name: str) -> None:
        if holding := self._holding:
            holding.leave_then(partial(self._go, name))
            return
        # Below lies Textual's own empty screen, then one of ours that is kept.
        while len(self.screen_stack) > 2:
            self.pop_screen()
        self.switch_screen(name)

    @property
    def _holding(self) -> InspectScreen | None:
        """An inspector with branches that would be lost."""
        stack = (s for s in self.screen_stack if isinstance(s, InspectScreen))
        return next((screen for screen in stack if screen.holds), None)

    @on(facts.FileChosen)
    def show_file(self, event: facts.FileChosen) -> None:
        """Look into a file, over what is shown now."""
        path = str(event.path)
        self.inspect(InspectSource(event.path.name, lambda: read_file(path).text))

    @on(facts.SubjectChosen)
    def show_subject(self, event: facts.SubjectChosen) -> None:
        """Look into a text, over the screen that it comes from."""
        self.inspect(event.subject)

    def inspect(self, subject: InspectSource) -> None:
        """Look into a text, over what is shown now."""
        make_runner = self._engine.for_inspecting
        self.push_screen(InspectScreen(make_runner, subject, sampling=self._sampling))

    def action_models(self) -> None:
        """Show the models, over what is shown now."""
        if not isinstance(self.screen, ModelsScreen):
            self.push_screen(ModelsScreen(self._list_models))

    # The way out.

    @property
    def broke_off_with(self) -> Exception | None:
        """What ended the program, if the user did not."""
        return self._exception or self._input_error

    @property
    def left_text(self) -> Path | LmtuiError | None:
        """The file whose unsaved text is kept, though nobody could be asked, or why it
        is not."""
        return self._complete.left if self._complete is not None else None

    @on(TerminalGone)
    def leave_without_terminal(self) -> None:
        """No key can come any more, and nothing is seen."""
        self.leave(exit_code(signal.SIGHUP))

    @on(InputFailed)
    def leave_without_keys(self, event: InputFailed) -> None:
        """No key can come any more: keep everything, and tell of the bug."""
        self._input_error = event.error
        self.leave(1)

    def action_suspend(self) -> None:
        """Stop until the shell brings the program back, if there is one."""
        if shell_waits():
            self.action_suspend_process()
        else:
            self.notify("No shell waits that could bring the program back.")

    def action_help(self) -> None:
        """Show what each key does here, or close that."""
        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        elif not isinstance(self.screen, CommandPalette):
            self.push_screen(HelpScreen(self.screen, self.own_keys))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every key of this screen, and Textual's own commands."""
        yield from palette.commands(self, screen, super().get_system_commands(screen))
        if self.check_action("chat", ()):
            yield SystemCommand("Chat", "Show the chat.", self.action_chat)

    async def action_quit(self) -> None:
        """Leave; a text that is not saved is asked about first."""
        if isinstance(self.screen, ConfirmDialog):
            return
        if self.finetune is not None and self.finetune.at_work:
            self._go("finetune")
            self.finetune.stop_and_leave()
            return
        if holding := self._holding:
            holding.leave_then(self._quit_again)
            return
        if self._complete is None or not self._complete.unsaved:
            self.leave()
            return
        self._go("complete")
        self._complete.leave_then(self.leave)

    def _quit_again(self) -> None:
        self.call_later(self.action_quit)

    def leave(self, code: int = 0) -> None:
        """End the program with an exit code; what the engine does is stopped, and
        waited for shortly. After a bug or a signal a draft of the chat is `unsent`."""
        if code and not self.unsent:
            self.unsent = self._chat.draft
        self._engine.close()
        if self._chats is not None:
            self.all_kept = self._chats.close()
        self.exit(return_code=code)
