"""Where a line of text may be broken.

At spaces; and, since Chinese, Japanese and Korean are written without any, between two
wide characters, but not before what closes or behind what opens. A few lines of the
Unicode line breaking algorithm (UAX #14): its classes ID, CL, CP, EX, NS and OP. Knows
no widget.
"""

from __future__ import annotations

import re

_WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\U0001b000-\U0001b2ff\U00020000-\U0003fffd"
)
_OPENS = r"（〔［｛〈《「『【〘〖“‘(\[{"
_CLOSES = (
    r"、。，．・：；？！…‥ー々〻ゝゞヽヾ％」』】〕］）｝〉》〗〙”’,.:;?!)\]}%"
    "\u3099\u309a\ufe00-\ufe0f\u200d\u0300-\u036f"  # marks are part of a character
)
_UNIT = f"[{_OPENS}]*(?:[{_WIDE}]|[^\\s{_WIDE}]+)[{_CLOSES}]*"

WORDS = re.compile(rf"{_UNIT}|\s+")
"""What may not be broken, and the spaces between: together all of a text."""
_WITH_SPACES = re.compile(rf"{_UNIT}\s*|\s+")
_PLAIN = re.compile(r"\S+\s*|\s+")


def chunks(line: str) -> re.Pattern[str]:
    """What matches the parts of a line that may not be broken, each with the spaces
    behind it; the same for every line, but quicker where all of it is ASCII."""
    return _PLAIN if line.isascii() else _WITH_SPACES
