"""What a key does in a field of text, in its turn.

Textual takes for text only what Python calls printable. That leaves out the wide space
of Chinese and Japanese, no-break spaces, the joiners within words and emoji, and
characters that are newer than Python. And it does what a key is bound to only after the
letters that were typed behind it. Owns that neither is so here. Knows no field.
"""

from __future__ import annotations

from collections.abc import Callable
from unicodedata import category

from textual.app import App
from textual.events import Key
from textual.widget import Widget
from textual.widgets import TextArea

_NO_TEXT = ("Cc", "Cs")
"""Control characters, which are keys, and halves of UTF-16 pairs."""


async def take_key(field: Widget, event: Key, write: Callable[[str], object]) -> None:
    """Do at once what a key is bound to, in the field or around it on its screen, or
    write the text that Textual overlooks; the letters that it knows are left to it."""
    if event.key.startswith("alt+"):
        event.prevent_default()  # it comes with its letter, but is none
    elif event.is_printable:
        return
    elif text := overlooked(event):
        write(text)
        _done(event)
        return
    active = field.screen.active_bindings.get(event.key)
    if active is None or isinstance(active.node, App):
        return
    if await field.app.run_action(active.binding.action, active.node):
        _done(event)


def overlooked(event: Key) -> str:
    """The character that a key writes though Textual would not; mostly nothing."""
    character = event.character
    if event.is_printable or not character:
        return ""
    return "" if category(character) in _NO_TEXT else character


def nothing_to_undo(area: TextArea) -> bool:
    """Whether nothing is written and nothing was: Ctrl+Z is free for the program."""
    return area.document.end == (0, 0) and not area.history.undo_stack


def _done(event: Key) -> None:
    event.stop()
    event.prevent_default()
