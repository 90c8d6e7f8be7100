"""What a way says: the text as long as it lasts, then the bytes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.analysis.branches import BranchText
from lmtui.engine.types import ScoredToken


def token(data: bytes, logprob: float | None) -> ScoredToken:
    return ScoredToken(0, 0, "", data, logprob, 1, 1.0)


@st.composite
def written(draw: st.DrawFn) -> BranchText:
    """A text in tokens of one to three bytes, perhaps left somewhere."""
    text = draw(st.text(st.sampled_from("ab é漢🙂\n"), max_size=12))
    cuts, tokens, spans, at = [], [], [], 0
    data = text.encode()
    owner = [i for i, character in enumerate(text) for _ in character.encode()]
    while at < len(data):
        end = min(len(data), at + draw(st.integers(1, 3)))
        logprob = -draw(st.floats(0, 9)) if tokens or draw(st.booleans()) else None
        tokens.append(token(data[at:end], logprob))
        spans.append((owner[at], owner[end - 1] + 1))
        cuts.append(end)
        at = end
    shared = draw(st.integers(0, len(tokens)))
    more = draw(
        st.lists(st.sampled_from([b"x", "é".encode(), b"\xe6", b" on"]), max_size=3)
    )
    leaving = more if shared < len(tokens) or more else []
    if leaving:
        tokens = [*tokens[:shared], *(token(piece, -1.0) for piece in leaving)]
    else:
        shared = len(tokens)
    return BranchText(tuple(tokens), text, tuple(spans), shared)


@given(way=written())
def test_whole_text_decodes_the_token_bytes(way: BranchText) -> None:
    data = b"".join(t.bytes for t in way.tokens)
    said = way.whole_text()
    assert said == data.decode("utf-8", "replace")[: len(said)]
    rest = data[len(said.encode()) :] if "\ufffd" not in said else b""
    assert len(rest) < 4


@given(way=written(), places=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_sums_of_a_range_equal_those_of_its_tokens(
    way: BranchText, places: tuple[int, int]
) -> None:
    first, end = sorted(min(place, len(way.tokens)) for place in places)
    sums = way.sums("part", first, end)
    part = way.tokens[first:end]
    known = [t for t in part if t.logprob is not None]
    assert sums.tokens == len(part) and sums.scored == len(known)
    assert sums.logprob == pytest.approx(math.fsum(t.logprob or 0.0 for t in known))
    assert sums.bytes == sum(len(t.bytes) for t in known)
    starts = sum(byte & 0xC0 != 0x80 for t in known for byte in t.bytes)
    assert abs(sums.characters - starts) <= 1
    data = b"".join(t.bytes for t in part)
    said = way.text_of(first, end)
    assert said == data.decode("utf-8", "replace")[: len(said)]
    assert len(data.decode("utf-8", "ignore")) <= len(said)


def test_sums_and_text_follow_the_text_where_token_bytes_differ() -> None:
    """A tokenizer may put a space before a text, or leave something out."""
    way = BranchText(
        (token(b" a", -1.0), token(b"b", -2.0)), "ab ", ((0, 1), (1, 2)), 2
    )
    sums = way.sums("all", 0, 2)
    assert (sums.characters, sums.bytes) == (3, 3)
    assert way.whole_text() == "ab "
    assert way.text_of(0, 1) == "a"
    assert way.text_of(1, 2) == "b "
    left = BranchText(
        (token(b" a", -1.0), token(b"c", -2.0)), "ab ", ((0, 1), (1, 2)), 1
    )
    assert left.whole_text() == "ac"
