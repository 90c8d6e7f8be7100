"""The chat screen: a conversation, and the distribution at every token beside it.

Lays out the widgets, holds the controllers, and gives them the keys and what the
widgets post.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.widgets import OptionList, TextArea

from lmtui.chat.message import ChatMessage
from lmtui.chat.summary import StoredConversation
from lmtui.engine.sampling.recommended import SamplingFor
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.tui.app_messages import SubjectChosen
from lmtui.tui.chat.attachments import Attachments
from lmtui.tui.chat.command_actions import CommandActions
from lmtui.tui.chat.commands import SlashCommands, is_command
from lmtui.tui.chat.draft import DraftController
from lmtui.tui.chat.history_edit import MessageEditor
from lmtui.tui.chat.message import MessageView
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.reply import ReplyController
from lmtui.tui.chat.sender import MessageSender
from lmtui.tui.chat.session import BUSY, ChatSession
from lmtui.tui.chat.store import ConversationStore
from lmtui.tui.chat.tokens import SCORING, TokensController
from lmtui.tui.chat.version_view import VersionsView
from lmtui.tui.chat.view import ChatView
from lmtui.tui.chat.why import ChatWhyController
from lmtui.tui.engine.client import MakeClient
from lmtui.tui.model_state import ModelState
from lmtui.tui.sampler import SamplingScreen
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.status import HintLine, MainPart
from lmtui.tui.widgets.token_cursor import TokenText

TRY = """\
Three things to try

Ask  What is the capital of Japan?

Type  the cat sat on the
and watch the panel follow every key.

Press F4 and move the slider
between flat and sharp.
"""
HINT = "F3 shows an answer as tokens; / lists commands."


class ChatScreen(SamplingScreen):
    """Transcript and panel, prompt and status line."""

    CSS_PATH = "screen.tcss"
    NEEDS = "answers"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop", show=False,
                tooltip="Stop the answer; else back to the prompt."),
        Binding("enter", "alternatives", "Alternatives",
                id="chat.alternatives",
                tooltip="Among the tokens: what could stand there instead; Enter on"
                " a row continues from it."),
        Binding("f3", "tokens", "Tokens", id="chat.tokens",
                tooltip="Show the message in focus, or the last one, as tokens."),
        Binding("w", "why", "Why", id="chat.why", show=False,
                tooltip="On a message or among its tokens: what made it likely, by"
                " leaving out each part before it."),
        Binding("ctrl+r", "regenerate", "Regenerate", id="chat.regenerate",
                tooltip="Another answer in place of the last one."),
        Binding("ctrl+g", "go_on", "Continue", id="chat.continue", show=False,
                priority=True,
                tooltip="Continue the last answer from exactly where it stands."),
        Binding("f8", "tree", "Tree", id="chat.tree",
                tooltip="Every branch; continue from any message."),
        Binding("ctrl+o", "app.history", "History", id="chat.history", show=False,
                tooltip="Find an earlier conversation and resume it."),
        Binding("ctrl+n", "new", "New", id="chat.new", show=False,
                tooltip="Begin another conversation; this one is kept."),
        Binding("ctrl+t", "inspect", "Inspect", id="chat.inspect", show=False,
                tooltip="Inspect the message in focus, or the last one."),
        Binding("ctrl+l", "editor", "Editor", id="chat.editor", show=False,
                tooltip="Edit the draft in the program that $EDITOR names."),
        Binding("ctrl+s", "save_edit", "Save edit", id="chat.save-edit", show=False,
                priority=True,
                tooltip="Save the edit without asking the model."),
        Binding("alt+up,ctrl+up", "message(-1)", "Previous message", show=False,
                id="chat.message-before",
                tooltip="To the previous message, where letters edit and copy."),
        Binding("alt+down,ctrl+down", "message(1)", "Next message", show=False,
                id="chat.message-after",
                tooltip="To the next message; from the last one to the prompt."),
        Binding("left_square_bracket", "version(-1)", "Previous version",
                id="chat.version-before", show=False,
                tooltip="The previous version of the message in focus; in the panel and"
                " the sampler, of the last message."),
        Binding("right_square_bracket", "version(1)", "Next version",
                id="chat.version-after", show=False,
                tooltip="The next version of the message in focus; in the panel and the"
                " sampler, of the last message."),
    ]  # fmt: skip

    def __init__(
        self,
        make_client: MakeClient,
        *,
        sampling: SamplingSettings,
        sampling_for: SamplingFor | None = None,
        system: str = "",
        store: ConversationStore | None = None,
        opened: StoredConversation | None = None,
        options: ChatOptions | None = None,
    ) -> None:
        super().__init__(
            make_client, sampling, panel_title="Next token", sampling_for=sampling_for
        )
        self.session = session = ChatSession(
            self, store, options=options or ChatOptions(), system=system, opened=opened
        )
        self.view = view = ChatView(self, session, TRY)
        self.prompt, self.transcript = view.prompt, view.transcript
        self._hint = HintLine("chat", HINT)
        self.draft = draft = DraftController(self.new_client(), view)
        self.tokens = TokensController(self.new_client(), view, draft)
        self.reply = ReplyController(self.new_client(), view, draft, self.tokens)
        self.why = ChatWhyController(self.new_client(), view, self.tokens)
        self.sender = MessageSender(self.new_client(), view, self.reply)
        self.editor = MessageEditor(view, self.reply, self.tokens, draft)
        self.actions = CommandActions(
            view,
            self.editor,
            sender=self.sender,
            tokens=self.tokens,
            reply=self.reply,
        )
        self.commands = SlashCommands(view, self.actions.table)
        self.prompt.key_hook = self._handle_prompt_key
        self.controllers = (
            self.sampler, self.reply, self.tokens, self.sender,
            draft, view.chat_model, self.editor, self.why,
        )  # fmt: skip
        working = self.reply, self.sender, self.tokens, self.draft
        self.activity.controllers = working

    def _handle_prompt_key(self, key: str) -> bool:
        return (
            self.sender.attachments.use_key(key)
            or self.commands.use_key(key)
            or self.reply.recall_last_queued(key)
        )

    def compose(self) -> ComposeResult:
        with MainPart(id="main"):
            with Vertical(id="talk"):
                yield self.transcript
                yield self.tokens.view
                yield self.reply.versions
            with Vertical(id="side"):
                yield self.panel
                yield self.view.strip
                yield self.sampler.controls
        yield self._hint
        yield self.view.chat_model.line
        yield self.reply.queue_view
        yield self.commands.list
        yield self.sender.attachments
        yield self.prompt
        yield self.status
        yield self.key_line

    def focus_text(self) -> None:
        self.prompt.focus()

    @property
    def unsent(self) -> str:
        if not self.is_mounted:
            return ""
        edit = "" if self.prompt.edited is None else self.prompt.draft
        sent = (entry.written for entry in self.session.sent)
        texts = (*sent, self.prompt.own_draft, edit)
        return "\n".join(filter(None, texts))

    def stop_work(self) -> bool:
        sending = self.sender.stop()
        stopped = self.reply.stop() or self.tokens.stop() or self.reply.return_queue()
        return stopped or sending or self.stop_load()

    # What the widgets post.

    @on(TextArea.Changed, "#prompt")
    def follow_draft(self) -> None:
        self.sender.follow_draft()
        if not self.commands.offer(self.prompt.text):
            self.draft.ask()

    @on(TextArea.SelectionChanged, "#prompt")
    def follow_cursor(self) -> None:
        self.sender.follow_draft()

    @on(Attachments.NameChosen)
    def write_name(self, event: Attachments.NameChosen) -> None:
        self.sender.write_name(event)

    @on(Attachments.FilesRead)
    def count_files(self, event: Attachments.FilesRead) -> None:
        self.sender.count_files(event.files)
        self.draft.follow_files(has_files=bool(event.files))

    @on(PromptField.SubmitRefused)
    def show_refused(self, event: PromptField.SubmitRefused) -> None:
        self.notify(event.why, title="This message does not fit", severity="warning")

    @on(PromptField.Submitted)
    async def send(self, event: PromptField.Submitted) -> None:
        if self.prompt.edited is not None:
            await self.editor.send(event.text, ask=True)
        elif not is_command(event.text):
            self.sender.send(event.text)
        elif not await self.commands.run(event.text):
            self.prompt.give_back(event.text)

    @on(OptionList.OptionSelected, "#commands")
    def write_command(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.commands.write_highlighted()

    @on(MessageView.ActionRequested)
    async def perform(self, event: MessageView.ActionRequested) -> None:
        await self.editor.perform(event)

    @on(SamplerControls.RepeatSeen)
    def highlight_repeat(self, event: SamplerControls.RepeatSeen) -> None:
        self.transcript.highlight(event.passage)

    @on(TokenText.CursorMoved)
    def show_token(self, event: TokenText.CursorMoved) -> None:
        self.activity.clear_notice()
        self.tokens.show_position(event.index)

    @on(VersionsView.VersionMarked)
    async def show_marked(self) -> None:
        await self.reply.show_marked()

    @on(VersionsView.VersionAccepted)
    async def accept_version(self) -> None:
        await self.reply.accept_marked()

    @on(ProbabilityPanel.CandidatePicked)
    async def branch_at_token(self, event: ProbabilityPanel.CandidatePicked) -> None:
        await self.editor.branch_at_token(event.candidate)

    # Keys.

    def on_key(self, event: Key) -> None:
        """Write what is typed on a message, and is no command there, into the
        prompt."""
        is_text = event.is_printable and event.key not in self.active_bindings
        if is_text and isinstance(self.focused, MessageView):
            event.stop()
            self.focus_text()
            self.prompt.post_message(Key(event.key, event.character))

    def follow_model(self, state: ModelState) -> None:
        super().follow_model(state)
        better = state.better
        self.transcript.show_hint(f"{TRY}\n{better}" if better else TRY)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "save_edit":
            return self.prompt.edited is not None
        if action == "alternatives":
            return self.tokens.is_shown
        if action == "why":
            return self.tokens.is_shown or isinstance(self.focused, MessageView)
        return super().check_action(action, parameters)

    def action_stop(self) -> None:
        self._hint.hide()
        if not (self.prompt.end_edit() or self.stop_work()):
            self.tokens.close()
            self.view.hide_versions()
        if not self.reply.shows_versions:
            self.focus_text()

    async def action_new(self) -> None:
        await self.commands.run("/new")

    async def action_regenerate(self) -> None:
        if (leaf := self._free_leaf()) is not None:
            await self.reply.answer_again(leaf)

    async def action_go_on(self) -> None:
        leaf = self._free_leaf()
        if leaf is None or leaf.role != "assistant":
            return
        if why_not := self.reply.lacks("edits"):
            self.notify(why_not)
        else:
            await self.reply.continue_reply(leaf)

    def _free_leaf(self) -> ChatMessage | None:
        """Close the token view. None while an answer is made or no model is loaded."""
        if self.tokens.close():
            self.focus_text()
        is_free = self.reply.has_model and not self.session.is_busy
        return self.session.conversation.leaf if is_free else None

    def action_message(self, by: int) -> None:
        views = list(self.query(MessageView))
        focused = self.focused
        index = views.index(focused) if isinstance(focused, MessageView) else len(views)
        target = max(0, index + by)
        if target < len(views):
            views[target].focus()
        else:
            self.focus_text()

    def action_tokens(self) -> None:
        if not self.session.is_answering:
            self.view.hide_versions()
        if self.tokens.is_shown:
            self.tokens.close()
            self.focus_text()
        elif self.session.is_answering:
            self.notify(BUSY)
        elif self.tokens.is_scoring:
            self.notify(SCORING)
        elif (node := self.view.focused_or_last()) is None:
            self.notify("There is no message yet to show as tokens.")
        else:
            self.tokens.open(node)

    def action_why(self) -> None:
        self.why.ask()

    def action_inspect(self) -> None:
        node = self.tokens.subject
        if node is None or self.session.is_answering:
            self.notify("There is no finished message yet to inspect.")
        else:
            self.post_message(SubjectChosen(self.tokens.source_of(node)))

    async def action_version(self, by: int) -> None:
        if self.reply.shows_versions:
            self.reply.versions.action_mark(by)
            return
        if await self.editor.to_version(by):
            self.view.chat_model.update()

    def action_alternatives(self) -> None:
        self.show_panel()
        self.panel.focus()
        can_continue = not self.reply.lacks("edits")
        if can_continue and self.tokens.message.role == "assistant":
            self.activity.notice(
                "Enter continues from the marked row; Esc closes the token view"
            )

    async def action_save_edit(self) -> None:
        await self.editor.save()

    def action_tree(self) -> None:
        self.editor.show_tree()

    def action_editor(self) -> None:
        self.actions.edit_draft()
