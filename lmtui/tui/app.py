"""The Textual app: all screens, the engine's thread, the model in use, and quitting.

Only this module knows all screens. Knows no torch: engines come from a factory.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from platformdirs import user_downloads_path
from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.driver import Driver
from textual.reactive import var
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, TextArea

from lmtui.config.load import KEYS
from lmtui.config.settings import (
    SAMPLING,
    Preset,
    SettingItem,
    Settings,
    items,
)
from lmtui.editing.text_file import TextFile
from lmtui.errors import LmtuiError
from lmtui.models.progress import Progress
from lmtui.models.source import ModelRef
from lmtui.processes import shell_waits
from lmtui.setting_field import SettingValue
from lmtui.tui import no_colour, palette
from lmtui.tui.app_messages import (
    AdapterChosen,
    FileNamed,
    ModelChosen,
    NotesNamed,
    PresetNamed,
    SettingsRead,
    SubjectChosen,
)
from lmtui.tui.app_options import AppOptions
from lmtui.tui.background import run_in_thread
from lmtui.tui.chat import store as chat_store
from lmtui.tui.chat.store import ConversationStore
from lmtui.tui.dialogs import ConfirmDialog, ErrorScreen, notify_error
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.key_order import KeysInOrder
from lmtui.tui.model_state import ModelState
from lmtui.tui.preferences import Preferences, PreferencesApp
from lmtui.tui.settings.preset_writer import save_preset
from lmtui.tui.terminal import (
    InputFailed,
    TerminalDriver,
    TerminalGone,
    exit_code,
    leave_when_gone,
)
from lmtui.worker.events import EngineOpened
from lmtui.worker.requests import OpenEngine
from lmtui.worker.worker import EngineWorker

if TYPE_CHECKING:
    from lmtui.tui.chat.screen import ChatScreen
    from lmtui.tui.editor.options import Writing
    from lmtui.tui.editor.screen import EditorScreen
    from lmtui.tui.finetune.run import Finetuning
    from lmtui.tui.finetune.screen import FinetuneScreen
    from lmtui.tui.inspector.screen import InspectScreen

_FIELDS = "Input, TextArea"

_SUSPEND = "Back to the shell; `fg` brings the program back."

T = TypeVar("T")
OpenModel = Callable[[ModelRef], OpenEngine]
"""Returns the function that opens the engine for a model and an adapter."""


class LmtuiApp(KeysInOrder, PreferencesApp):
    TITLE = "lmtui"
    COMMANDS = {palette.CommandList}  # noqa: RUF012 (the base class declares it so)
    SUSPENDED_SCREEN_CLASS = "-below"
    # Toasts are as wide as their text, and drawn on the top screen only; on a dialog
    # above the status lines of the screen below.
    CSS = f"""{no_colour.SHEET}
    ToastRack {{ scrollbar-size-vertical: 0; }} .-below Toast {{ display: none; }}
    ModalScreen ToastRack {{ margin: 0 0 2 0; }}
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
                tooltip=_SUSPEND),
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
    chat_change: var[tuple[str, SettingValue] | None] = var(None, always_update=True)
    """Last change of a chat setting, by name; watched by the chat screen."""
    presets: var[Mapping[str, Preset]] = var({})
    """Presets by name; watched by the screens that offer them."""

    def __init__(self, open_model: OpenModel, options: AppOptions) -> None:
        preferences = options.preferences or Preferences()
        super().__init__(preferences)
        self._options = options
        self._settings_file = file = preferences.settings_file
        self.set_reactive(LmtuiApp.presets, file.presets if file else {})
        self._input_error: Exception | None = None
        self.open_model = open_model
        self._loaded_any = False  # whether a model was asked for
        self._engine = EngineWorker()
        self.make_client = partial(EngineClient, self._engine)
        self._loader = self.make_client(self.call_later)
        self._store: ConversationStore | None = None
        if options.chats_file is not None:
            self._store = ConversationStore(options.chats_file, self.post_message)
        self._chat: ChatScreen | None = None
        self._editor: EditorScreen | None = None
        self._inspectors: list[InspectScreen] = []  # open ones among them
        self._writing = options.writing
        self.finetuning = options.finetuning
        """The training, if there is one."""
        self.finetune: FinetuneScreen | None = None
        """Its screen, once it was shown."""
        state = ModelState(
            options.ref,
            error=options.chat.missing,
            better_than_default=options.better_than_default,
        )
        self.set_reactive(LmtuiApp.model, state)

    # The screens: each is imported and made when it is first shown, and kept.

    def installed(self, name: str) -> Screen[None]:
        if not self.is_screen_installed(name):
            make = {
                "start": self._make_start,
                "chat": self._make_chat,
                "complete": self._make_editor,
                "finetune": self._make_finetune,
                "learn": self._make_learn,
            }
            self.install_screen(make[name](), name)
        return self.get_screen(name)

    def _make_start(self) -> Screen[None]:
        from lmtui.tui.start import StartScreen

        return StartScreen(self._options.recent_files, self._store)

    def _make_chat(self) -> Screen[None]:
        from lmtui.tui.chat.screen import ChatScreen

        self._chat = ChatScreen(
            self.make_client,
            sampling=self._options.sampling,
            sampling_for=self._options.sampling_for,
            system=self._options.system,
            store=self._store,
            opened=self._options.opened,
            options=self._options.chat,
        )
        return self._chat

    def _make_editor(self) -> Screen[None]:
        from lmtui.tui.editor.screen import EditorScreen

        assert self._writing is not None
        self._editor = EditorScreen(self.make_client, self._writing)
        return self._editor

    def _make_finetune(self) -> Screen[None]:
        from lmtui.tui.finetune.screen import FinetuneScreen

        assert self.finetuning is not None
        self.finetune = FinetuneScreen(self.finetuning, leave=self.leave)
        return self.finetune

    def _make_learn(self) -> Screen[None]:
        from lmtui.tui.learn.screen import LearnScreen

        assert self._options.open_lesson is not None
        return LearnScreen(self.make_client, self._options.open_lesson())

    def on_mount(self) -> None:
        leave_when_gone(self, self.leave)
        # A layout's garbage is collected in the young generations. A full collection
        # stops the screen for a tenth of a second, so it is made rare.
        gc.set_threshold(*gc.get_threshold()[:2], 100)
        self.call_after_refresh(gc.enable)
        self.follow_preferences()
        if self._store is not None:
            self.call_after_refresh(self._store.purge)
        first, source = self._options.first, self._options.source
        if first == "inspect" and source is not None:
            self.push_screen(self.installed("start"))
            self.inspect(source)
        else:
            self.push_screen(self.installed(first))
        if first != "finetune" and self.model.error is None:
            self.call_after_refresh(self.load_model, self.model.model_ref)

    def get_driver_class(self) -> type[Driver]:
        return TerminalDriver

    # Loading of the model.

    def load_model(self, ref: ModelRef) -> None:
        self.model = self.model.switched(ref)
        self._loaded_any = True
        self._loader.load(
            self.open_model(ref),
            progress=self._show_progress,
            then=self._show_loaded,
            failed=self._show_load_failed,
        )

    @on(ModelChosen)
    def load_chosen(self, event: ModelChosen) -> None:
        self.load_model(event.ref)

    @on(AdapterChosen)
    def use_adapter(self, event: AdapterChosen) -> None:
        self.load_model(event.ref)
        if event.screen == "chat":
            self.action_chat()
        else:
            self.action_complete()

    def _show_progress(self, progress: Progress) -> None:
        if progress.warning:
            self.notify(progress.what, severity="warning")
        else:
            self.model = self.model.progressed(progress)

    def _show_loaded(self, opened: EngineOpened) -> None:
        self.model = self.model.loaded(opened.info, opened.capabilities, opened.against)

    def _show_load_failed(self, error: LmtuiError) -> None:
        self.model = state = self.model.failed(error)
        if isinstance(self.screen, ErrorScreen):
            self.pop_screen()
        dialog = ErrorScreen(error, ref=state.model_ref, before=state.before)
        self.push_screen(dialog, self._answer_error)

    def _answer_error(self, answer: str | None) -> None:
        if answer == "again":
            self.load_model(self.model.model_ref)
        elif answer == "before" and self.model.before is not None:
            self.load_model(self.model.before)
        elif answer == "models":
            self.action_models()

    # The conversations.

    @on(chat_store.WriterReported)
    def show_writer_report(self, message: chat_store.WriterReported) -> None:
        from lmtui.chat import writer

        match message.event:
            case writer.WriteFailed(error):
                self.notify(
                    f"{error.detail}\n{error.hint}".strip(),
                    title=f"Not saved: {error.title}",
                    severity="error",
                    timeout=15,
                )
            case writer.WriteRecovered():
                self.notify("Conversations are saved again.")
            case writer.FileReplaced(salvaged):
                self.notify(salvaged.words, severity="warning", timeout=20)
                if self._chat is not None:
                    self._chat.session.save_whole()
            case writer.ChangedByOther(uid):
                if self._chat is not None:
                    self._chat.session.continue_as_copy(uid)

    @on(chat_store.ConversationChosen)
    def open_conversation(self, event: chat_store.ConversationChosen) -> None:
        self._show_screen("chat")
        if self._chat is not None:
            self.call_later(self._chat.editor.open, event)

    def action_history(self, words: str = "") -> None:
        from lmtui.tui.history import HistoryScreen

        if self._store and not isinstance(self.screen, HistoryScreen):
            self.push_screen(HistoryScreen(self._store, words))

    # The settings.

    def action_settings(self) -> None:
        from lmtui.tui.settings.screen import SettingsScreen

        is_open = any(isinstance(s, SettingsScreen) for s in self.screen_stack)
        if is_open or isinstance(self.screen, ModalScreen):
            return
        if self._settings_file is None:
            return
        themes = {"theme": tuple(self.available_themes)}
        self.push_screen(SettingsScreen(self._settings_file, choices=themes))

    @on(PresetNamed)
    def save_preset(self, event: PresetNamed) -> None:
        save_preset(self, self._settings_file, event)

    @on(SettingsRead)
    def follow_settings(self, event: SettingsRead) -> None:
        """Apply what was changed at once, unless a flag or variable overrides it."""
        snapshot = event.snapshot
        self.presets = snapshot.saved.presets
        if event.written.startswith(f"{KEYS}."):
            self.use_keys(snapshot.saved.keys)
        for changed in items():
            if changed.key == event.written and not snapshot.stronger(changed.name):
                self._follow_setting(changed, snapshot.counting)

    def _follow_setting(self, changed: SettingItem, counting: Settings) -> None:
        name, value = changed.name, counting.value(changed.name)
        if name == "theme":
            self.apply_theme(str(value))
        elif changed.section == SAMPLING:
            if counting.origin(name).source == "default" and self.model.info:
                value = dict(self.model.info.generation_defaults).get(name, value)
            self.sampling_changes = {**self.sampling_changes, name: value}
        elif changed.declaration.at_once:
            self.chat_change = name, value

    # Navigation.

    def action_start(self) -> None:
        self._show_screen("start")

    def action_chat(self) -> None:
        self._show_screen("chat")

    def action_complete(self) -> None:
        if self._writing is not None:
            self._show_screen("complete")
        else:
            self._ask("ask_file")

    @on(FileNamed)
    def edit_file(self, event: FileNamed) -> None:
        def show(writing: Writing) -> None:
            self._writing = writing
            self._show_screen("complete")

        work = partial(self._options.open_writing, event.path)
        self._begin(work, show, "the file can't be opened")

    def action_finetune(self) -> None:
        if self.finetuning is not None:
            self._show_screen("finetune")
        else:
            self._ask("ask_notes")

    @on(NotesNamed)
    def train_on_notes(self, event: NotesNamed) -> None:
        def show(finetuning: Finetuning) -> None:
            self.finetuning = finetuning
            self._show_screen("finetune")

        model = (self.model.in_use or self.model.model_ref).model
        work = partial(self._options.begin_training, event.path, model)
        self._begin(work, show, "the training can't begin")

    def _begin(
        self, work: Callable[[], T], then: Callable[[T], object], bug: str
    ) -> None:
        failed = partial(notify_error, self)
        run_in_thread(work, self.call_later, then, failed=failed, bug=bug)

    def _ask(self, action: str) -> None:
        """Have the start screen ask for a path, once it is shown."""
        self._show_screen("start")
        start = self.installed("start")
        start.call_later(start.run_action, action)

    async def action_leave_training(self) -> None:
        """Leave a training that has not begun or is over: the program, where it was
        opened for it, else its screen."""
        if self._options.finetuning is not None:
            await self.action_quit()
        elif self.finetuning is not None and self.finetune is not None:
            self.finetuning.training.stop()
            self.finetuning.training.kill()
            self._show_screen("start")
            self.uninstall_screen("finetune")
            self.finetune.remove()
            self.finetuning = self.finetune = None

    def action_learn(self) -> None:
        if self._options.open_lesson is not None:
            self._show_screen("learn")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """With a training, the screens that need a model stay disabled until one is
        loaded."""
        needed: dict[str, object] = {
            "history": self._store,
            "settings": self._settings_file,
            "learn": self._options.open_lesson,
        }
        if action in needed and needed[action] is None:
            return False
        if action == "suspend":  # where one can write, Ctrl+Z is undo alone
            if isinstance(self.focused, Input | TextArea):
                return False  # at once: this is asked at every key
            return not any(field.region for field in self.screen.query(_FIELDS))
        if action == "leave_training" and self.finetuning is not None:
            is_over = self.finetuning.run.phase == "over"
            begun = self.finetuning.run.begun
            return self._options.finetuning is None if is_over else not begun
        if action in ("models", "start", "chat", "history", "learn"):
            return self._options.finetuning is None or self._loaded_any
        return super().check_action(action, parameters)

    def _show_screen(self, name: str) -> None:
        if inspector := self._inspector_with_branches:
            inspector.leave_then(partial(self._show_screen, name))
            return
        # The stack begins with Textual's empty screen and one installed screen.
        while len(self.screen_stack) > 2:
            self.pop_screen()
        self.switch_screen(self.installed(name))

    @property
    def _inspector_with_branches(self) -> InspectScreen | None:
        return next(
            (screen for screen in self._open_inspectors if screen.has_branches), None
        )

    @property
    def _open_inspectors(self) -> list[InspectScreen]:
        stack = self.screen_stack
        return [screen for screen in self._inspectors if screen in stack]

    @on(SubjectChosen)
    def show_subject(self, event: SubjectChosen) -> None:
        self.inspect(event.subject)

    def inspect(self, subject: InspectSource) -> None:
        from lmtui.tui.inspector.screen import InspectScreen

        screen = InspectScreen(
            self.make_client,
            subject,
            sampling=self._options.sampling,
            sampling_for=self._options.sampling_for,
        )
        self._inspectors = [*self._open_inspectors, screen]
        self.push_screen(screen)

    def action_models(self) -> None:
        from lmtui.tui.models import ModelsScreen

        if not isinstance(self.screen, ModelsScreen):
            options = self._options
            self.push_screen(ModelsScreen(options.list_models, options.servers))

    # Leaving.

    @property
    def broke_off_with(self) -> Exception | None:
        return self._exception or self._input_error

    @property
    def left_text(self) -> TextFile | LmtuiError | None:
        """The file whose unsaved text is in a recovery copy, or the error why none is.

        Set only if the app ended without asking the user.
        """
        return self._editor.file.left if self._editor is not None else None

    @on(TerminalGone)
    def leave_without_terminal(self) -> None:
        self.leave(exit_code(signal.SIGHUP))

    @on(InputFailed)
    def leave_without_keys(self, event: InputFailed) -> None:
        self._input_error = event.error
        self.leave(1)

    def action_suspend(self) -> None:
        if shell_waits():
            self.action_suspend_process()
        else:
            self.notify("No shell is waiting that could bring the program back.")

    def action_help(self) -> None:
        from lmtui.tui.help import HelpScreen

        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        elif not isinstance(self.screen, CommandPalette):
            self.push_screen(HelpScreen(self.screen, self.own_keys))

    def deliver_screenshot(
        self,
        filename: str | None = None,
        path: str | None = None,
        time_format: str | None = None,
    ) -> str | None:
        """Save a picture of the screen in the folder of downloads; in the current one
        where there is none."""
        if path is None and not user_downloads_path().is_dir():
            path = str(Path.cwd())
        return super().deliver_screenshot(filename, path, time_format)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from palette.commands(self, screen, super().get_system_commands(screen))
        yield SystemCommand("Suspend", _SUSPEND, self.action_suspend)
        if self.check_action("chat", ()):
            yield SystemCommand("Chat", "Show the chat.", self.action_chat)
        if self.check_action("learn", ()):
            words = "Show the course on language models."
            yield SystemCommand("Learn", words, self.action_learn)

    async def action_quit(self) -> None:
        is_asked = isinstance(self.screen, ConfirmDialog)
        if is_asked and not isinstance(self.screen, ErrorScreen):
            return
        if self.finetune is not None and self.finetune.at_work:
            self._show_screen("finetune")
            self.finetune.stop_and_leave()
            return
        if inspector := self._inspector_with_branches:
            inspector.leave_then(partial(self.call_later, self.action_quit))
            return
        if self._editor is None or not self._editor.file.unsaved:
            self.leave()
            return
        self._show_screen("complete")
        self._editor.file.leave_then(self.leave)

    def leave(self, code: int = 0) -> None:
        """End the app with an exit code.

        The engine is stopped, and waited for shortly. A message that was sent a moment
        ago is stored. With a code other than 0, the chat's draft is kept in `unsent`.
        """
        if code and not self.unsent and self._chat is not None:
            self.unsent = self._chat.unsent
        self._engine.close()
        if self._chat is not None:
            self._chat.session.save()
        if self._store is not None:
            self.all_stored = self._store.close()
        self.exit(return_code=code)
