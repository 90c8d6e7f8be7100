"""Key handling for text fields, in the order in which keys arrive.

Textual inserts only characters that Python calls printable, which leaves out the wide
space, no-break spaces, joiners and characters newer than Python; and it runs a key's
binding only after the letters typed behind it. Both are corrected here. Knows no field.
"""

from __future__ import annotations

from collections.abc import Callable
from unicodedata import category

from textual.app import App
from textual.events import Key
from textual.widget import Widget

_NO_TEXT = ("Cc", "Cs")
"""Unicode categories that are not text: control characters (keys) and lone
surrogates."""


async def handle_key(field: Widget, event: Key, write: Callable[[str], object]) -> None:
    """Run at once the action that a key is bound to in the field or on its screen, or
    `write` a character that Textual would not insert. Characters that Textual inserts
    are left to it."""
    if event.key.startswith("alt+"):
        event.prevent_default()  # carries a letter, but is not text
    elif event.is_printable:
        return
    elif text := overlooked(event):
        write(text)
        _consume(event)
        return
    active = field.screen.active_bindings.get(event.key)
    if active is None or isinstance(active.node, App):
        return
    if await field.app.run_action(active.binding.action, active.node):
        _consume(event)


def overlooked(event: Key) -> str:
    """Return the character of a key that Textual would not insert; "" for other
    keys."""
    character = event.character
    if event.is_printable or not character:
        return ""
    return "" if category(character) in _NO_TEXT else character


def _consume(event: Key) -> None:
    event.stop()
    event.prevent_default()
