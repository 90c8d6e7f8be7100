"""What keys write, where Textual writes nothing.

Textual takes for text only what Python calls printable. That leaves out the wide space
of Chinese and Japanese, no-break spaces, the joiners within words and emoji, and
characters that are newer than Python. Owns that these are text too.
"""

from __future__ import annotations

from unicodedata import category

from textual.events import Key

_NO_TEXT = ("Cc", "Cs")
"""Control characters, which are keys, and halves of UTF-16 pairs."""


def overlooked(event: Key) -> str:
    """The character that a key writes though Textual would not; mostly nothing."""
    character = event.character
    if event.is_printable or not character or event.key.startswith("alt+"):
        return ""
    return "" if category(character) in _NO_TEXT else character
