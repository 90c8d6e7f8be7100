"""Foreign text is drawn, never obeyed."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.text import (
    bytes_text,
    safe_json,
    signs_undone,
    visible,
    visible_codes,
    visible_flow,
    visible_line,
    visible_same_length,
    visible_token,
)

ANYTHING = st.text(st.characters(codec=None))
PARTS = "\u200c\u200d\ufe0f🏻🏼🏽🏾🏿🇦🇩🇪🇿"
"""They change the character beside them, and are drawn as signs."""
EMOJI = st.text(st.sampled_from(f"ab👩❤{PARTS}"))
CONTROLS = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))}
REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def obeyed(text: str) -> set[str]:
    """The characters of `text` that a terminal acts on instead of drawing them."""
    return {
        character
        for character in text
        if character in CONTROLS or unicodedata.bidirectional(character) in REORDERING
    }


@given(ANYTHING)
def test_visible_text_has_no_controls_but_newlines_and_tabs(text: str) -> None:
    assert obeyed(visible(text)) <= {"\n", "\t"}
    assert not obeyed(visible_line(text))
    assert not obeyed(visible_token(text))


@given(ANYTHING)
def test_visible_same_length_keeps_every_offset(text: str) -> None:
    drawn = visible_same_length(text)
    assert len(drawn) == len(text)
    assert obeyed(drawn) <= {"\n", "\t"}
    assert drawn.encode("utf-8") or not text
    assert all(a == b for a, b in zip(text, drawn, strict=True) if b.isalnum())


@given(ANYTHING)
def test_visible_text_can_always_be_encoded(text: str) -> None:
    assert visible(text).encode("utf-8") or not text


@given(ANYTHING)
def test_visible_is_idempotent(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Mc", "Sm"])))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    if not set(text) & set("\u115f\u1160\u302e\u302f\u3164\uffa0𖿰𖿱㉈㉉㉊㉋㉌㉍㉎㉏"):
        assert visible(text) == visible_token(text) == text


@given(ANYTHING)
def test_safe_json_is_the_same_value(text: str) -> None:
    line = safe_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(line) == text
    assert not obeyed(line)
    assert line.encode("utf-8")


@given(st.binary())
def test_bytes_text_decodes_valid_utf8(data: bytes) -> None:
    try:
        assert bytes_text(data) == data.decode()
    except UnicodeDecodeError:
        assert "⟨" in bytes_text(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xe3\x81", "⟨E3 81⟩"),
        (b"a\x81\x82b", "a⟨81 82⟩b"),
        ("é".encode()[:1] + b"x", "⟨C3⟩x"),
        (b"\xff", "⟨FF⟩"),
    ],
)
def test_bytes_that_are_no_character_are_shown_as_hex(data: bytes, text: str) -> None:
    assert bytes_text(data) == text


def test_a_token_shows_its_white_space() -> None:
    assert visible_token(" the\t\n") == "·the→⏎"


def test_invisible_characters_are_shown_as_code_points() -> None:
    assert visible("\ufeffa\U000e0041") == "⟨U+FEFF⟩a⟨U+E0041⟩"
    assert visible("a\u200bb\xad") == "a⟨U+200B⟩b⟨U+00AD⟩"
    assert (
        visible("\u270c") == "⟨U+270C⟩"
    )  # of one cell in some terminals, of two in others


def test_parts_of_emoji_are_signs_of_one_cell() -> None:
    text = "👨\u200d👩 👍🏽 🇩🇪 ❤\ufe0f می\u200cشود"
    signs = "👨‿👩 👍▒ ⒹⒺ ❤˖ می¦شود"
    assert visible(text) == visible_line(text) == visible_same_length(text) == signs
    assert visible_same_length(text, whole=True) == visible_flow(text) == text
    assert visible_codes("👨\u200d👍🏽") == "👨⟨U+200D⟩👍⟨U+1F3FD⟩"
    assert visible_token(" 🇩") == "·⟨U+1F1E9⟩"


@given(EMOJI)
def test_signs_undone_restores_parts_of_emoji(text: str) -> None:
    assert not set(visible(text)) & set(PARTS)
    assert signs_undone(visible(text), text) == text
    assert signs_undone(visible(text + "‿Ⓓ"), text + "‿Ⓓ").endswith("‿Ⓓ")


def test_ambiguous_signs_are_not_undone() -> None:
    assert signs_undone("a˖b˖", "a\ufe0eb\ufe0f") == "a˖b˖"
