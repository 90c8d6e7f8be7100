"""Keywords of a JSON schema that its grammar does not enforce.

llguidance refuses some keywords and passes over others. Which are which was found by
compiling a schema with each of them (llguidance 1.9.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

REFUSED = frozenset(
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
    ]
)
"""Keywords whose schema does not compile, but with `"x-guidance": {"lenient":
true}`."""

_ENFORCED = frozenset(
    [
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "const",
        "enum",
        "type",
        "items",
        "additionalItems",
        "prefixItems",
        "minItems",
        "maxItems",
        "properties",
        "additionalProperties",
        "patternProperties",
        "required",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ]
)
_REMARKS = frozenset(
    [
        "$anchor",
        "$defs",
        "definitions",
        "$schema",
        "$id",
        "id",
        "$comment",
        "$vocabulary",
        "title",
        "description",
        "default",
        "examples",
        "example",
        "readOnly",
        "writeOnly",
        "deprecated",
        "x-guidance",
    ]
)
"""Keywords that constrain nothing."""

_SCHEMA = frozenset(
    [
        "items",
        "additionalItems",
        "additionalProperties",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
        "unevaluatedProperties",
        "unevaluatedItems",
    ]
)
_LIST_OF_SCHEMAS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems", "items"))
_NAMED_SCHEMAS = frozenset(
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"]
)


def refused_keywords(schema: Any) -> tuple[str, ...]:
    """Return the keywords that llguidance refuses, each with its first place."""
    keys = ((key, pointer) for key, _, pointer in _keywords(schema) if key in REFUSED)
    return _first_places(keys)


def ignored_keywords(schema: Any) -> tuple[str, ...]:
    """Return what the grammar silently leaves out, each with its first place: keywords
    that are no part of JSON Schema, those about encoded content, formats of what is no
    text, and counts of properties, in which one that is written twice counts twice."""
    return _first_places(_ignored(schema))


def _ignored(schema: Any) -> Iterator[tuple[str, str]]:
    for key, parent, pointer in _keywords(schema):
        if key not in _ENFORCED | _REMARKS | REFUSED:
            yield key, pointer
        elif key == "format" and not _may_be_text(parent.get("type", "string")):
            yield f"format {parent[key]}", pointer
        elif key == "minProperties" and _at_least_two(parent[key]):
            yield "minProperties (a repeated name counts again)", pointer


def _may_be_text(kind: Any) -> bool:
    return kind == "string" or (isinstance(kind, list) and "string" in kind)


def _at_least_two(count: Any) -> bool:
    return isinstance(count, int | float) and count >= 2


def _first_places(keys: Iterator[tuple[str, str]]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for key, pointer in keys:
        first.setdefault(key, pointer)
    return tuple(f"{key} at {pointer}" for key, pointer in first.items())


def _keywords(schema: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield every keyword, the schema that has it, and that schema's JSON pointer, in
    the text's order."""
    waiting = [(schema, "#")]
    while waiting:
        here, pointer = waiting.pop()
        if not isinstance(here, dict):
            continue
        for key in here:
            yield key, here, pointer
        waiting += reversed(list(_subschemas(here, pointer)))


def _subschemas(schema: dict[str, Any], pointer: str) -> Iterator[tuple[Any, str]]:
    for key, value in schema.items():
        below = f"{pointer}/{key}"
        if key in _NAMED_SCHEMAS and isinstance(value, dict):
            yield from (
                (subschema, f"{below}/{name}") for name, subschema in value.items()
            )
        elif key in _LIST_OF_SCHEMAS and isinstance(value, list):
            yield from (
                (subschema, f"{below}/{i}") for i, subschema in enumerate(value)
            )
        elif key in _SCHEMA:
            yield value, below
