"""The active branch of the conversation, as the transcript shows it.

Knows no model.
"""

from __future__ import annotations

from lmtui.chat.message import ChatMessage
from lmtui.tui.chat.message import MessageView, Places, entries_of, entry_of
from lmtui.tui.chat.session import ChatSession
from lmtui.tui.chat.transcript import Transcript


class BranchView:
    """Draws the messages of a session in its transcript."""

    def __init__(self, session: ChatSession, transcript: Transcript) -> None:
        self._session, self._transcript = session, transcript

    async def show(self, *, at: str | None = None, matches: Places = ()) -> None:
        """Draw the active branch anew: its end, or the message with key `at` and the
        matches in it."""
        entries = entries_of(self._session.conversation)
        await self._transcript.show(entries, at=at, matches=matches)

    async def add(self, node: ChatMessage) -> None:
        """Draw a message at the end."""
        await self._transcript.add(entry_of(self._session.conversation, node))

    def view_of(self, node: ChatMessage) -> MessageView | None:
        """Return a message's widget, if it has one."""
        return self._transcript.view(str(node.id))

    def renew(self, node: ChatMessage) -> None:
        """Update the note beside a message, and its thinking."""
        entry = entry_of(self._session.conversation, node)
        self._transcript.renew(entry)
        if view := self.view_of(node):
            view.grow("", entry.thought)
            view.set_note(entry.note)

    def focused(self) -> ChatMessage | None:
        """Return the message that has the focus, if one has."""
        focused = self._transcript.screen.focused
        if not isinstance(focused, MessageView):
            return None
        return self._session.conversation.node(int(focused.key))

    def focused_or_last(self) -> ChatMessage | None:
        """Return the message that has the focus, else the last one with a text."""
        path = [node for node in self._session.conversation.path[1:] if node.content]
        return self.focused() or (path[-1] if path else None)
