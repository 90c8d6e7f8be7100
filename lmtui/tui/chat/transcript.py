"""The transcript: the messages of a conversation, drawn as far as they are needed.

Only messages near the visible part have a widget. Others are added as the reader
scrolls to them, distant ones are removed, so that a long conversation opens as fast as
a short one. Knows no engine and no conversation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.geometry import Region
from textual.layout import WidgetPlacement
from textual.scrollbar import ScrollBar
from textual.widget import Widget

from lmtui.notation import counted
from lmtui.tui.chat.message import Entry, MessageView, Spans
from lmtui.tui.widgets.markdown_blocks import CLASSES, SHEET
from lmtui.tui.widgets.plain_text import PlainLine, PlainText

PART = 20
"""Messages that get a widget when a conversation is opened."""
STEP = 3
"""Messages that are added at once: few, so that no frame is late."""
MOST = 30
"""Messages with a widget, beyond which those at the other end are removed: the cost of
layout, and so of scrolling, grows with them."""
FAR = 2
"""Distance in screen heights beyond which messages are removed in any case."""


class Transcript(VerticalScroll, can_focus=False):
    """A scrollable list of messages; follows the end while the reader is there."""

    COMPONENT_CLASSES: ClassVar[set[str]] = CLASSES
    DEFAULT_CSS = f"""
    Transcript {{
        {SHEET}
        padding: 1 1 0 1;
        scrollbar-size-vertical: 1;
        & > .empty {{ color: $text-muted; padding: 1 2; height: auto; }}
        & > #more {{ color: $quiet; height: 2; padding: 0 1; display: none; }}
    }}
    """

    def __init__(self, hint: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hint = hint
        self._entries: list[Entry] = []
        self._start = 0  # index of the first entry with a widget
        self._end = 0  # index behind the last entry with a widget
        self._scrolled_up = False  # whether the reader scrolled up last
        self._pinned: tuple[MessageView, int] | None = None
        """A message that stays at its place on the screen, and its line before the
        layout."""

    def compose(self) -> ComposeResult:
        yield PlainLine(id="more")
        yield self._empty()

    def _empty(self) -> PlainText:
        return PlainText(self._hint, classes="empty")

    def on_mount(self) -> None:
        self.anchor()

    def show_hint(self, hint: str) -> None:
        """Say `hint` where there are no messages."""
        self._hint = hint
        for empty in self.query(".empty").results(PlainText):
            empty.update(hint)

    def on_resize(self) -> None:
        self.call_after_refresh(self._load_more)

    async def show(
        self, entries: Sequence[Entry], *, at: str | None = None, matches: Spans = ()
    ) -> None:
        """Replace all messages. Show the end, or the message with key `at` and the
        matches in it."""
        if not self.is_attached:
            return  # the program is ending
        self._entries, self._pinned, self._scrolled_up = list(entries), None, False
        index = next((i for i, e in enumerate(entries) if e.key == at), len(entries))
        self._end = min(len(entries), index + PART // 2)
        self._start = max(0, self._end - PART)
        visible = entries[self._start : self._end]
        views = [
            MessageView(e, matches=matches if e.key == at else ()) for e in visible
        ]
        async with self.batch():
            await self.remove_children("MessageView, .empty")
            await self.mount_all(views or [self._empty()])
            self._show_earlier_count()
        self.anchor()
        if at is not None:
            self.release_anchor()
        self.call_after_refresh(self._load_more)
        for view in views:
            if view.key == at:
                view.focus(scroll_visible=False)
                self.call_after_refresh(
                    self.scroll_to_widget, view, animate=False, top=True
                )

    async def add(self, entry: Entry) -> None:
        if not self.is_attached:
            return  # the program is ending
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
            self._show_earlier_count()
        self.anchor()

    def renew(self, entry: Entry) -> None:
        """Replace the stored entry of a message, for when its widget is made again."""
        same = [entry if old.key == entry.key else old for old in self._entries]
        self._entries = same

    def view(self, key: str) -> MessageView | None:
        views = (view for view in reversed(self.children))
        return next(
            (v for v in views if isinstance(v, MessageView) and v.key == key), None
        )

    def highlight(self, passage: str) -> None:
        """Highlight every occurrence of a passage in the messages that are shown; an
        empty one ends that."""
        for view in self._views():
            matches = re.finditer(re.escape(passage), view.text) if passage else ()
            view.highlight(tuple(match.span() for match in matches))

    def _views(self) -> list[MessageView]:
        return list(self.query_children(MessageView))

    def watch_scroll_y(self, old: float, new: float) -> None:
        super().watch_scroll_y(old, new)
        if new != old and self._pinned is None:
            self._load_near_edge(up=new < old)

    def _load_near_edge(self, *, up: bool) -> None:
        if self._pinned is not None:
            return
        self._scrolled_up = up
        near = min(self.size.height // 2, self.max_scroll_y // 3)
        y = min(self.scroll_y, self.max_scroll_y)
        if up and y <= near and self._start > 0:
            self._pin(self._views()[0])
            self.call_later(self._mount_earlier)
        elif (
            not up and y >= self.max_scroll_y - near and self._end < len(self._entries)
        ):
            self._pin(self._views()[-1])
            self.call_later(self._mount_later)

    async def _mount_earlier(self) -> None:
        if self._pinned is None:  # another conversation was shown meanwhile
            return
        start, views = max(0, self._start - STEP), self._views()
        new = [MessageView(e) for e in self._entries[start : self._start]]
        far = self._far(views)
        async with self.batch():
            await self.remove_children(far)
            await self.mount_all(new, before=views[0])
            self._start, self._end = start, self._end - len(far)
            self._show_earlier_count()
        self.call_after_refresh(self._unpin)

    async def _mount_later(self) -> None:
        if self._pinned is None:
            return
        end, views = min(len(self._entries), self._end + STEP), self._views()
        new = [MessageView(e) for e in self._entries[self._end : end]]
        far = self._far(views[::-1])
        async with self.batch():
            await self.remove_children(far)
            await self.mount_all(new, after=views[-1])
            self._start, self._end = self._start + len(far), end
            self._show_earlier_count()
        self.call_after_refresh(self._unpin)

    def _far(self, views: list[MessageView]) -> list[MessageView]:
        """Return those at the end of `views` that are too many or too far from the
        visible part; never one that is visible."""
        top, height = round(self.scroll_y), self.size.height
        visible_lines = range(top, top + height)
        near_lines = range(top - FAR * height, top + (FAR + 1) * height)
        count = len(views)
        while count > 1:
            last = views[count - 1].virtual_region
            if _meets(last, visible_lines) or (
                count <= MOST and _meets(last, near_lines)
            ):
                break
            count -= 1
        return views[count:]

    def _pin(self, view: MessageView) -> None:
        self.release_anchor()
        self._pinned = view, view.virtual_region.y

    def _unpin(self) -> None:
        self._pinned = None
        if self.scroll_y > self.max_scroll_y:  # by now everything fits on the screen
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)
        self._load_more()

    def _load_more(self) -> None:
        """Add messages in the direction of the reader until there are enough: at the
        very first or last line, no scroll event asks for more."""
        if self.max_scroll_y:
            self._load_near_edge(
                up=self._scrolled_up and self.scroll_y < self.max_scroll_y
            )
        elif self._views():  # the screen is higher than all messages with a widget
            self._load_near_edge(up=self._start > 0)

    def process_layout(
        self, placements: list[WidgetPlacement]
    ) -> list[WidgetPlacement]:
        """Scroll by as much as the held message has moved. Done during layout, so that
        the message is drawn once, at its old place."""
        if self._pinned is not None:
            view, old_y = self._pinned
            for placement in placements:
                if placement.widget is view and placement.region.y != old_y:
                    self._pinned = view, placement.region.y
                    self._scroll_along(placement.region.y - old_y)
        # An anchor may have scrolled to the last widget.
        if self._end < len(self._entries):
            self.call_after_refresh(self._load_more)
        return placements

    def _scroll_along(self, lines: int) -> None:
        self.app.animator.force_stop_animation(self, "scroll_y")
        y = self.scroll_y + lines
        self.set_reactive(Widget.scroll_y, y)
        self.set_reactive(Widget.scroll_target_y, y)
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.set_reactive(ScrollBar.position, y)

    def _show_earlier_count(self) -> None:
        line = self.query_one("#more", PlainLine)
        line.display = self._start > 0
        count = f"↑ {counted(self._start, 'earlier message')}"
        line.update(count, layout=False)


def _meets(region: Region, lines: range) -> bool:
    return region.y < lines.stop and region.bottom > lines.start
