"""A grammar that takes too much costs a process, and not this one."""

from __future__ import annotations

import pytest

from lmtui.engine.grammar import check
from lmtui.engine.grammar.check import compile_check
from lmtui.engine.grammar.text import Grammar
from lmtui.errors import LmtuiError

DEEP = "\n".join(
    ["start: r0", *(f'r{i}: "a" r{i + 1} | "b"' for i in range(9000)), 'r9000: "c"']
)
SLOW = '{"type": "integer", "multipleOf": 1234567}'


def test_checked_grammars_say_what_they_leave_out() -> None:
    given = '{"type": "string", "nullable": true}'
    assert compile_check(Grammar("schema", given)) == ("nullable at #",)


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
        (Grammar("lark", DEEP), "too much memory"),
        (Grammar("gbnf", "root ::= x"), "column 10: no rule is named x"),
    ],
)
def test_grammars_that_do_not_compile_are_refused(grammar: Grammar, words: str) -> None:
    with pytest.raises(LmtuiError, match=words) as caught:
        compile_check(grammar)
    assert caught.value.hint


def test_slow_grammars_are_killed() -> None:
    with pytest.raises(LmtuiError, match=r"takes more than 0\.3 seconds"):
        compile_check(Grammar("schema", SLOW), seconds=0.3)


def test_large_grammar_is_read_by_a_process_that_begins_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, "_LOOK", 1e-3)
    monkeypatch.setattr(check, "_PATIENCE", 20.0)
    comment = "// nothing\n" * 20_000  # more than a pipe holds
    assert compile_check(Grammar("lark", comment + 'start: "a"')) == ()


def test_time_without_a_processor_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmtui.processes.processor_seconds", lambda pid: 0.0)
    assert compile_check(Grammar("regex", "[ab]"), seconds=0.01) == ()


def test_process_that_stands_still_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmtui.processes.processor_seconds", lambda pid: 0.0)
    monkeypatch.setattr(check, "_PATIENCE", 0.1)
    with pytest.raises(LmtuiError, match="takes more than 2 seconds"):
        compile_check(Grammar("schema", SLOW), seconds=2)
