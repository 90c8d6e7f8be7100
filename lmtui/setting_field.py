"""The declaration of a setting: its default, range and sentence, in one place.

A setting is a field of a dataclass, such as `SamplingSettings`. The settings file, the
environment, the command line's flags, `lmtui config` and the settings screen are made
from that field.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from lmtui.errors import LmtuiError

Texts = tuple[str, ...]
Kind = type[str] | type[int] | type[float] | type[bool] | type[Texts]
SettingValue = str | int | float | Texts | None

MOST_TOKENS = 1 << 24
"""Upper bound of settings that count tokens."""

KINDS: Mapping[Kind, str] = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
}
"""The types of settings, in words."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is declared of a setting besides its type and default."""

    meaning: str
    """The sentence that explains it."""
    low: float | None = None
    """The least value."""
    high: float | None = None
    """The greatest value."""
    above: float | None = None
    """A bound that it must be above."""
    below: float | None = None
    """A bound that it must be below."""
    choices: Texts = ()
    """All its values, where they form a fixed list."""
    items: Texts = ()
    """All that a list can have, each once, where that is fixed."""
    key: str = ""
    """Its name in the settings file, where that is not the field's."""
    flag: str | None = ""
    """Its flag, where that is not its name; None for no flag."""
    metavar: str = ""
    """What stands for its value in the help of the flag."""
    at_once: bool = False
    """Whether a change in the settings file takes effect while the program runs."""

    @property
    def _bounds(self) -> list[tuple[str, Callable[[float, float], bool], float]]:
        bounds = (
            ("at least", operator.ge, self.low),
            ("more than", operator.gt, self.above),
            ("at most", operator.le, self.high),
            ("less than", operator.lt, self.below),
        )
        return [(words, holds, n) for words, holds, n in bounds if n is not None]

    @property
    def hint(self) -> str:
        """The range in a sentence; empty where there is none."""
        if self.choices:
            return f"Give one of: {', '.join(self.choices)}."
        if self.items:
            return f"Give some of these, each once: {', '.join(self.items)}."
        if self.low is not None and self.high is not None:
            return f"Give a value from {_shown(self.low)} to {_shown(self.high)}."
        bounds = [f"{words} {_shown(bound)}" for words, _, bound in self._bounds]
        return f"Give {' and '.join(bounds)}." if bounds else ""

    def holds(self, value: Any) -> bool:
        """Return whether a value of the setting's type is one of the choices and within
        the bounds; NaN is within none."""
        if self.choices:
            return value in self.choices
        if self.items:
            return len(set(value)) == len(value) and set(value) <= set(self.items)
        return value is None or all(holds(value, n) for _, holds, n in self._bounds)


def setting(default: Any, meaning: str, **declared: Any) -> Any:
    """Return the dataclass field of a setting; `declared` are fields of
    `Declaration`."""
    declaration = Declaration(meaning, **declared)
    return field(default=default, metadata={"setting": declaration})


def declaration_of(item: Field[Any]) -> Declaration | None:
    return item.metadata.get("setting")


@cache
def kinds_of(holder: type) -> Mapping[str, Kind]:
    """Return the types of a dataclass's settings, without None where they can be
    unset."""
    hints = get_type_hints(holder)
    return {
        item.name: _kind(hints[item.name])
        for item in fields(holder)
        if declaration_of(item) is not None
    }


def _kind(hint: Any) -> Kind:
    if get_origin(hint) is tuple:
        return tuple
    options = [each for each in get_args(hint) if each is not type(None)] or [hint]
    first = options[0]
    return first if isinstance(first, type) else str  # a literal


def check(name: str, declaration: Declaration, value: Any) -> None:
    if declaration.holds(value):
        return
    shown = f"{value:g}" if isinstance(value, float) else value_text(value)
    fixed = declaration.choices or declaration.items
    wrong = "is unknown" if fixed else "is out of range"
    raise LmtuiError(f"{name} {wrong}", shown, declaration.hint)


def check_fields(holder: Any) -> None:
    for item in fields(holder):
        if (declaration := declaration_of(item)) is not None:
            value = getattr(holder, item.name)
            check(item.name.replace("_", "-"), declaration, value)


def value_text(value: SettingValue) -> str:
    """Return a value as the settings file writes it, without the quotes of a text; for
    None, `unset`."""
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"
