"""The active branch of the conversation, as the transcript shows it.

Knows no model.
"""

from __future__ import annotations

from lmtui.chat.message import ChatMessage
from lmtui.tui.chat.message import MessageView, Spans, entries_of, entry_of
from lmtui.tui.chat.session import ChatSession
from lmtui.tui.chat.transcript import Transcript
from lmtui.tui.screen import ModelScreen

TOKENS, VERSIONS = "-tokens", "-versions"
"""Classes of a screen that shows these in place of the conversation."""


class BranchView:
    """Draws the messages of a session in its transcript, or makes way for what is shown
    in place of it."""

    def __init__(
        self, screen: ModelScreen, session: ChatSession, transcript: Transcript
    ) -> None:
        self._screen, self._session, self._transcript = screen, session, transcript
        self.cover = ""
        """Shown in place of the conversation: `TOKENS`, `VERSIONS` or ""."""

    def show_instead(self, cover: str) -> None:
        self.cover = cover
        for name in (TOKENS, VERSIONS):
            self._screen.set_class(name == cover, name)

    def hide_versions(self) -> None:
        if self.cover == VERSIONS:
            self.show_instead("")
            self._screen.focus_text()

    async def show(self, *, at: str | None = None, matches: Spans = ()) -> None:
        """Draw the active branch anew: its end, or the message with key `at` and the
        matches in it."""
        entries = entries_of(self._session.conversation)
        await self._transcript.show(entries, at=at, matches=matches)

    async def add(self, node: ChatMessage) -> None:
        await self._transcript.add(entry_of(self._session.conversation, node))

    def view_of(self, node: ChatMessage) -> MessageView | None:
        return self._transcript.view(str(node.id))

    def renew(self, node: ChatMessage) -> None:
        entry = entry_of(self._session.conversation, node)
        self._transcript.renew(entry)
        if view := self.view_of(node):
            view.grow("", entry.thought)
            view.set_note(entry.note)

    def focused(self) -> ChatMessage | None:
        focused = self._screen.focused
        if not isinstance(focused, MessageView):
            return None
        return self._session.conversation.node(int(focused.key))

    def focused_or_last(self) -> ChatMessage | None:
        """Return the message that has the focus, else the last one with a text."""
        path = [node for node in self._session.conversation.path[1:] if node.content]
        return self.focused() or (path[-1] if path else None)
