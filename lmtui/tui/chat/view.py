"""The chat as its controllers see it: the active branch, as the transcript shows it,
and the widgets beside it."""

from __future__ import annotations

from lmtui.chat.message import ChatMessage
from lmtui.tui.chat.conversation_model import ConversationModelController
from lmtui.tui.chat.message import MessageView, Spans, entries_of, entry_of
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.session import ChatSession
from lmtui.tui.chat.transcript import Transcript
from lmtui.tui.sampler import SamplingScreen
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip

TOKENS, VERSIONS = "-tokens", "-versions"
"""Classes of a screen that shows these in place of the conversation."""


class ChatView:
    """Draws the messages of a session in its transcript, or makes way for what is shown
    in place of it. Has what all controllers of the chat work with."""

    def __init__(self, screen: SamplingScreen, session: ChatSession, hint: str) -> None:
        """`hint` is shown where there are no messages."""
        self.screen, self.session = screen, session
        self.transcript = Transcript(hint, id="transcript")
        self.prompt = PromptField(id="prompt")
        """Where messages are written, and where those that failed go back to."""
        self.strip = LikelihoodStrip(id="strip")
        self.chat_model = ConversationModelController(screen, session)
        self.cover = ""
        """Shown in place of the conversation: `TOKENS`, `VERSIONS` or ""."""

    def show_instead(self, cover: str) -> None:
        self.cover = cover
        for name in (TOKENS, VERSIONS):
            self.screen.set_class(name == cover, name)

    def hide_versions(self) -> None:
        if self.cover == VERSIONS:
            self.show_instead("")
            self.screen.focus_text()

    async def show(self, *, at: str | None = None, matches: Spans = ()) -> None:
        """Draw the active branch anew: its end, or the message with key `at` and the
        matches in it."""
        entries = entries_of(self.session.conversation)
        await self.transcript.show(entries, at=at, matches=matches)

    async def add(self, node: ChatMessage) -> None:
        await self.transcript.add(entry_of(self.session.conversation, node))

    def view_of(self, node: ChatMessage) -> MessageView | None:
        return self.transcript.view(str(node.id))

    def renew(self, node: ChatMessage) -> None:
        entry = entry_of(self.session.conversation, node)
        self.transcript.renew(entry)
        if view := self.view_of(node):
            view.grow("", entry.thought)
            view.set_note(entry.note)

    def focused(self) -> ChatMessage | None:
        focused = self.screen.focused
        if not isinstance(focused, MessageView):
            return None
        return self.session.conversation.node(int(focused.key))

    def focused_or_last(self) -> ChatMessage | None:
        """Return the message that has the focus, else the last one with a text."""
        path = [node for node in self.session.conversation.path[1:] if node.content]
        return self.focused() or (path[-1] if path else None)
