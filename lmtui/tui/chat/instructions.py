"""Instructions to the chat model besides the messages: thinking, template."""

from __future__ import annotations

from dataclasses import replace

from lmtui.config.settings import THINKING
from lmtui.engine.types import EngineInfo
from lmtui.models.source import short_label
from lmtui.text import visible_line
from lmtui.tui.chat.draft import DraftController
from lmtui.tui.chat.parts import ChatParts
from lmtui.tui.controller import Controller
from lmtui.tui.model_state import ModelState
from lmtui.tui.settings.events import SettingChanged

_BASE_MODEL = (
    "This is a base model: it has no chat template. A conversation is given to it as"
    " plain lines, User: …⏎Assistant:, and it goes on with the text."
)
_THINKING = {None: "", True: "thinking on", False: "thinking off"}


class InstructionController(Controller):
    """Follows the chat's settings; says in the status line whether the model is told to
    think, and that it has no chat template."""

    def __init__(self, parts: ChatParts, draft: DraftController) -> None:
        self._screen, self._session = parts.screen, parts.session
        self._draft = draft
        self._notified = ""  # label of the base model that the user was told of last
        self.info: EngineInfo | None = None

    def start(self) -> None:
        screen = self._screen
        screen.watch(screen.app, "chat_change", self._follow_setting)

    def _follow_setting(self, changed: SettingChanged | None) -> None:
        if changed is None:
            return
        session, value = self._session, changed.value
        if changed.name == "chat_when_full":
            session.options = replace(session.options, drop_oldest=value == "drop")
            return
        session.options = replace(session.options, thinking=THINKING[str(value)])
        if session.thinking_setting is not None:  # by a command: this was said later
            session.set_thinking(str(value))
        self.update()
        self._draft.ask_anew()

    def follow_model(self, state: ModelState) -> None:
        """Notify once how a base model is asked."""
        self.info = info = state.info
        if info is None:
            return
        self.update()
        label = "" if info.has_template else info.label
        if label and label != self._notified:
            title = visible_line(short_label(label))
            self._screen.notify(_BASE_MODEL, title=title, markup=False, timeout=12)
        self._notified = label

    def update(self) -> None:
        self._screen.status.note = self._thinking_note()

    def _thinking_note(self) -> str:
        if self.info is not None and not self.info.has_template:
            return "base model: no chat template"
        can_switch = self.info is not None and self.info.switches_thinking
        return _THINKING[self._session.thinking] if can_switch else ""
