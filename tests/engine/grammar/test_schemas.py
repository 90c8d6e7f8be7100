"""Every text drawn under a JSON schema's masks is valid."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import jsonschema
import pytest

from lmtui.engine.grammar.text import Grammar
from lmtui.errors import LmtuiError
from tests.engine.grammar.schemas import schema
from tests.engine.grammar.vocabularies import drawn, made

SCHEMAS = 80
Validator = jsonschema.Draft202012Validator


def require_valid(text: str, given: Any) -> None:
    """Raise where a text does not fit its schema; no number is rounded."""
    value, exact = (
        json.loads(t, parse_float=Decimal) for t in (text, json.dumps(given))
    )
    Validator(exact, format_checker=Validator.FORMAT_CHECKER).validate(value)


@pytest.mark.parametrize("seed", range(SCHEMAS))
def test_drawn_texts_are_valid(seed: int) -> None:
    each, given = made(), schema(seed)
    Validator.check_schema(given)
    compiled = each.grammars.compile(Grammar.of_schema(given))
    rng = random.Random(seed)
    for _ in range(3):
        ids = drawn(each, compiled.matcher(each.ends), rng)
        assert ids is not None
        require_valid(each.text(ids), given)


def refusal(given: Any) -> LmtuiError:
    """The error for a schema that does not compile."""
    with pytest.raises(LmtuiError) as caught:
        made().grammars.compile(Grammar.of_schema(given))
    return caught.value


@pytest.mark.parametrize(
    "keyword",
    [
        "not",
        "if",
        "then",
        "else",
        "contains",
        "minContains",
        "maxContains",
        "uniqueItems",
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "unevaluatedProperties",
        "unevaluatedItems",
        "$dynamicRef",
        "$recursiveRef",
        "$dynamicAnchor",
        "$recursiveAnchor",
    ],
)
def test_keywords_that_are_refused_are_named(keyword: str) -> None:
    error = refusal({"properties": {"a": {}, "b": {keyword: {}}}, keyword: {}})
    assert error.title == "the JSON schema can't be used"
    assert error.detail == f"these keywords can't be enforced: {keyword}"
    assert "lenient" in error.hint


def test_refused_keywords_of_a_schema_are_named_together() -> None:
    detail = refusal({"items": {"not": {}, "uniqueItems": True}}).detail
    assert detail.endswith("enforced: not, uniqueItems")


BROKEN = {
    "minimum (5) is greater": {"type": "integer", "minimum": 5, "maximum": 3},
    "Unknown format": {"type": "string", "format": "isbn"},
    "unclosed group": {"type": "string", "pattern": "(a"},
    "may overlap": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    "does not exist": {"$ref": "#/$defs/missing"},
    "schema is false": {"allOf": [False]},
    "Invalid type": {"type": "text"},
}


@pytest.mark.parametrize("words", BROKEN)
def test_schemas_that_no_text_fits_are_refused(words: str) -> None:
    error = refusal(BROKEN[words])
    assert words in error.detail and error.hint
    assert "\n" not in error.detail


def test_white_space_is_bounded() -> None:
    each = made()
    matcher = each.matcher("schema", '{"type": "array"}')
    for character in "[ ":
        matcher.accept(each.byte(ord(character)))
    with pytest.raises(LmtuiError, match="does not allow"):
        matcher.accept(each.byte(ord(" ")))
    free = '{"type": "array", "x-guidance": {"whitespace_flexible": true}}'
    matcher = each.matcher("schema", free)
    for character in "[   ":
        matcher.accept(each.byte(ord(character)))
