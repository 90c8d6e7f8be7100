"""The chat screen: a conversation, and the distribution at every token beside it.

Lays out the widgets, follows the draft, and maps keys to what the parent classes do.
Knows no torch.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static, TextArea

from lmtui.chat.message import ChatMessage
from lmtui.config.settings import THINKING
from lmtui.text import visible_line
from lmtui.tui.chat.attaching import AttachingScreen
from lmtui.tui.chat.attachments import Attachments
from lmtui.tui.chat.commands import is_command
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.transcript import Transcript
from lmtui.tui.engine import messages as facts
from lmtui.tui.settings import events
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.status import HintLine, MainPart, Status
from lmtui.tui.widgets.token_view import TokenView

TRY = """\
Three things to try

Ask  What is the capital of France?

Type  the cat sat on the
and watch the panel follow every key.

Press F4 and move the slider
between flat and sharp.
"""
_BASE_MODEL = (
    "This is a base model: it has no chat template. A conversation is given to it as"
    " plain lines, User: …⏎Assistant:, and it goes on with the text."
)
HINT = "F3 shows an answer as tokens; / lists commands."


class ChatScreen(AttachingScreen):
    """Transcript and panel, prompt and status line."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop",
                tooltip="Stop the answer; else back to the prompt."),
        Binding("ctrl+o", "app.history", "History", id="chat.history",
                tooltip="Find an earlier conversation and resume it."),
        Binding("ctrl+n", "new", "New", id="chat.new", show=False,
                tooltip="Begin another conversation; this one is kept."),
        Binding("ctrl+r", "regenerate", "Regenerate", id="chat.regenerate",
                tooltip="Another answer in place of the last one."),
        Binding("ctrl+g", "go_on", "Continue", id="chat.continue", priority=True,
                tooltip="Continue the last answer from exactly where it stands."),
    ]  # fmt: skip

    _told_of = ""  # the base model that was told of last
    _revision = 0  # of the draft that was looked at last

    def compose(self) -> ComposeResult:
        with MainPart(id="main"):
            with Vertical(id="talk"):
                yield Transcript(TRY, id="transcript")
                yield TokenView(id="tokens")
            with Vertical(id="side"):
                yield ProbabilityPanel(id="panel")
                yield LikelihoodStrip(id="strip")
                yield SamplerControls(self._settings, id="sampler")
        yield HintLine("chat", HINT)
        yield Static(id="whose", markup=False)
        yield Static(id="waiting", markup=False)
        yield DialogList(id="commands")
        yield Attachments(id="attachments")
        yield PromptField(id="prompt")
        yield Status(id="status")

    def on_mount(self) -> None:
        """The user can write at once, after what was said before."""
        self.query_one("#commands").can_focus = False
        self.watch(self.app, "chat_change", self.follow_chat)
        self.to_text()
        if self.is_begun:
            self.call_later(self.show_branch)

    def follow_chat(self, changed: events.SettingChanged | None) -> None:
        """A setting was changed that this conversation follows at once."""
        if changed is None:
            return
        if changed.name == "chat_when_full":
            self.options = replace(self.options, drop_oldest=changed.value == "drop")
            return
        self.options = replace(self.options, thinking=THINKING[str(changed.value)])
        if self.told is not None:  # by a command: this was said later
            self.tell_thinking(str(changed.value))
        self._show_told()
        self._look()

    def _show_told(self) -> None:
        """Whether the model is told to think, and that it has no template to be told
        anything by, stands nowhere else."""
        words = {None: "", True: "thinking on", False: "thinking off"}
        info = self._info
        if info is not None and not info.has_template:
            self._status.note = "base model: no chat template"
            return
        able = info is not None and info.switches_thinking
        self._status.note = words[self.thinking] if able else ""

    def _tell_of_base_model(self) -> None:
        """Notify once how a model without a chat template is asked."""
        label = (
            "" if self._info is None or self._info.has_template else self._info.label
        )
        if label and label != self._told_of:
            self.notify(
                _BASE_MODEL, title=visible_line(label), markup=False, timeout=12
            )
        self._told_of = label

    def model_ready(self) -> None:
        """Look at the draft, or answer what waited for the model. Tokens that another
        model saw make way: beside the panel of this one they would be taken for its."""
        if self.close_tokens():
            self.to_text()
        self._show_told()
        self._tell_of_base_model()
        self.count_again()
        if self._waiting:
            self._status.state, waited = "", self.next_waiting()
            say = partial(self.pass_on, *waited)
            if not self.held_back(say, waited[1]):
                say()
        else:
            self._look()

    def model_missing(self) -> None:
        """Give the messages that waited for the model back to the prompt field."""
        self.take_back()

    def to_text(self) -> None:
        """Focus the prompt."""
        self.query_one(PromptField).focus()

    def close_tokens(self) -> bool:
        """Show the conversation again, and the panel the draft."""
        closed = super().close_tokens()
        if closed:
            self._look()
        return closed

    async def show_version(self, node: ChatMessage) -> None:
        """Draw the chosen version of a message and what follows it."""
        await self.show_branch()
        if view := self.view_of(node):
            view.focus()
        self._look()

    def conversation_changed(self) -> None:
        """Look at the draft after the messages that now stand before it."""
        self.leave_edit()
        self.close_tokens()
        self.tell_whose()
        self._show_told()
        self._look()

    # The draft.

    @property
    def draft(self) -> str:
        """The text in the prompt field that was not sent."""
        return self.query_one(PromptField).draft if self.is_mounted else ""

    @on(TextArea.Changed)
    def look_at_draft(self) -> None:
        """The draft changed: what comes next in it? Or which command can it become?"""
        if not self.offer_commands(self.query_one(PromptField).text):
            self._look()

    def _look(self) -> None:
        before = self.before_draft
        if self._info is None or self._job or before is None:
            return
        self._revision = self.client.number()
        prompt = self.query_one(PromptField)
        if prompt.folded:  # its tokens are more than can be shown at every key
            self._panel.clear(
                "While the message holds a long pasted text, nothing is computed."
            )
            return
        if self._panel.distribution is None:
            self._status.state = "reading your message"
        elif not self.has_class("-tokens"):
            self._panel.outdate()
            self._strip.outdate()
        self.client.score_draft(
            self._revision,
            before,
            prompt.text,
            self._settings,
            thinking=self.thinking,
        )

    @on(facts.DraftScored)
    def show_draft(self, event: facts.DraftScored) -> None:
        """Show what the model expects after the draft."""
        stale = event.revision != self._revision or self._job
        if stale or self.has_class("-tokens"):
            return
        self._panel.title = "Next in your message"
        self._panel.show(event.distribution)
        self._strip.reset(info=self._info, prompt_tokens=event.before)
        self._strip.extend(event.tokens)
        self._status.state = "ready"

    @on(facts.DraftFailed)
    def show_look_failed(self, event: facts.DraftFailed) -> None:
        if event.revision == self._revision and not self._job:
            self._panel.clear(str(event.error))
            self._status.state = "ready"

    # Sending.

    @on(PromptField.Submitted)
    async def send(self, event: PromptField.Submitted) -> None:
        """The user sent a prompt; while an answer is made, it waits for its turn."""
        if self.is_editing:
            await self.send_edit(event.text, ask=True)
            return
        if not is_command(event.text):
            self.deliver(event.text)
        elif not await self.run_command(event.text):
            self.query_one(PromptField).give_back(event.text)

    # Keys.

    def action_stop(self) -> None:
        """Leave an edit, stop the answer, close the tokens, or go back to the prompt;
        the hint was read."""
        if not self.leave_edit() and not self.stop_work():
            self.close_tokens()
        self.query_one(HintLine).hide()
        self.to_text()

    async def action_new(self) -> None:
        """Begin another conversation."""
        await self.run_command("/new")

    async def action_regenerate(self) -> None:
        """Replace the last answer by a new version, or answer the last message."""
        leaf = self._free_leaf()
        if leaf is None or self.held_back(partial(self.run_action, "regenerate")):
            return
        if leaf.role == "user":
            await self.answer_to(leaf)
        elif leaf.role == "assistant":
            await self.another_answer(leaf)

    async def action_go_on(self) -> None:
        """Continue the last answer from exactly where it stands."""
        leaf = self._free_leaf()
        if leaf is None or self.held_back(partial(self.run_action, "go_on")):
            return
        if leaf.role == "assistant":
            await self.go_on_with(leaf)

    def _free_leaf(self) -> ChatMessage | None:
        """Close the token view and return the last message; None while an answer is
        made or where no model is loaded."""
        if self.close_tokens():
            self.to_text()
        return None if self._job or self._info is None else self._conversation.leaf
