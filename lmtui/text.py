"""Making foreign text safe to draw.

Everything that comes from a model, a file, a chat title or a theme passes
through `visible` before it reaches a terminal. Knows nothing of styles or
widgets; the original text is never changed, only its picture.
"""

from __future__ import annotations

import codecs
from collections.abc import Container

_C0_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)}
_DELETE = {0x7F: "\u2421"}

# C1 controls (a terminal may obey them), line and paragraph separators, the
# characters that reorder text, and interlinear annotation marks.
_OBEYED = (
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
# Half of a UTF-16 pair can't be encoded. The others can't be seen: the soft hyphen,
# spaces without width, fillers, invisible operators, format controls of musical and
# Egyptian signs and of shorthand, the byte-order mark, Unicode tags.
_UNSEEN = (
    *range(0xD800, 0xE000),
    *(0xAD, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x200B),
    *range(0x2060, 0x2066),
    *range(0x206A, 0x2070),
    *(0x3164, 0xFEFF, 0xFFA0),
    *range(0xFFF0, 0xFFF9),
    *range(0x13430, 0x13440),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE0080),
)
# Characters that take one cell in some terminals and two in others.
_UNEVEN = (
    *(0x261D, 0x26F9, 0x270C, 0x270D, 0x302E, 0x302F),
    *range(0x3248, 0x3250),
    *(0x16FF0, 0x16FF1, 0x1F3CB, 0x1F3CC, 0x1F574, 0x1F575, 0x1F590),
)

_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
_VARIATIONS = (
    *(0x180B, 0x180C, 0x180D, 0x180F),
    *range(0xFE00, 0xFE10),
    *range(0xE0100, 0xE01F0),
)
# What changes the character beside it, and with it, in some terminals only, how many
# cells both take. As a sign of one cell it takes as many in all of them.
_SIGNS = {
    0x200C: "¦",
    0x200D: "‿",
    **dict.fromkeys(_VARIATIONS, "˖"),
    **dict(zip(_SKIN_TONES, "□░▒▓█", strict=True)),
    **{code: chr(0x24B6 + place) for place, code in enumerate(_FLAG_LETTERS)},
}

_WHITE = (0x09, 0x0A)
_CONTROLS = _C0_PICTURES | _DELETE


def _but(table: dict[int, str], codes: Container[int]) -> dict[int, str]:
    return {code: picture for code, picture in table.items() if code not in codes}


def _named(*codes: int) -> dict[int, str]:
    return {code: f"⟨U+{code:04X}⟩" for code in codes}


_LINE = _CONTROLS | _named(*_OBEYED, *_UNSEEN, *_UNEVEN) | _SIGNS
_TEXT = _but(_LINE, _WHITE)
_FLOW = _but(_TEXT, {*_SIGNS, *_UNEVEN})
_CODES = _LINE | _named(*_SIGNS)
_TOKEN = _CODES | {0x20: "·", 0x09: "→", 0x0A: "⏎"}
_CODES_IN_TEXT = _but(_CODES, _WHITE)
_IN_PLACE = {
    code: picture if len(picture) == 1 else "\ufffd" for code, picture in _TEXT.items()
}
_WHOLE_IN_PLACE = _but(_IN_PLACE, _SIGNS)
_RAW_IN_JSON = (*range(0x7F, 0xA0), *_OBEYED, *range(0xD800, 0xE000))
_JSON = {code: f"\\u{code:04x}" for code in _RAW_IN_JSON}


def visible(text: str) -> str:
    """`text` for a screen of cells: every control and bidi character and all that
    can't be seen is drawn, parts of emoji and joiners as signs; newlines and tabs
    stay."""
    return text.translate(_TEXT)


def visible_line(text: str) -> str:
    """`text` as one line: newlines and tabs are drawn too."""
    return text.translate(_LINE)


def visible_flow(text: str) -> str:
    """`text` for what is not laid out in cells, a stream or a web page: emoji and
    joined letters stay whole there; the rest is drawn as by `visible`."""
    return text.translate(_FLOW)


def visible_codes(text: str) -> str:
    """`text` with the code point of all that is not drawn by itself, parts of emoji
    too; newlines and tabs stay."""
    return text.translate(_CODES_IN_TEXT)


def visible_token(text: str) -> str:
    """A token's text by `visible_codes`, with its spaces, tabs and newlines drawn."""
    return text.translate(_TOKEN)


def visible_in_place(text: str, *, whole: bool = False) -> str:
    """A line in which each such character is drawn as exactly one, so that places in
    it are those of `text`; tabs stay. `whole` leaves parts of emoji and joiners as they
    are, for who looks for what belongs together."""
    return text.translate(_WHOLE_IN_PLACE if whole else _IN_PLACE)


def signs_undone(drawn: str, source: str) -> str:
    """`drawn` with the characters of `source` that `visible` draws as signs, wherever
    a sign can stand for one of them alone."""
    meant: dict[str, list[str]] = {}
    for character in set(source):
        if sign := _SIGNS.get(ord(character)):
            meant.setdefault(sign, [sign] if sign in source else []).append(character)
    known = {ord(sign): found[0] for sign, found in meant.items() if len(found) == 1}
    return drawn.translate(known)


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
