"""Keys that are answered in the order in which they were typed, each where the ones
before it have led.

Textual passes a key on to the widget that has the focus when the key arrives, though
one before it may be about to move the focus or to open a screen; and it answers a key
that the program takes for itself, such as Ctrl+S, while the letters before it still
wait for their widget. Whoever types fast would write into the wrong field, and save a
text without its last word. Owns what is waited for. Knows no widget and no key by name.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from textual.app import App, ScreenError
from textual.dom import DOMNode
from textual.events import Event, Key, Paste
from textual.widgets import Input, TextArea

_LONGEST = 1.0  # seconds; only what in turn waits for the program takes longer


class KeysInOrder(App[None]):
    """An app in which what is typed waits for the keys before it."""

    _answered: asyncio.Task[None] | None = None
    """Waits for the last key that may lead elsewhere."""
    _held: tuple[Event, ...] = ()
    """What was typed meanwhile."""

    async def on_event(self, event: Event) -> None:
        """Hold what is typed while a key before it is being answered."""
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._answered is not None:
            self._held = (*self._held, event)
        elif self._only_writes(event):
            await super().on_event(event)
        else:
            asked = self.focused or self.screen
            await _passed(asked)
            await super().on_event(event)
            self._answered = asyncio.create_task(self._wait_for_answer(asked))

    def _only_writes(self, event: Key | Paste) -> bool:
        """Whether this is written into the field with the focus, and leads nowhere."""
        writes = isinstance(event, Paste) or event.is_printable
        return writes and isinstance(self.focused, Input | TextArea)

    async def _wait_for_answer(self, asked: DOMNode) -> None:
        """Follow a key from whom it was passed to up to the app, any of which answers
        it; then a screen that it has opened, which asks the app for the focus."""
        with suppress(ScreenError):
            for node in (asked, *asked.ancestors):
                await _passed(node)
            for node in (self.screen, self):
                await _passed(node)
        self.call_later(self._go_on)

    async def _go_on(self) -> None:
        """Pass on what was held, up to the next key that may lead elsewhere."""
        self._answered = None
        while self._held and self._answered is None:
            event, *held = self._held
            self._held = tuple(held)
            await self.on_event(event)


async def _passed(node: DOMNode) -> None:
    """Wait until all that was sent to a widget, a screen or the app is done."""
    done = asyncio.Event()
    if not node.call_later(done.set):
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_LONGEST):
            await done.wait()
