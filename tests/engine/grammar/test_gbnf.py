"""GBNF against all ways to read a text, and large grammars."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lmtui.engine.grammar.gbnf import rules_of_gbnf
from lmtui.engine.grammar.matcher import GrammarMatcher
from lmtui.engine.grammar.rules import (
    Alternatives,
    Characters,
    Part,
    Reference,
    Repetition,
    Rules,
    Sequence,
)
from lmtui.errors import LmtuiError
from tests.engine.grammar.vocabularies import made

LEAVES = ['"a"', '"ab"', '"b"', "[ab]", "[^a]", '"é"', '"è"', "[b-é]", '""', ".", '"c"']
SIGNS = ["*", "+", "?", "{2}", "{0,2}", "{1,}"]


@st.composite
def bodies(draw: st.DrawFn, depth: int = 3) -> str:
    """The right side of a rule that may refer to a and b."""
    kind = draw(st.sampled_from(["leaf", "sequence", "choice", "repeated", "rule"]))
    if depth == 0 or kind == "leaf":
        return draw(st.sampled_from(LEAVES))
    if kind == "rule":
        return draw(st.sampled_from(["x", "y"]))
    if kind == "repeated":
        return f"({draw(bodies(depth - 1))}){draw(st.sampled_from(SIGNS))}"
    parts = draw(st.lists(bodies(depth - 1), min_size=1, max_size=3))
    return f"({(' | ' if kind == 'choice' else ' ').join(parts)})"


grammars = st.builds("root ::= {}\nx ::= {}\ny ::= {}".format, *[bodies()] * 3)


def compiled(text: str) -> GrammarMatcher | None:
    """A matcher at the beginning; None for a grammar that is refused."""
    try:
        return made().matcher("gbnf", text)
    except LmtuiError:
        return None


def accepts(matcher: GrammarMatcher, text: str) -> bool:
    copy = matcher.copy()
    return copy.accept_bytes(text.encode()) and copy.is_accepting


def follows(rules: Rules, text: str) -> bool:
    """Whether a text follows some rules, by trying all ways to read it."""
    ends: dict[tuple[Part, int], set[int]] = defaultdict(set)

    def read(part: Part, start: int) -> set[int]:
        match part:
            case Characters(ranges, negated):
                if start == len(text):
                    return set()
                is_in = any(a <= text[start] <= b for a, b in ranges)
                return {start + 1} if is_in != negated else set()
            case Reference(name):
                return ends[rules[name], start]
            case Sequence(parts):
                reached = {start}
                for each in parts:
                    reached = set().union(*(read(each, at) for at in reached))
                return reached
            case Alternatives(parts):
                return set().union(*(read(each, start) for each in parts))
            case Repetition(inner, least, most):
                reached = found = {start}
                for count in range(1, (most or least + len(text) + 1) + 1):
                    reached = set().union(*(read(inner, at) for at in reached))
                    found = reached if count <= least else found | reached
                return found

    before = None
    while before != (before := sum(map(len, ends.values()))):
        for part in rules.values():
            for start in range(len(text) + 1):
                ends[part, start] |= read(part, start)
    return len(text) in ends[rules["root"], 0]


@given(grammar=grammars, texts=st.lists(st.text("abcéè", max_size=6), max_size=8))
@settings(deadline=None)
def test_texts_of_a_grammar_are_those_that_all_ways_to_read_find(
    grammar: str, texts: list[str]
) -> None:
    matcher = compiled(grammar)
    assume(matcher is not None)
    assert matcher is not None
    rules = rules_of_gbnf(grammar)
    for text in texts:
        assert accepts(matcher, text) == follows(rules, text)


LARGE = {
    "each twice the next": (
        [f"r{i} ::= r{i + 1} r{i + 1}" for i in range(60)],
        "zzz",
    ),
    "each may be the next": (
        [f'r{i} ::= "x" r{i + 1} | "y"' for i in range(500)],
        "xxy",
    ),
    "many words": (
        ["r0 ::= " + " | ".join(f'"word{i}x" root "y"' for i in range(500))],
        "word3xword42xw",
    ),
    "many options": (
        ["r0 ::= " + " ".join('("a"? "b"?)?' for _ in range(150)) + ' "z" root?'],
        "abbaz",
    ),
    "long literal": ([f'r0 ::= "{"a" * 20_000}" root?'], "a" * 3000),
    "repeated repetitions": (
        ["r0 ::= (([a-z]{0,20} [0-9]){0,2000} r1){0,2000}"],
        "abc1d2zz",
    ),
    "groups of groups": (["r0 ::= " + "(" * 20 + '"a" root' + ")?" * 20], "aaa"),
}
"""Rules of large grammars, and the beginning of a text of each."""


@pytest.mark.parametrize("name", LARGE)
def test_large_grammars_allow_their_texts(name: str) -> None:
    rules, begun = LARGE[name]
    text = "\n".join(["root ::= r0", *rules])
    missing = set(re.findall(r"r\d+", text)) - set(re.findall(r"(r\d+) ::=", text))
    text = "\n".join([text, *(f'{each} ::= "z"' for each in missing)])
    matcher = compiled(text)
    assert matcher is not None
    assert matcher.accept_bytes(begun.encode())
    assert not matcher.accept_bytes(b"?")


def test_too_many_repetitions_of_repetitions_are_refused() -> None:
    with pytest.raises(LmtuiError) as error:
        rules_of_gbnf('root ::= "a"' + "*" * 5000)
    assert "more than 100 repetitions" in error.value.detail
