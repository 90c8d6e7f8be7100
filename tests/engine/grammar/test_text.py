"""What a grammar's text must be, and what is wrong with one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.engine.grammar.gbnf import rules_of_gbnf
from lmtui.engine.grammar.text import (
    LONGEST,
    Grammar,
    read_grammar,
    read_schema,
)
from lmtui.errors import LmtuiError

SCHEMA = '{"type": "object"}'
LARK = 'start: "a"\n'
GBNF = '# yes or no\nroot ::= "yes" | "no"\n'


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.json", SCHEMA, "schema"),
        ("a.txt", f"\ufeff\n {SCHEMA}", "schema"),
        ("a.lark", LARK, "lark"),
        ("a.grammar", LARK, "lark"),
        ("a.GBNF", GBNF, "gbnf"),
        ("a", GBNF, "gbnf"),
        ("a.lark", 'start: "root ::= x"', "lark"),
    ],
)
def test_kind_of_a_file_is_told_by_its_name_and_text(
    tmp_path: Path, name: str, text: str, kind: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read_grammar(path) == Grammar(kind, text.removeprefix("\ufeff"))


def test_files_that_hold_no_grammar_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    with pytest.raises(LmtuiError, match=r"can't be read: .*No such file"):
        read_schema(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LmtuiError, match="no UTF-8 text"):
        read_schema(path)
    path.write_bytes(b" " * (LONGEST + 1))
    with pytest.raises(LmtuiError, match="too long"):
        read_grammar(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a":\n 1,}', "line 2, column"),
        ("[]", "an object"),
        ('{"const": NaN}', "no JSON number"),
        ('{"a":' * 5000, "too deeply"),
        ('"\ud800"', "surrogate"),
        (f'"{"é" * (LONGEST // 2)}"', "the most is 262,144"),
    ],
)
def test_schemas_that_are_none_are_refused(text: str, words: str) -> None:
    with pytest.raises(LmtuiError, match=words):
        Grammar("schema", text)


def test_a_parsed_schema_is_a_grammar() -> None:
    assert Grammar.of_schema({"const": "é"}) == Grammar("schema", '{"const": "é"}')
    with pytest.raises(LmtuiError, match="no JSON number"):
        Grammar.of_schema({"const": float("inf")})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "1, column 1: it has no rule named root"),
        ('root = "a"', "1, column 6: ::= is expected"),
        ('root ::= "a', "1, column 10: what begins here has no end"),
        ('root ::= "a\\', "1, column 10: what begins here has no end"),
        ("root ::= [a", "1, column 10: what begins here has no end"),
        ("root ::= []", "1, column 10: the brackets hold no character"),
        ("root ::= [z-a]", "the range falls"),
        ('root ::= "\\q"', "1, column 11: .q is no escape sequence"),
        ('root ::= "\\u12"', "4 hexadecimal digits"),
        ('root ::= "\\ud800"', "no character has this number"),
        ('root ::= ("a"', r"\) is expected"),
        ('root ::= "a" )', "the end of the rule"),
        ('root ::= "a"{3,2}', "the numbers must rise"),
        ('root ::= "a"{1,9999}', "2000 at most"),
        ('root ::= "a"{x}', "{m,n} is expected"),
        ('root ::= x\nroot ::= "a"', "2, column 1: the rule root stands twice"),
        ('root ::= x\n\ny ::= "a"', "1, column 10: no rule is named x"),
        ("root ::= <think>", "tokens are not supported"),
        (f"root ::= {'(' * 200}", "more than 100 groups"),
    ],
)
def test_gbnf_errors_name_the_place(text: str, words: str) -> None:
    with pytest.raises(LmtuiError, match=f"GBNF grammar can't be used: .*{words}"):
        rules_of_gbnf(text)
