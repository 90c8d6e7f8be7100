"""Grammars are checked before there is a model, and end no program."""

from __future__ import annotations

import pytest

from lmtui.engine.grammar.compile import check_grammar
from lmtui.engine.grammar.text import LONGEST, Grammar, Kind
from lmtui.errors import LmtuiError
from tests.engine.grammar.vocabularies import made


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        (
            Grammar("regex", "(a"),
            "regular expression can't be used: column 1: unclosed",
        ),
        (Grammar("regex", r"a\bc"), "lookarounds"),
        (Grammar("lark", "start: a\na: b"), 'line 2, column 4: unknown name: "b"'),
        (Grammar("lark", "start: start"), "Lark grammar allows no text"),
        (Grammar("gbnf", "root ::= x"), "column 10: no rule is named x"),
    ],
)
def test_grammars_that_do_not_compile_are_refused(grammar: Grammar, words: str) -> None:
    with pytest.raises(LmtuiError, match=words) as caught:
        check_grammar(grammar)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("kind", "start", "sign"), [("lark", "start", ":"), ("gbnf", "root", "::=")]
)
def test_longest_chain_of_rules_compiles(kind: Kind, start: str, sign: str) -> None:
    count = LONGEST // (len(sign) + 9) - 10
    rules = [f"{name(i)}{sign}{name(i + 1)}\n" for i in range(count)]
    text = f'{start}{sign}{name(0)}\n{"".join(rules)}{name(count)}{sign}"b"'
    assert LONGEST * 0.99 < len(text) <= LONGEST
    check_grammar(Grammar(kind, text))
    matcher = made().matcher(kind, text)
    assert matcher.accept_bytes(b"b") and matcher.is_accepting


def name(number: int) -> str:
    """The name of a rule, of four letters."""
    return "".join(chr(97 + number // 26**place % 26) for place in range(4))
