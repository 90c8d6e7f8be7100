"""Spans cover a text that the tokenizer normalises, and the difference is counted."""

from __future__ import annotations

from functools import cache
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.text.normalization import covering, rewritten
from lmtui.engine.text.prompt import PromptBuilder
from tests.engine import tiny
from tests.engine.text.test_detokenizer import texts

COMPOSED = "cafe\u0301 e\u0301 x"


@cache
def tokenizer(*rules: normalizers.Normalizer) -> PreTrainedTokenizerFast:
    backend = Tokenizer.from_str(tiny.tokenizer().backend_tokenizer.to_str())
    backend.normalizer = normalizers.Sequence([*rules])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def read(text: str, *rules: normalizers.Normalizer) -> tuple[str, int]:
    """The part of a text that its tokens' spans cover, and how many characters the
    tokens change."""
    fast = tokenizer(*rules)
    encoding = PromptBuilder(fast).document(text, "no")
    spelled = map(Vocabulary(fast).bytes, encoding.ids)
    places = {at for a, b in encoding.spans for at in range(a, b)}
    count = rewritten(text, zip(encoding.spans, spelled, strict=True))
    return "".join(text[at] for at in sorted(places)), count


NFC = normalizers.NFC()


@given(text=texts)
def test_spans_of_a_composing_tokenizer_cover_the_text(text: str) -> None:
    covered, count = read(text, NFC)
    if covered:
        assert covered == text
        assert (count > 0) == (normalize("NFC", text) != text)


def test_composed_characters_are_counted() -> None:
    assert read(COMPOSED, NFC) == (COMPOSED, 5)
    assert read(COMPOSED) == (COMPOSED, 0)


@pytest.mark.parametrize(
    ("rule", "text", "count"),
    [
        (normalizers.Lowercase(), "A b", 1),
        (normalizers.Replace("b", ""), "a b c", 1),
        (normalizers.Strip(), "  a  ", 4),
    ],
)
def test_dropped_characters_belong_to_a_token_and_are_counted(
    rule: normalizers.Normalizer, text: str, count: int
) -> None:
    covered, changed = read(text, rule)
    assert covered == text
    assert changed >= count


def test_space_before_the_first_word_is_not_counted() -> None:
    assert rewritten("ab", [((0, 1), b" a"), ((1, 2), b"b")]) == 0
    assert rewritten("ab", [((0, 1), b"x"), ((1, 2), b"b")]) == 1


@given(
    cuts=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=8),
    rest=st.integers(0, 3),
)
def test_covering_widens_spans_to_the_whole_text(
    cuts: list[tuple[int, int]], rest: int
) -> None:
    spans, at = [], 0
    for gap, size in cuts:
        spans += [(at + gap, at + gap + size)] * 2  # two tokens share each
        at += gap + size
    found = covering(spans, at + rest)
    assert len(found) == len(spans)
    for old, new in zip(spans, found, strict=True):
        assert new[0] <= old[0] and old[1] <= new[1]
    distinct = [*dict.fromkeys(found)]
    ends = [0, *(end for _, end in distinct)]
    assert [start for start, _ in distinct] == ends[:-1]
    assert not distinct or ends[-1] == at + rest
