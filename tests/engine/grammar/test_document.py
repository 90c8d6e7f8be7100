"""In the editor, the whole text follows the grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.document.suggest import suggest
from lmtui.engine.document.suggestion import SuggestionEnd, SuggestionRules
from lmtui.engine.grammar.answer import AnswerGrammar
from lmtui.engine.grammar.document import DocumentGrammar
from lmtui.engine.grammar.text import Grammar, grammar_of
from lmtui.engine.types import GenerationResult, SamplingSettings, Step
from lmtui.errors import LmtuiError
from tests.engine import tiny
from tests.engine.grammar.vocabularies import made

LIST = 'root ::= item+\nitem ::= "- " [a-z ]+ "\\n"\n'
TEXTS = ("- the cat\n", "- the cat\n- do", "- a\n- b\n-")
RULES = SuggestionRules(max_tokens=12, min_prob=None, seconds=None, grammar=LIST)


def beginning(setting: str) -> AnswerGrammar:
    each = made()
    return AnswerGrammar(each.grammars.compile(grammar_of(setting)), each.ends)


def is_begun(text: str) -> bool:
    """Whether a text of the list can begin so."""
    matcher = made().matcher("gbnf", LIST)
    return matcher.accept_bytes(text.encode())


@given(st.lists(st.sampled_from(["- ", "a", "b c", "\n", "x"]), max_size=12))
def test_a_grammar_that_has_read_a_text_goes_on_as_a_new_one(parts: list[str]) -> None:
    document = DocumentGrammar(beginning)
    text = ""
    for part in parts:
        longer = text + part
        if is_begun(longer):
            text = longer
            data = b"- a"
            assert document.at(LIST, text).allows(data) == is_begun(text + "- a")
        else:
            with pytest.raises(LmtuiError):
                document.at(LIST, longer)
    assert document.at(LIST, "").allows(b"- ")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x", "line 1, column 1"),
        ("- a\n- b7c\n- d", "line 2, column 4"),
        ("- a\n\n", "line 2, column 1"),
    ],
)
def test_the_error_names_where_the_text_breaks_it(text: str, place: str) -> None:
    with pytest.raises(LmtuiError) as error:
        DocumentGrammar(beginning).at(LIST, text)
    assert error.value.title == f"{place} breaks the grammar"


@pytest.mark.parametrize("text", TEXTS)
def test_suggestion_and_alternatives_follow_the_grammar(text: str) -> None:
    engine = tiny.engine()
    ghost = suggest(engine, text, len(text), RULES, on_text=lambda _: None)
    assert ghost.end is not SuggestionEnd.BLOCKED
    assert ghost.text and is_begun(text + ghost.text)
    found = engine.document.alternatives(text, len(text), RULES, count=5)
    assert len(found) == (1 if text.endswith("\n") else 5)
    assert all(is_begun(text + each.text) for each in found)


@pytest.mark.parametrize("text", TEXTS)
def test_rows_that_it_forbids_are_marked(text: str) -> None:
    engine = tiny.engine()
    prediction = engine.document.predict_at(text, len(text), top_n=40, grammar=LIST)
    assert prediction.distribution is not None
    rows = prediction.distribution.candidates
    for row in rows:
        if row.id not in prediction.control_ids:
            can_follow = is_begun_by_bytes(text, row.bytes)
            assert row.cut == (None if can_follow else "s")
    unmarked = [row._replace(cut=None) for row in rows]
    free = engine.document.predict_at(text, len(text), top_n=40).distribution
    assert free is not None and list(free.candidates) == unmarked


def is_begun_by_bytes(text: str, data: bytes) -> bool:
    matcher = made().matcher("gbnf", LIST)
    return matcher.accept_bytes(text.encode()) and matcher.accept_bytes(data)


def test_rows_are_as_they_are_where_the_text_breaks_it() -> None:
    engine = tiny.engine()
    text = "no list"
    marked = engine.document.predict_at(text, len(text), grammar=LIST)
    free = engine.document.predict_at(text, len(text))
    assert marked.distribution is not None and free.distribution is not None
    assert marked.distribution.candidates == free.distribution.candidates


def test_drawn_text_ends_with_the_grammar() -> None:
    engine = tiny.engine()
    wanted = SamplingSettings(
        temperature=1, top_k=0, seed=3, max_tokens=60, grammar="/the (cat|dog)!{2}/"
    )
    text = "the ca"
    *steps, finish = engine.document.complete(text, len(text), wanted, grammar_from=0)
    assert isinstance(finish, GenerationResult)
    said = "".join(step.piece for step in steps if isinstance(step, Step))
    assert text + said + finish.piece == "the cat!!"


def test_a_grammar_of_another_kind_is_another_grammar() -> None:
    document = DocumentGrammar(beginning)
    assert document.at(LIST, "- a").allows(b"\n")
    regex = Grammar("regex", "- a+").setting
    assert not document.at(regex, "- a").allows(b"\n")
