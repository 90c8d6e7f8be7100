"""The Textual app: all screens, the engine's thread, the model in use, and quitting.

Only this module knows all screens. Knows no torch: engines come from a factory.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from textual import on
from textual.app import SystemCommand
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
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.engine import client
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.message_client import EngineClient, load
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
from lmtui.worker.requests import OpenEngine
from lmtui.worker.worker import EngineWorker

OpenModel = Callable[[ModelRef], OpenEngine]
"""Returns the function that opens the engine for a model and an adapter."""


class LmtuiApp(KeysInOrder, PreferencesApp):
    """The app of lmtui, with all its screens."""

    TITLE = "lmtui"
    COMMANDS = {palette.CommandList}  # noqa: RUF012 (the base class declares it so)
    SUSPENDED_SCREEN_CLASS = "-below"
    # Toasts are as wide as their text, and drawn on the top screen only.
    CSS = f"""{no_colour.SHEET}
    ToastRack {{ scrollbar-size-vertical: 0; }} .-below Toast {{ display: none; }}
    Toast {{ width: auto; max-width: 60%; padding: 0 1; }}"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", priority=True,
                tooltip="Show or hide the keys."),
        Binding("f5", "models", "Model", id="app.models",
                tooltip="Choose another model; it is loaded without a restart."),
        Binding("f9", "start", "Start screen", id="app.start",
                tooltip="Go to the first screen; nothing is closed."),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True,
                tooltip="Leave the program."),
        Binding("ctrl+z", "suspend", "Suspend", id="app.suspend", show=False,
                tooltip="Back to the shell; `fg` brings the program back."),
        Binding("ctrl+p", "command_palette", "Palette", id="app.palette", show=False,
                priority=True, tooltip="Everything that can be done here, by name."),
        Binding("f10", "settings", "Settings", id="app.settings",
                tooltip="See every setting and preset, and change them."),
    ]  # fmt: skip

    all_stored = True
    """Whether all messages were saved when the app ended."""
    unsent = ""
    """Draft in the chat when the app ended by a bug or a signal."""
    model: var[ModelState] = var(ModelState())
    """State of the model; watched by every screen that shows it."""

    sampling_changes: var[Mapping[str, Any]] = var({})
    """Sampling settings changed since the program started; watched by the screens with
    a sampler."""
    chat_change: var[events.SettingChanged | None] = var(None, always_update=True)
    """Last change of a chat setting; watched by the chat screen."""
    presets: var[Mapping[str, Preset]] = var({})
    """Presets by name; watched by the screens that offer them."""

    def __init__(
        self,
        open_model: OpenModel,
        *,
        ref: ModelRef | None = None,
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
        preferences = preferences or Preferences()
        super().__init__(preferences)
        self._settings_file = file = preferences.settings_file
        self.set_reactive(LmtuiApp.presets, file.presets if file else {})
        self._input_error: Exception | None = None
        self._open_model = open_model
        self._sampling = sampling
        self._load = 0
        self._engine = EngineWorker()
        make_client = partial(EngineClient, self._engine)
        make_editor_client = partial(client.EngineClient, self._engine)
        self._chats = (
            ConversationStore(chats_file, self.post_message) if chats_file else None
        )
        self._chat = chat = ChatScreen(
            make_client,
            sampling=sampling,
            system=system,
            chats=self._chats,
            opened=opened,
        )
        chat.options = options = chat_options or ChatOptions()
        self.install_screen(StartScreen(recent_files, self._chats), "start")
        self.install_screen(chat, "chat")  # kept while another screen is shown
        self._complete: EditorScreen | None = None
        if writing is not None:
            self._complete = EditorScreen(make_editor_client, writing)
            self.install_screen(self._complete, "complete")
        self.finetune: FinetuneScreen | None = None
        """Screen of the training, if there is one."""
        if finetuning is not None:
            can_write = writing is not None
            self.finetune = FinetuneScreen(
                finetuning, leave=self.leave, can_write=can_write
            )
            self.install_screen(self.finetune, "finetune")
        self._first, self._subject = first, subject
        self._list_models = list_models
        state = ModelState(ref or ModelRef(), error=options.missing)
        self.set_reactive(LmtuiApp.model, state)

    def on_mount(self) -> None:
        """Apply the preferences, open the first screen, and then load the model."""
        leave_when_gone(self, self.leave)
        # A layout's garbage is collected in the young generations. A full collection
        # stops the screen for a tenth of a second, so it is made rare.
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
            self.call_after_refresh(self.load_model, self.model.model_ref)

    def get_driver_class(self) -> type[Driver]:
        return TerminalDriver

    # Loading of the model.

    def load_model(self, ref: ModelRef) -> None:
        """Load a model, with its adapter, in place of the current one."""
        self.model = self.model.switched(ref)
        open_engine = self._open_model(ref)
        self._load = load(self._engine, open_engine, self.post_message)

    @on(facts.ModelChosen)
    def load_chosen(self, event: facts.ModelChosen) -> None:
        self.load_model(event.ref)

    @on(facts.AdapterChosen)
    def use_adapter(self, event: facts.AdapterChosen) -> None:
        """Load the adapter that a training made, and go to the event's screen."""
        self.load_model(event.ref)
        self._go(event.screen)

    @on(facts.ModelLoadProgressed)
    def remember_progress(self, event: facts.ModelLoadProgressed) -> None:
        if event.load == self._load:
            self.model = self.model.progressed(event)

    @on(facts.ModelLoadWarned)
    def show_warning(self, event: facts.ModelLoadWarned) -> None:
        if event.load == self._load:
            self.notify(visible(event.what), severity="warning", markup=False)

    @on(facts.ModelLoaded)
    def remember_model(self, event: facts.ModelLoaded) -> None:
        if event.load == self._load:
            self.model = self.model.loaded(
                event.info, event.capabilities, event.against
            )

    @on(facts.ModelFailed)
    def remember_failure(self, event: facts.ModelFailed) -> None:
        """Show the error, and ask the user what to do."""
        if event.load != self._load:
            return
        self.model = state = self.model.failed(event.error)
        if isinstance(self.screen, ErrorScreen):
            self.pop_screen()
        asked = ErrorScreen(event.error, ref=state.model_ref, before=state.before)
        self.push_screen(asked, self._answer_error)

    def _answer_error(self, answer: str | None) -> None:
        if answer == "again":
            self.load_model(self.model.model_ref)
        elif answer == "before" and self.model.before is not None:
            self.load_model(self.model.before)
        elif answer == "models":
            self.action_models()

    # The conversations.

    @on(kept.KeepingFailed)
    def warn_not_stored(self, event: kept.KeepingFailed) -> None:
        """Report that messages could not be saved; they stay on the screen."""
        error = event.error
        self.notify(
            visible(f"{error.detail}\n{error.hint}".strip()),
            title=f"Not saved: {visible_line(error.title)}",
            severity="error",
            markup=False,
            timeout=15,
        )

    @on(kept.KeepingRecovered)
    def note_stored(self) -> None:
        """Report that the pending messages are saved now."""
        self.notify("Conversations are saved again.")

    @on(kept.StoreReplaced)
    def show_store_replaced(self, event: kept.StoreReplaced) -> None:
        """Report how a damaged store was replaced, and save the conversation again."""
        self.notify(visible(event.words), severity="warning", markup=False, timeout=20)
        self._chat.keep_whole()

    @on(kept.ChangedElsewhere)
    def let_go_on_apart(self, event: kept.ChangedElsewhere) -> None:
        """Save the conversation as a copy: another program has changed the stored
        one."""
        self._chat.keep_as_another(event.uid)

    @on(kept.ConversationChosen)
    def open_conversation(self, event: kept.ConversationChosen) -> None:
        self._go("chat")
        self.call_later(self._chat.open_stored, event)

    def action_history(self, words: str = "") -> None:
        """Open the conversations, searched for `words`, over the current screen."""
        if self._chats and not isinstance(self.screen, HistoryScreen):
            self.push_screen(HistoryScreen(self._chats, words))

    # The settings.

    def action_settings(self) -> None:
        shown = any(isinstance(each, SettingsScreen) for each in self.screen_stack)
        if self._settings_file is None or shown or isinstance(self.screen, ModalScreen):
            return
        themes = {"theme": tuple(self.available_themes)}
        self.push_screen(SettingsScreen(self._settings_file, choices=themes))

    @on(events.SheetRead)
    def follow_presets(self, event: events.SheetRead) -> None:
        """Use the presets of the settings file."""
        self.presets = event.sheet.saved.presets

    @on(events.KeysSaved)
    def follow_keys(self, event: events.KeysSaved) -> None:
        """Use the keys of the settings file."""
        self.use_keys(event.sheet.saved.keys)

    @on(events.SettingSaved)
    def follow_setting(self, event: events.SettingSaved) -> None:
        """Apply a changed setting at once, unless a flag or variable overrides it."""
        name = event.name
        if event.sheet.stronger(name) is not None:
            return
        value = getattr(event.sheet.counting, name)
        if name == "theme":
            self.apply_theme(value)
        elif fields.item(name).metadata["section"] == SAMPLING:
            self.sampling_changes = {**self.sampling_changes, name: value}
        elif name in FOLLOWED:
            self.chat_change = events.SettingChanged(name, value)

    # Navigation.

    def action_start(self) -> None:
        self._go("start")

    def action_chat(self) -> None:
        self._go("chat")

    def action_complete(self) -> None:
        if self._complete is not None:
            self._go("complete")

    def action_finetune(self) -> None:
        if self.finetune is not None:
            self._go("finetune")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable what is not available: history, settings, the editor, a training.

        With a training, the screens that need a model stay disabled until one is
        loaded.
        """
        needed: dict[str, object] = {
            "history": self._chats,
            "settings": self._settings_file,
            "complete": self._complete,
            "finetune": self.finetune,
        }
        if action in needed and needed[action] is None:
            return False
        if action == "suspend":  # in an Input, Ctrl+Z is undo
            return not (isinstance(self.focused, Input) and self.focused.value)
        if action in ("models", "start", "chat", "history"):
            return self.finetune is None or bool(self._load)
        return super().check_action(action, parameters)

    def _go(self, name: str) -> None:
        if holding := self._holding:
            holding.leave_then(partial(self._go, name))
            return
        # The stack begins with Textual's empty screen and one installed screen.
        while len(self.screen_stack) > 2:
            self.pop_screen()
        self.switch_screen(name)

    @property
    def _holding(self) -> InspectScreen | None:
        """The open inspector with branches that would be lost, if any."""
        stack = (s for s in self.screen_stack if isinstance(s, InspectScreen))
        return next((screen for screen in stack if screen.holds), None)

    @on(facts.FileChosen)
    def show_file(self, event: facts.FileChosen) -> None:
        path = str(event.path)
        self.inspect(InspectSource(event.path.name, lambda: read_file(path).text))

    @on(facts.SubjectChosen)
    def show_subject(self, event: facts.SubjectChosen) -> None:
        self.inspect(event.subject)

    def inspect(self, subject: InspectSource) -> None:
        """Open the inspector on a text, over the current screen."""
        make_client = partial(client.EngineClient, self._engine)
        self.push_screen(InspectScreen(make_client, subject, sampling=self._sampling))

    def action_models(self) -> None:
        if not isinstance(self.screen, ModelsScreen):
            self.push_screen(ModelsScreen(self._list_models))

    # Leaving.

    @property
    def broke_off_with(self) -> Exception | None:
        """The error that ended the app, if any."""
        return self._exception or self._input_error

    @property
    def left_text(self) -> Path | LmtuiError | None:
        """The recovery copy of the unsaved text, or the error why there is none.

        Set only if the app ended without asking the user.
        """
        return self._complete.file.left if self._complete is not None else None

    @on(TerminalGone)
    def leave_without_terminal(self) -> None:
        self.leave(exit_code(signal.SIGHUP))

    @on(InputFailed)
    def leave_without_keys(self, event: InputFailed) -> None:
        """Leave with the error: the thread that reads the input has failed."""
        self._input_error = event.error
        self.leave(1)

    def action_suspend(self) -> None:
        """Suspend the process, if a shell can resume it."""
        if shell_waits():
            self.action_suspend_process()
        else:
            self.notify("No shell is waiting that could bring the program back.")

    def action_help(self) -> None:
        """Open the help, or close it."""
        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        elif not isinstance(self.screen, CommandPalette):
            self.push_screen(HelpScreen(self.screen, self.own_keys))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the palette's commands: the screen's keys, Textual's own, and Chat."""
        yield from palette.commands(self, screen, super().get_system_commands(screen))
        if self.check_action("chat", ()):
            yield SystemCommand("Chat", "Show the chat.", self.action_chat)

    async def action_quit(self) -> None:
        """Leave; ask first about a running training, open branches and unsaved text."""
        if isinstance(self.screen, ConfirmDialog):
            return
        if self.finetune is not None and self.finetune.at_work:
            self._go("finetune")
            self.finetune.stop_and_leave()
            return
        if holding := self._holding:
            holding.leave_then(self._quit_again)
            return
        if self._complete is None or not self._complete.file.unsaved:
            self.leave()
            return
        self._go("complete")
        self._complete.file.leave_then(self.leave)

    def _quit_again(self) -> None:
        self.call_later(self.action_quit)

    def leave(self, code: int = 0) -> None:
        """End the app with an exit code.

        The engine is stopped, and waited for shortly. With a code other than 0, the
        chat's draft is kept in `unsent`.
        """
        if code and not self.unsent:
            self.unsent = self._chat.draft
        self._engine.close()
        if self._chats is not None:
            self.all_stored = self._chats.close()
        self.exit(return_code=code)
