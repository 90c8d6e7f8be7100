"""The start screen: state of the model, choices, recent conversations and files.

Every choice is an action of the app, or opens a conversation or file. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from lmtui.chat.summary import ConversationSummary
from lmtui.editing import file_names
from lmtui.files import read_file
from lmtui.tui.app_messages import FileNamed, NotesNamed, SubjectChosen
from lmtui.tui.app_options import RecentFiles
from lmtui.tui.background import run_in_thread
from lmtui.tui.chat.store import (
    ConversationChosen,
    ConversationStore,
)
from lmtui.tui.dialogs import ActionList
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.model_state import ModelState
from lmtui.tui.widgets.line_prompt import LinePrompt, LineQuestion
from lmtui.tui.widgets.plain_text import plain_line
from lmtui.tui.widgets.status import HintLine

_BAR = 24  # cells

_BACK = {
    "complete": "Back to the file that is being edited.",
    "finetune": "Back to the training and its figures.",
}
HINT = "c begins a chat; Ctrl+P and F1 show the rest."
RECENT = 5
"""Number of conversations listed."""
_NOTES = LineQuestion(
    "notes",
    "Notes",
    "a file or a folder; Tab completes",
    file_names.why_no_notes,
    file_names.completed,
)


class ModelLine(Static):
    DEFAULT_CSS = """
    ModelLine {
        height: auto;
        padding: 0 1;
        border-left: thick $primary;
        &.-loading { border-left: thick $warning; }
        &.-failed { border-left: thick $error; }
    }
    """

    def show(self, state: ModelState, more: str = "") -> None:
        """Show the state of the model, and a further sentence."""
        self.set_class(state.loading, "-loading")
        self.set_class(state.error is not None, "-failed")
        parts = [plain_line((state.name, "bold")), plain_line(state.words)]
        if more:
            parts.append(plain_line((more, "$quiet")))
        if state.error is not None:
            details = (state.error.detail, state.error.hint)
            parts += [plain_line((line, "$quiet"))
                      for line in details if line and line != state.name]  # fmt: skip
        elif state.share is not None:
            done = round(_BAR * min(1.0, state.share))
            bar = (("━" * done, "$primary"), ("━" * (_BAR - done), "$surface"))
            parts.append(Content.assemble(*bar))
        self.update(Content("\n").join(parts))


class StartScreen(Screen[None]):
    HELP = """\
Up and Down choose, Enter or a click opens; each line has a letter too. The model loads
in the background.
"""
    CSS_PATH = "start.tcss"
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 (the base class declares it so)
        (0, "-low"),
        (18, "-short"),
        (32, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "app.chat", "Chat", id="start.chat",
                tooltip="Talk, and watch every distribution."),
        Binding("e", "app.complete", "Edit a file", id="start.editor",
                tooltip="Write, and see what the model expects next."),
        Binding("f", "app.finetune", "Fine-tune", id="start.training",
                tooltip="Train it on your notes, and see what changed."),
        Binding("l", "app.learn", "Learn", id="start.learn",
                tooltip="A course: how a language model works, by doing."),
        Binding("o", "app.history", "History", id="start.history",
                tooltip="Find an earlier conversation and resume it."),
        Binding("m", "app.models", "Models", id="start.models",
                tooltip="Choose, fetch and load another model."),
        Binding("s", "app.settings", "Settings", id="start.settings",
                tooltip="See every setting and preset, and change them."),
        Binding("t", "app.change_theme", "Themes", id="start.themes",
                tooltip="Try the colours."),
        Binding("h", "app.help", "Help", id="start.help",
                tooltip="Show what every key does."),
        Binding("q", "app.quit", "Quit", id="start.quit",
                tooltip="Leave the program."),
        Binding("escape", "hide_hint", "Hide the hint", id="start.hide", show=False,
                tooltip="Hide the hint for new users."),
    ]  # fmt: skip

    def __init__(
        self, recent_files: RecentFiles, chats: ConversationStore | None = None
    ) -> None:
        super().__init__()
        self._recent_files = recent_files
        self._recent: Sequence[Path] = ()
        self._store = chats
        self._conversations: tuple[ConversationSummary, ...] = ()

    def compose(self) -> ComposeResult:
        title = Content.assemble(
            ("lmtui", "bold $primary"), ("  see a language model think", "$quiet")
        )
        with Vertical(id="column"):
            yield Static(title, id="title")
            yield ModelLine(id="model")
            yield ActionList(id="choices")
            yield LinePrompt(id="line")
        yield HintLine("start", HINT)

    def on_mount(self) -> None:
        self.watch(self.app, "model", self.show_model)
        self.focus_choices()

    @on(LinePrompt.PromptClosed)
    def focus_choices(self) -> None:
        self.query_one(ActionList).focus()

    def action_ask_file(self) -> None:
        prompt = self.query_one(LinePrompt)
        prompt.ask_open(lambda: [str(path) for path in self._recent_files()])

    def action_ask_notes(self) -> None:
        self.query_one(LinePrompt).ask(_NOTES)

    @on(LinePrompt.Answered)
    def open_named(self, event: LinePrompt.Answered) -> None:
        self.focus_choices()
        if (path := file_names.path_named(event.text)) is not None:
            kind = NotesNamed if event.question == _NOTES.id else FileNamed
            self.post_message(kind(path))

    def on_screen_resume(self) -> None:
        self._show_choices()
        run_in_thread(self._recent_files, self.call_later, self._show_recent)
        if self._store is not None:
            self._store.ask(
                self.call_later,
                lambda store: tuple(store.listed(limit=RECENT)),
                self._show_conversations,
                lambda _: None,  # the list of conversations tells it
                empty=(),
            )

    def _show_conversations(self, rows: tuple[ConversationSummary, ...]) -> None:
        if rows != self._conversations:
            self._conversations = rows
            self._show_choices()

    def _show_recent(self, paths: Sequence[Path]) -> None:
        if paths != self._recent:
            self._recent = paths
            self._show_choices()

    def _show_choices(self) -> None:
        files = {
            f"open({number})": shown_path(path)
            for number, path in enumerate(self._recent)
        }
        conversations = {
            f"resume({row.id})": row.title or row.preview or "Untitled"
            for row in self._conversations
        }
        more = {"Recent conversations": conversations, "Recent files, as tokens": files}
        details = {
            f"app.{name}": back
            for name, back in _BACK.items()
            if self.app.is_screen_installed(name)
        }
        self.query_one(ActionList).offer(details=details, more=more)

    def action_hide_hint(self) -> None:
        self.query_one(HintLine).hide()

    def action_resume(self, id: int) -> None:
        self.post_message(ConversationChosen(id))

    def action_open(self, number: int) -> None:
        path = self._recent[number]
        source = InspectSource(path.name, lambda: read_file(str(path)).text)
        self.post_message(SubjectChosen(source))

    def show_model(self, state: ModelState) -> None:
        self.query_one(ModelLine).show(state, state.better)


def shown_path(path: Path) -> str:
    """Return a file's name and its folder, abbreviated with `~`."""
    folder = path.parent
    with suppress(ValueError, RuntimeError):  # not at home, or without one
        folder = Path("~") / folder.relative_to(Path.home())
    return f"{path.name}  {folder}"
