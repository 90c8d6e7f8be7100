"""Words have the probability of the published formula, and add up to the text's."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.analysis.words import Word, words_of
from lmtui.engine.engine import LocalEngine
from lmtui.engine.types import ScoredToken
from tests.analysis.scored import token
from tests.engine import tiny
from tests.examples import examples

TEXT = "The quick brown fox, naïve façade: 日本語のテキスト sat. On the mat!"
# A byte-level vocabulary's signs for space, newline, tab, carriage return, \v and \f.
SPACE_SIGNS = tuple("ĠĊĉčċČ")


def scored(
    engine: LocalEngine, text: str, bos: str = "yes", **windows: int
) -> tuple[list[ScoredToken], list[Word]]:
    """The tokens of a text, with one behind it, and its words."""
    encoding = engine.encode(text, bos=bos)  # type: ignore[arg-type]
    ids = (*encoding.ids, 0)
    rows = engine.score(ids, prefix=encoding.prefix, word_ends=True, **windows)
    tokens = list(rows)
    spans = chain(encoding.spans, [None])
    return tokens, list(words_of(text, zip(tokens, spans, strict=True)))


def published(
    text: str, tokenizer: Any, logprobs: torch.Tensor, ends: set[int]
) -> list[float]:
    """The log-probability of each word, by the formula of Pimentel and Meister (2024)
    for a text with single spaces: the product of its tokens' probabilities, times the
    mass of tokens that begin a word or end a text after it, over that before it.
    `logprobs` [n + 1, V] are those after BOS and after each token."""
    vocabulary = tokenizer.get_vocab()
    marked = {id for sign, id in vocabulary.items() if sign.startswith(SPACE_SIGNS)}
    mass = logprobs.exp()[:, sorted(marked | ends)].sum(1).log()
    values, at = [], 0
    for number, word in enumerate(text.split(" ")):
        marked_word = f" {word}" if number else word
        ids = tokenizer(marked_word, add_special_tokens=False).input_ids
        product = sum(float(logprobs[at + i, id]) for i, id in enumerate(ids))
        before = float(mass[at]) if number else 0.0  # every token begins a text
        at += len(ids)
        values.append(product + float(mass[at]) - before)
    return values


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_words_have_the_probability_of_the_published_formula(family: str) -> None:
    engine = tiny.engine(family)
    ids = engine.encode(TEXT, bos="no").ids
    logprobs = tiny.reference_logprobs(family, [1, *ids])
    _, words = scored(engine, TEXT)
    assert [word.word for word in words] == TEXT.split()
    expected = published(TEXT, tiny.tokenizer(), logprobs, {0})
    assert [word.logprob for word in words] == pytest.approx(expected, abs=1e-5)
    assert any(abs(word.logprob - word.naive_logprob) > 0.1 for word in words)  # type: ignore


@pytest.mark.parametrize("windows", [{}, {"window": 16, "stride": 5}])
@given(text=st.text(st.sampled_from("the cat.é日 \n\t\r"), max_size=80))
@settings(max_examples=examples(20, 200), deadline=None)
def test_words_and_the_end_add_up_to_the_text(
    windows: dict[str, int], text: str
) -> None:
    tokens, words = scored(tiny.engine(), text, **windows)
    spelled = [text[word.start : word.end] for word in words]
    assert spelled == [word.word for word in words] == text.split()
    count = sum(word.tokens for word in words)
    rest = tokens[count:-1]  # white space behind the last word
    whole = math.fsum(t.logprob or 0.0 for t in tokens[:-1])
    end = math.fsum(t.logprob or 0.0 for t in rest)
    if words:
        end -= tokens[count].word_end or 0.0
    total = math.fsum(word.logprob or 0.0 for word in words)
    assert total + end == pytest.approx(whole, abs=1e-4)
    naive = math.fsum(word.naive_logprob or 0.0 for word in words)
    assert naive == pytest.approx(math.fsum(t.logprob or 0 for t in tokens[:count]))


def test_first_word_without_context_has_no_number() -> None:
    tokens, (first, *others) = scored(tiny.engine(), "naïve fox sat", bos="no")
    assert first.tokens > 1 and tokens[1].logprob is not None
    assert (first.logprob, first.naive_logprob, first.entropy) == (None, None, None)
    assert all(word.logprob is not None for word in others)


def words_from(*parts: tuple[bytes, float]) -> list[Word]:
    """The words of a text of such tokens, each with the log-probability that a word
    ends before it; every token has probability e⁻¹."""
    text = b"".join(data for data, _ in parts).decode()
    tokens, start = [], 0
    for data, end in parts:
        size = len(data.decode())
        tokens.append(
            (replace(token(0, -1.0, data), word_end=end), (start, start + size))
        )
        start += size
    behind = replace(token(0, -1.0, b""), word_end=-0.25)
    return list(words_of(text, [*tokens, (behind, None)]))


@pytest.mark.parametrize(
    ("parts", "logprobs"),
    [
        # marked words: after one, over that before it
        ([(b"a", -9), (b" b", -0.5)], {"a": -1.5, "b": -0.75}),
        # marked ends: the plain sum is right, as the published formula says
        ([(b"a ", -9), (b"b ", -9)], {"a": -1.0, "b": -1.0}),
        # a token that holds punctuation and the newline after it
        ([(b"a", -9), (b".\n", -9), (b"b", -9)], {"a.": -2.0, "b": -1.25}),
        # white space as tokens of its own counts to the word behind it
        ([(b"a", -9), (b" ", -0.5), (b"\n", -9), (b"b", -9)], {"a": -1.5, "b": -2.75}),
        # two words in one token can't be told apart
        ([(b"a", -9), (b" b c", -0.5)], {"a": -1.5, "b c": -0.75}),
        # white space at both ends
        ([(b" a", -9), (b" ", -0.5)], {"a": -1.5}),
        ([(b"  ", -9)], {}),
    ],
)
def test_words_end_where_white_space_tells(
    parts: list[tuple[bytes, float]], logprobs: dict[str, float]
) -> None:
    assert {word.word: word.logprob for word in words_from(*parts)} == logprobs


def test_sentences_end_with_their_sign_or_an_empty_line() -> None:
    text = "One (two.) Three?! 四。\n\nFive\nsix\n\n\nseven"
    parts = [(data.encode(), -1.0) for data in text]
    assert [(word.word, word.sentence) for word in words_from(*parts)] == [
        ("One", 1), ("(two.)", 1), ("Three?!", 2), ("四。", 3), ("Five", 4),
        ("six", 4), ("seven", 5),
    ]  # fmt: skip
