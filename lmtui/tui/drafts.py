"""From what was said to a draft that says it again, and back.

Owns that a message which goes back to the prompt is sent as the same message: no line
of it is taken for a command, no word of it for the name of a file. Knows no widget.
"""

from __future__ import annotations

import re

from lmtui.chat.attachments import unnamed

_ONE, _TWO = re.compile(r"(\s*)/"), re.compile(r"(\s*)//")


def as_draft(message: str) -> str:
    """What is to be written so that just this is said."""
    draft = unnamed(message)
    begun = _ONE.match(draft)
    return f"{begun[1]}//{draft[begun.end() :]}" if begun else draft


def as_message(draft: str) -> str:
    """What a draft says that is no command: of two slashes at its beginning one. The
    files that it names are still to be read."""
    begun = _TWO.match(draft)
    return f"{begun[1]}/{draft[begun.end() :]}" if begun else draft
