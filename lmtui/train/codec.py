"""The JSON of this folder's values: frozen dataclasses of numbers, texts and tuples.

Requests, plans, events, states and reports are all written and read by it. Keys that a
dataclass does not have are left out, so that files of other versions can be read.
"""

from __future__ import annotations

import math
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def plain(value: Any) -> Any:
    """Return a value in JSON's types; NaN and infinity become None."""
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def built(kind: Any, value: Any) -> Any:
    """Rebuild the value of a type from what `plain` returned.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: the value is not of this type.
    """
    if get_origin(kind) in (Union, UnionType):
        if value is None and NoneType in get_args(kind):
            return None
        kind = next(item for item in get_args(kind) if item is not NoneType)
    if get_origin(kind) is tuple:
        return tuple(built(get_args(kind)[0], item) for item in value)
    if hasattr(kind, "__dataclass_fields__"):
        kinds = _kinds(kind)
        known = kinds.keys() & value.keys()
        return kind(**{name: built(kinds[name], value[name]) for name in known})
    if kind is float:
        return math.nan if value is None else float(value)
    return value


@cache
def _kinds(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}
