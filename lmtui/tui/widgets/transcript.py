"""The conversation as it reads.

Owns which of its messages are on the screen: the last ones, and others as the reader
comes to them. A long conversation is opened as fast as a short one, and what was left
far behind is let go of. Knows no engine and no conversation.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lmtui.tui.widgets.message_view import Entry, MessageView, Places

PART = 20
"""Messages of a conversation that is opened."""
STEP = 3
"""Messages that are brought to the screen at once: few, so that no frame is late."""
MOST = 30
"""Messages on the screen before those at its other end are let go of: laying out is
what scrolling costs, and it grows with them."""


class Transcript(VerticalScroll, can_focus=False):
    """Messages, following the end only while the reader is there."""

    DEFAULT_CSS = """
    Transcript {
        padding: 1 1 0 1;
        scrollbar-size-vertical: 1;
        & > .empty { color: $text-muted; padding: 1 2; height: auto; }
        & > #more { color: $quiet; height: 2; padding: 0 1; display: none; }
    }
    """

    def __init__(self, hint: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hint = hint
        self._entries: list[Entry] = []
        self._start = 0  # the first entry that has a view
        self._end = 0  # the entry behind the last one that has
        self._moving = False

    def compose(self) -> ComposeResult:
        """What to do where nothing is said yet."""
        yield Static(id="more", markup=False)
        yield self._empty()

    def _empty(self) -> Static:
        return Static(Content(self._hint), classes="empty")

    def on_mount(self) -> None:
        """Follow what is written."""
        self.anchor()

    async def show(
        self, entries: Sequence[Entry], *, at: str | None = None, found: Places = ()
    ) -> None:
        """Replace everything by these messages; at the end, or at one of them with
        what was found in it."""
        self._entries = list(entries)
        place = next((i for i, e in enumerate(entries) if e.key == at), len(entries))
        self._end = min(len(entries), place + PART // 2)
        self._start = max(0, self._end - PART)
        shown = entries[self._start : self._end]
        views = [MessageView(e, found=found if e.key == at else ()) for e in shown]
        async with self.batch():
            await self.remove_children("MessageView, .empty")
            await self.mount_all(views or [self._empty()])
            self._tell_of_more()
        self.anchor()
        if at is not None:
            self.release_anchor()
        for view in views:
            if view.key == at:
                view.focus(scroll_visible=False)
                self.call_after_refresh(
                    self.scroll_to_widget, view, animate=False, top=True
                )

    async def add(self, entry: Entry) -> None:
        """Add a message at the end."""
        if self._end < len(self._entries):
            await self.show([*self._entries, entry])
            return
        for hint in self.query(".empty"):
            await hint.remove()
        self._entries.append(entry)
        self._end += 1
        await self.mount(MessageView(entry))
        if len(far := self._views()[:-MOST]) > PART:
            await self.remove_children(far)
            self._start += len(far)
            self._tell_of_more()
        self.anchor()

    def renew(self, entry: Entry) -> None:
        """A message says something else by now."""
        same = [entry if old.key == entry.key else old for old in self._entries]
        self._entries = same

    async def take_away(self, key: str) -> None:
        """Take a message away."""
        for view in self._views():
            if view.key == key:
                self._entries = [e for e in self._entries if e.key != key]
                self._end -= 1
                await view.remove()

    def _views(self) -> list[MessageView]:
        return list(self.query_children(MessageView))

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Bring earlier messages when the reader comes to the first one, and later
        ones at the last."""
        super().watch_scroll_y(old, new)
        if self._moving:
            return
        near = self.size.height // 2
        if new < old and new <= near and self._start > 0:
            self._moving = True
            self.call_later(self._bring_earlier)
        elif (
            new > old
            and new >= self.max_scroll_y - near
            and self._end < len(self._entries)
        ):
            self._moving = True
            self.call_later(self._bring_later)

    async def _bring_earlier(self) -> None:
        start, first = max(0, self._start - STEP), self._views()[0]
        before = first.virtual_region.y
        views = [MessageView(e) for e in self._entries[start : self._start]]
        far = self._views()[MOST:]
        async with self.batch():
            await self.mount_all(views, before=first)
            await self.remove_children(far)
            self._start, self._end = start, self._end - len(far)
            self._stay_at(first, before)

    async def _bring_later(self) -> None:
        end, last = min(len(self._entries), self._end + STEP), self._views()[-1]
        before = last.virtual_region.y
        views = [MessageView(e) for e in self._entries[self._end : end]]
        far = self._views()[:-MOST]
        async with self.batch():
            await self.mount_all(views, after=last)
            await self.remove_children(far)
            self._start, self._end = self._start + len(far), end
            self._stay_at(last, before)

    def _stay_at(self, view: MessageView, before: int) -> None:
        """Let the reader see what was seen; a message stood at that line."""
        self.release_anchor()
        self._tell_of_more()
        offset = self.scroll_y

        def stay() -> None:
            moved = view.virtual_region.y - before
            self.scroll_to(y=offset + moved, animate=False, force=True)
            self._moving = False

        self.call_after_refresh(stay)

    def _tell_of_more(self) -> None:
        """Say above the first message how many there are before it."""
        count = f"{self._start:,} earlier message{'' if self._start == 1 else 's'}"
        line = self.query_one("#more", Static)
        line.display = self._start > 0
        line.update(Content(f"↑ {count}"), layout=False)
