"""Escaping of foreign text for the terminal.

Text from a model, a file, a chat title or a theme passes through `visible` before it is
drawn. The original is never changed. Knows no styles and no widgets.
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
# Lone surrogates can't be encoded. The others are invisible: the soft hyphen,
# zero-width spaces, fillers, invisible operators, format controls of musical, Egyptian
# and shorthand signs, the byte-order mark, Unicode tags.
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
# Characters with one cell in some terminals and two in others.
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
# Characters that modify their neighbour and, in some terminals only, its width. Drawn
# as a sign of one cell, they have the same width in all of them.
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
    """Return `text` for a terminal: control, bidi and invisible characters are drawn,
    and parts of emoji and joiners become signs; newlines and tabs stay."""
    return text.translate(_TEXT)


def visible_line(text: str) -> str:
    """Return `text` as one line: newlines and tabs are drawn, too."""
    return text.translate(_LINE)


def visible_flow(text: str) -> str:
    """Return `text` for a stream or a web page, without cells: emoji and joined letters
    stay whole; the rest is as by `visible`."""
    return text.translate(_FLOW)


def visible_codes(text: str) -> str:
    """Return `text` with the code points of all characters that are not drawn as
    themselves, parts of emoji included; newlines and tabs stay."""
    return text.translate(_CODES_IN_TEXT)


def visible_token(text: str) -> str:
    """Return a token's text by `visible_codes`, with spaces, tabs and newlines
    drawn."""
    return text.translate(_TOKEN)


def visible_same_length(text: str, *, whole: bool = False) -> str:
    """Return a line in which each such character is drawn as exactly one, so that
    offsets in code points stay those of `text`; tabs stay. `whole` keeps parts of emoji
    and joiners, for finding grapheme clusters."""
    return text.translate(_WHOLE_IN_PLACE if whole else _IN_PLACE)


def signs_undone(drawn: str, source: str) -> str:
    """Return `drawn` with `visible`'s signs turned back into characters of `source`,
    wherever a sign can stand for only one of them."""
    meant: dict[str, list[str]] = {}
    for character in set(source):
        if sign := _SIGNS.get(ord(character)):
            meant.setdefault(sign, [sign] if sign in source else []).append(character)
    known = {ord(sign): found[0] for sign, found in meant.items() if len(found) == 1}
    return drawn.translate(known)


def safe_json(line: str) -> str:
    r"""Return a line of JSON with `\uXXXX` escapes for the characters that JSON leaves
    raw, but a terminal obeys: the same value, safe on a screen."""
    return line.translate(_JSON)


def bytes_text(data: bytes) -> str:
    """Decode UTF-8; bytes outside whole characters become `⟨E3 81⟩`."""
    return data.decode("utf-8", errors="lmtui.stray")


def _stray(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    data, end = error.object, error.end
    # continuation bytes never start a character
    while end < len(data) and 0x80 <= data[end] < 0xC0:
        end += 1
    return f"⟨{data[error.start : end].hex(' ').upper()}⟩", end


codecs.register_error("lmtui.stray", _stray)
