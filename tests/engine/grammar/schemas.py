"""Two hundred JSON schemas of every kind that a grammar enforces, drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]
Rng = random.Random

WORDS = ("name", "age", "tags", "x", "Ünïcode key", 'a "b" \\', "id")
VALUES = (1, -2, 0.5, "é", "", 'q"\\/\n', None, True, [1, "a"], {"k": [None]})
PATTERNS = (
    "^[a-z]{2,4}$",
    "^[0-9]+$",
    "^(ab|c)*$",
    "^x",
    "^[a-c]*y$",
    "^[A-Z]-\\d{1,2}$",
)
FORMATS = ("date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "hostname")


def _integer(rng: Rng) -> Schema:
    low = rng.randint(-100, 100)
    bounds = [
        {},
        {"minimum": low},
        {"exclusiveMaximum": low},
        {"minimum": low, "maximum": low + rng.choice((0, 7, 500))},
        {"multipleOf": rng.randint(2, 9)},
        {"minimum": 0, "multipleOf": 5, "maximum": 1000},
    ]
    return {"type": "integer", **rng.choice(bounds)}


def _number(rng: Rng) -> Schema:
    low = rng.choice((-3.25, 0, 0.1, 12.5))
    bounds = [
        {},
        {"minimum": low},
        {"exclusiveMinimum": low, "maximum": low + 2.5},
        {"exclusiveMaximum": low},
    ]
    return {"type": "number", **rng.choice(bounds)}


def _string(rng: Rng) -> Schema:
    least = rng.randint(0, 3)
    limits = [
        {},
        {"minLength": least, "maxLength": least + rng.randint(0, 4)},
        {"maxLength": 3},
        {"pattern": rng.choice(PATTERNS)},
        {"pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5},
        {"format": rng.choice(FORMATS)},
    ]
    return {"type": "string", **rng.choice(limits)}


def _fixed(rng: Rng) -> Schema:
    kinds: list[Schema] = [
        {"const": rng.choice(VALUES)},
        {"enum": rng.sample(VALUES, 3)},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["string", "null"], "maxLength": 2},
        {"type": ["integer", "boolean"], "minimum": 3},
        {"type": "string", "enum": ["a", "b", 3]},
    ]
    return rng.choice(kinds)


def _array(rng: Rng, depth: int) -> Schema:
    least = rng.randint(0, 2)
    items = _any(rng, depth - 1)
    shapes: list[Schema] = [
        {"items": items},
        {"items": items, "minItems": least, "maxItems": least + rng.randint(0, 2)},
        {"prefixItems": [items, _any(rng, depth - 1)], "items": False, "minItems": 2},
        {"prefixItems": [items], "items": _any(rng, depth - 1), "maxItems": 3},
    ]
    return {"type": "array", **rng.choice(shapes)}


def _object(rng: Rng, depth: int) -> Schema:
    names = rng.sample(WORDS, rng.randint(1, 4))
    made: Schema = {
        "type": "object",
        "properties": {name: _any(rng, depth - 1) for name in names},
        "required": rng.sample(names, rng.randint(0, len(names))),
    }
    others: list[Schema] = [
        {},
        {"additionalProperties": False},
        {"additionalProperties": _any(rng, depth - 1)},
        {"patternProperties": {"^x-": {"type": "integer"}}},
        {"required": [*names, "more"]},
        {"required": names, "maxProperties": len(names) + 1},
    ]
    return made | rng.choice(others)


def _choice(rng: Rng, depth: int) -> Schema:
    one, other = _any(rng, depth - 1), _any(rng, depth - 1)
    kinds: list[Schema] = [
        {"anyOf": [one, other]},
        {"oneOf": [{"type": "null"}, {"type": "object", "required": ["a"]}]},
        {
            "oneOf": [
                {"properties": {"k": {"const": k}, "v": each}, "required": ["k", "v"]}
                | {"type": "object", "additionalProperties": False}
                for k, each in (("one", one), ("other", other))
            ]
        },
        {
            "allOf": [
                {"type": "object", "properties": {"a": one}, "required": ["a"]},
                {"type": "object", "properties": {"b": other}, "required": ["b"]},
            ]
        },
    ]
    return rng.choice(kinds)


def _any(rng: Rng, depth: int) -> Schema:
    leaves: list[Callable[[Rng], Schema]] = [_integer, _number, _string, _fixed]
    if depth > 0 and rng.random() < 0.6:
        return rng.choice((_array, _object, _choice))(rng, depth)
    return rng.choice(leaves)(rng)


def _recursive(rng: Rng) -> Schema:
    return {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "value": _any(rng, 0),
                    "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
                    "all": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
                },
                "required": ["value", "left"],
                "additionalProperties": False,
            },
            "leaf": _any(rng, 1),
        },
        **rng.choice(
            [
                {"$ref": "#/$defs/tree"},
                {"type": "array", "items": {"$ref": "#/$defs/leaf"}, "minItems": 1},
                {"type": "object", "additionalProperties": {"$ref": "#/$defs/tree"}},
            ]
        ),
    }


def schema(seed: int) -> Schema:
    """The schema with a number."""
    rng = random.Random(seed)
    return _recursive(rng) if seed % 8 == 0 else _any(rng, 1 + seed % 3)
