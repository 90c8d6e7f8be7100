"""Masks allow what the grammar allows, on every path through a text."""

from __future__ import annotations

import random
import re
from functools import cache

import pytest
import regex as partial
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from lmtui.engine.grammar.matcher import GrammarMatcher
from lmtui.engine.grammar.text import Grammar
from lmtui.engine.grammar.vocabulary import GrammarVocabulary
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.errors import LmtuiError
from tests.engine.grammar.vocabularies import TOKENIZERS, Made, drawn, made

KINDS = tuple(TOKENIZERS)
REGEXES = (
    r"[a-z]{2,5}( cat| dog)*",
    r"(the|The) (quick|brown)? ?fox\.",
    r"[0-9]{1,3}(,[0-9]{3})*",
    r"(a|b)*a(a|b){3}",
    r"日本語|é+|👩‍👩‍👧",
    r"[^x]{0,6}x",
    r"(?i)yes|no",
    r"/path/[a-z_/]*",
    r"",
)


def follows(made: Made, regex: str, ids: list[int]) -> set[int]:
    """The naive way: tokens after which some text matches, found by `regex`'s partial
    match. An end follows where the text matches as it is."""
    before = b"".join(map(made.vocabulary.bytes, ids))
    found = (
        set(made.ends)
        if re.fullmatch(regex, before.decode(errors="replace"))
        else set()
    )
    for token in range(made.size):
        data = made.vocabulary.bytes(token)
        if not data or token in made.vocabulary.specials or token in made.ends:
            continue
        if any(
            partial.fullmatch(regex, text, partial=True)
            for text in completions(before + data)
        ):
            found.add(token)
    return found


@cache
def characters() -> dict[bytes, set[str]]:
    """For each beginning of a character's bytes, one that begins so, and those of the
    expressions."""
    numbers = (n for n in range(0x80, 0x110000, 64) if not 0xD800 <= n < 0xE000)
    found: dict[bytes, set[str]] = {}
    for character in map(chr, numbers):
        data = character.encode()
        for size in range(1, len(data)):
            found.setdefault(data[:size], {character})
    for character in "".join(REGEXES):
        data = character.encode()
        for size in range(1, len(data)):
            found[data[:size]].add(character)
    return found


def completions(data: bytes) -> list[str]:
    """Texts that begin with bytes, whose last character may be unfinished."""
    try:
        return [data.decode()]
    except UnicodeDecodeError as error:
        head, tail = data[: error.start].decode(), data[error.start :]
        return [head + character for character in characters().get(tail, ())]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regex", REGEXES[:6])
def test_masks_are_those_of_a_naive_search(kind: str, regex: str) -> None:
    each, rng = made(kind), random.Random(regex)
    matcher, ids = each.matcher("regex", regex), []
    for _ in range(6):
        mask = matcher.mask()
        allowed = set(mask.nonzero().flatten().tolist())
        assert mask.shape == (each.size,)
        assert allowed == follows(each, regex, ids)
        choices = sorted(allowed.difference(each.ends))
        if not choices:
            break
        ids.append(rng.choice(choices))
        matcher.accept(ids[-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regex", REGEXES)
def test_drawn_texts_match_the_expression(kind: str, regex: str) -> None:
    each, rng = made(kind), random.Random(regex)
    for _ in range(5):
        ids = drawn(each, each.matcher("regex", regex), rng)
        assert ids is not None
        assert re.fullmatch(regex, each.text(ids))


@pytest.mark.parametrize("regex", ["a\\", "[a", "a{2,1}", "*", "a\\\\\\", r"\p{Foo}"])
def test_expressions_that_are_none_are_refused(regex: str) -> None:
    with pytest.raises(LmtuiError, match=r"can't be used: column \d+: ") as caught:
        made().matcher("regex", regex)
    assert caught.value.hint


GBNFS = {
    'root ::= a b\na ::= [a-z]+\nb ::= "x"': r"[a-z]+x",
    'root ::= ("abc" | [a-z])*': r"(abc|[a-z])*",
    'root ::= pair ("," pair){0,2} # pairs\npair ::=\n  [0-9]{2}\n  | "\\u00e9" | .': (
        r"(?s)([0-9]{2}|é|.)(,([0-9]{2}|é|.)){0,2}"
    ),
    'root ::= "(" root ")" | "\\"" [^"\\\\\\n]? "\\"" |': r'\(*("[^"\\\n]?")?\)*',
    'root ::= foo-bar start Foo\nfoo-bar ::= "-"\nstart ::= [^-]\nFoo ::= [\\]\\[-]+': (
        r"-[^-][\]\[-]+"
    ),
}


@pytest.mark.parametrize("gbnf", GBNFS)
def test_drawn_texts_follow_gbnf(gbnf: str) -> None:
    each, rng = made(), random.Random(gbnf)
    for _ in range(10):
        ids = drawn(each, each.matcher("gbnf", gbnf), rng)
        assert ids is not None
        assert re.fullmatch(GBNFS[gbnf], each.text(ids))


LARK = """
start: "{" pair ("," pair)* "}"
pair: /[a-z]+/ ":" (start | NUMBER)
NUMBER: /[0-9]{1,3}/
"""


def walk(matcher: GrammarMatcher, rng: random.Random, steps: int) -> list[torch.Tensor]:
    """Accept tokens drawn at random; the masks before each and after the last."""
    masks = [matcher.mask()]
    for _ in range(steps):
        choices = masks[-1].nonzero().flatten().tolist()
        if not choices or matcher.is_finished:
            break
        matcher.accept(rng.choice(choices))
        masks.append(matcher.mask())
    return masks


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [LARK, 'start: a "x"\na[max_tokens=9]: /[a-z]*/'])
def test_the_same_tokens_after_a_rollback_have_the_same_masks(
    kind: str, text: str
) -> None:
    each, rng = made(kind), random.Random(text)
    for _ in range(20):
        matcher = each.matcher("lark", text)
        first = walk(matcher, rng, rng.randrange(10))
        seed = rng.random()
        after = walk(matcher, random.Random(seed), 6)
        matcher.rollback(len(after) - 1)
        assert same(walk(matcher, random.Random(seed), 6), after)
        matcher.rollback(len(after) + len(first) - 2)
        assert torch.equal(matcher.mask(), first[0])


def test_a_copy_moves_on_its_own() -> None:
    each, rng = made(), random.Random(5)
    matcher = each.matcher("lark", LARK)
    walk(matcher, rng, 4)
    before = matcher.mask()
    copied = matcher.copy()
    after = walk(copied, random.Random(1), 5)
    assert torch.equal(matcher.mask(), before)
    assert same(walk(matcher, random.Random(1), 5), after)
    copied.rollback(len(after) - 1)
    assert torch.equal(copied.mask(), before)


def test_end_tokens_are_allowed_where_the_text_is_complete() -> None:
    each = made()
    matcher = each.matcher("regex", "ab?")
    a, b = (each.byte(data) for data in b"ab")
    assert not matcher.mask()[list(each.ends)].any()
    matcher.accept(a)
    assert matcher.is_accepting and not matcher.is_finished
    assert matcher.mask()[list(each.ends)].all()
    matcher.accept(b)
    assert matcher.is_finished
    assert matcher.mask().nonzero().flatten().tolist() == list(each.ends)
    matcher.accept(each.ends[1])
    assert matcher.is_finished and not matcher.forced()
    with pytest.raises(LmtuiError, match="does not allow"):
        matcher.accept(b)
    matcher.rollback(2)
    assert matcher.mask()[b] and matcher.is_accepting


def test_a_refused_token_changes_nothing() -> None:
    each = made()
    matcher = each.matcher("regex", "ab")
    before = matcher.mask()
    for token in (each.byte(ord("b")), each.ends[0], each.size - 1, each.size, -1):
        with pytest.raises(LmtuiError, match="does not allow"):
            matcher.accept(token)
    assert torch.equal(matcher.mask(), before)
    with pytest.raises(ValueError, match="1 of 0"):
        matcher.rollback(1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_forced_text_is_what_all_texts_have_in_common(kind: str) -> None:
    each = made(kind)
    text = "The quick brown cat, 日本語 👩‍👩‍👧"
    schema = f'{{"enum": ["{text}!", "{text}?"]}}'
    matcher = each.matcher("schema", schema)
    before, forced = matcher.mask(), matcher.forced()
    assert torch.equal(matcher.mask(), before)
    assert forced == f'"{text}'.encode()
    assert matcher.accept_bytes(forced)
    assert matcher.forced() == b""
    assert not matcher.accept_bytes(b"x") and matcher.accept_bytes(b'?"')
    assert matcher.is_finished


def test_a_refused_text_changes_nothing() -> None:
    each = made()
    matcher = each.matcher("regex", "abc|ade")
    before = matcher.mask()
    assert not matcher.accept_bytes(b"abd")
    assert torch.equal(matcher.mask(), before)
    assert matcher.accept_bytes(b"ad")
    assert matcher.forced() == b"e"


def test_text_that_can_neither_go_on_nor_end_is_an_error() -> None:
    pieces = {"<end>": 0, "a": 1, "b": 2}
    backend = Tokenizer(models.BPE(pieces, []))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
    grammars = GrammarVocabulary(tokenizer, Vocabulary(tokenizer), 3)
    matcher = grammars.compile(Grammar("regex", "ab?c|b")).matcher([0])
    matcher.accept(1)
    matcher.accept(2)
    for _ in range(2):
        with pytest.raises(LmtuiError, match=r"neither go on nor end: after 2 tokens"):
            matcher.mask()
    matcher.rollback(2)
    assert matcher.mask().tolist() == [False, True, True]
    with pytest.raises(LmtuiError, match="allows no text"):
        grammars.compile(Grammar("regex", "c"))


def test_special_tokens_are_no_text_but_by_their_name() -> None:
    each = made()
    assert not each.matcher("regex", ".*").mask()[1]
    assert each.matcher("regex", r"<\|im_start\|>.*").mask()[1].logical_not()
    assert each.matcher("lark", "start: <|im_start|>").mask()[1]
