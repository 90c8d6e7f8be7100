"""Making foreign text safe to draw.

Everything that comes from a model, a file, a chat title or a theme passes
through `visible` before it reaches a terminal. Knows nothing of styles or
widgets; the original text is never changed, only its picture.
"""

from __future__ import annotations

import codecs

_C0_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)}
_DELETE = {0x7F: "\u2421"}

# C1 controls (a terminal may obey them), line and paragraph separators, the
# characters that reorder text, and interlinear annotation marks.
_NAMED = (
    *range(0x80, 0xA0),
    0x061C,
    0x200E,
    0x200F,
    0x2028,
    0x2029,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xFFF9, 0xFFFC),
)
# Half of a UTF-16 pair can't be encoded; a byte-order mark and Unicode tags can't be
# seen.
_UNSEEN = (*range(0xD800, 0xE000), 0xFEFF, *range(0xE0000, 0xE0080))

_ALL = _C0_PICTURES | _DELETE | {c: f"⟨U+{c:04X}⟩" for c in (*_NAMED, *_UNSEEN)}
_TEXT = {code: picture for code, picture in _ALL.items() if code not in (0x09, 0x0A)}
_TOKEN = _ALL | {0x20: "·", 0x09: "→", 0x0A: "⏎"}
_IN_PLACE = {
    code: picture if len(picture) == 1 else "\ufffd" for code, picture in _TEXT.items()
}
_RAW_IN_JSON = (*range(0x7F, 0xA0), *_NAMED, *range(0xD800, 0xE000))
_JSON = {code: f"\\u{code:04x}" for code in _RAW_IN_JSON}


def visible(text: str) -> str:
    """`text` with every control and bidi character drawn; newlines and tabs stay."""
    return text.translate(_TEXT)


def visible_line(text: str) -> str:
    """`text` as one line: newlines and tabs are drawn too."""
    return text.translate(_ALL)


def visible_token(text: str) -> str:
    """A token's text with its spaces, tabs and newlines drawn as well."""
    return text.translate(_TOKEN)


def visible_in_place(text: str) -> str:
    """A line in which each such character is drawn as exactly one, so that places in
    it are those of `text`; tabs stay."""
    return text.translate(_IN_PLACE)


def safe_json(line: str) -> str:
    """A line of JSON with the characters that JSON leaves raw, but a terminal obeys,
    as `\\uXXXX` escapes: the same value, safe on a screen."""
    return line.translate(_JSON)


def bytes_text(data: bytes) -> str:
    """What bytes say: whole characters as they are, the others as `⟨E3 81⟩`."""
    return data.decode("utf-8", errors="lmtui.stray")


def _stray(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    data, end = error.object, error.end
    while end < len(data) and 0x80 <= data[end] < 0xC0:  # never start a character
        end += 1
    return f"⟨{data[error.start : end].hex(' ').upper()}⟩", end


codecs.register_error("lmtui.stray", _stray)
