"""Keys that are answered in the order in which they were typed.

Textual answers a key that the program takes for itself, such as Ctrl+S, at once, while
the letters before it still wait for the widget that they are written in: whoever types
fast would save a text without its last word. Owns that they are waited for. Knows no
widget and no key by name.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from textual.app import App
from textual.events import Event, Key

_LONGEST = 1.0  # seconds; only a widget that in turn waits for the program takes longer


class KeysInOrder(App[None]):
    """An app in which no key overtakes what was typed before it."""

    async def on_event(self, event: Event) -> None:
        """A letter can't overtake; before any other key, what was typed is written."""
        if isinstance(event, Key) and not (event.is_forwarded or event.is_printable):
            await self._write_typed()
        await super().on_event(event)

    async def _write_typed(self) -> None:
        """Wait until the widget with the focus has taken in what it was sent."""
        written = asyncio.Event()
        widget = self.focused
        if widget is None or not widget.call_later(written.set):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST):
                await written.wait()
