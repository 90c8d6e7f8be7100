"""App base class that answers keys in the order in which they were typed.

A key that may move the focus or open a screen is waited for; what is typed meanwhile is
held. Knows no widget and no key by name.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from textual.app import App, ScreenError
from textual.dom import DOMNode
from textual.events import Event, Key, Paste
from textual.widgets import Input, TextArea

_LONGEST = 1.0  # seconds; a handler that waits for the app would never finish


class KeysInOrder(App[None]):
    """App in which typed keys and pastes wait for the keys before them.

    Textual sends a key to the widget that has the focus when the key arrives, even if
    an earlier key is about to move the focus or open a screen. It also answers priority
    keys, such as Ctrl+S, before the letters that still wait for their widget. Fast
    typing would then go to the wrong field, or a text would be saved without its last
    word.
    """

    _pending_answer: asyncio.Task[None] | None = None
    """Waits for the last key that may move the focus or open a screen."""
    _queued_events: tuple[Event, ...] = ()
    """Events that arrived meanwhile."""

    async def on_event(self, event: Event) -> None:
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._pending_answer is not None:
            self._queued_events = (*self._queued_events, event)
        elif self._only_writes(event):
            await super().on_event(event)
        else:
            target = self.focused or self.screen
            await _wait_until_idle(target)
            await super().on_event(event)
            self._pending_answer = asyncio.create_task(self._wait_for_answer(target))

    def _only_writes(self, event: Key | Paste) -> bool:
        writes = isinstance(event, Paste) or event.is_printable
        return writes and isinstance(self.focused, Input | TextArea)

    async def _wait_for_answer(self, target: DOMNode) -> None:
        """Wait for every node that may answer a key, from `target` up to the app.

        Then wait for a screen that the key may have opened, and for the app again,
        which sets the focus.
        """
        with suppress(ScreenError):
            for node in (target, *target.ancestors):
                await _wait_until_idle(node)
            for node in (self.screen, self):
                await _wait_until_idle(node)
        self.call_later(self._send_queued)

    async def _send_queued(self) -> None:
        """Pass on the held events, up to the next key that has to be waited for."""
        self._pending_answer = None
        while self._queued_events and self._pending_answer is None:
            event, *rest = self._queued_events
            self._queued_events = tuple(rest)
            await self.on_event(event)


async def _wait_until_idle(node: DOMNode) -> None:
    """Wait until a node has handled all messages sent to it, at most `_LONGEST`."""
    done = asyncio.Event()
    if not node.call_later(done.set):
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_LONGEST):
            await done.wait()
