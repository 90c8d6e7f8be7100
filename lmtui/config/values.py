"""Parsing of a setting's value, from text or from TOML.

Checks its type only; `settings` checks its range.
"""

from __future__ import annotations

from collections.abc import Mapping

from lmtui.config.settings import SettingValue, ValueType, check, item, key, meaning
from lmtui.errors import LmtuiError

_KINDS: Mapping[ValueType, str] = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_YES_OR_NO = {"true": True, "1": True, "false": False, "0": False}


def parse(name: str, text: str, location: str) -> SettingValue:
    """Parse a value from `text`; `location` is where it was set, for the error.

    Raises:
        LmtuiError: it is not of the setting's type.
    """
    kind: ValueType = item(name).metadata["kind"]
    try:
        return _YES_OR_NO[text.strip().lower()] if kind is bool else kind(text.strip())
    except (ValueError, KeyError):
        raise _not_a(kind, name, f"{text!r} in {location}", name=name) from None


def typed(name: str, value: object, location: str, *, shown: str = "") -> SettingValue:
    """Return a TOML value in the setting's type; an integer is accepted as a float.
    `shown` is the setting's name in errors, where that is not its key.

    Raises:
        LmtuiError: it is not of that type.
    """
    kind = item(name).metadata["kind"]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is kind:
        return value  # type: ignore[return-value]
    raise _not_a(kind, shown or key(name), f"{value!r} in {location}", name=name)


def written(name: str, text: str) -> SettingValue:
    """Parse a value that was typed into a field; None where the setting is to be unset.

    Raises:
        LmtuiError: the setting can't have this value, or can't be unset.
    """
    if not text.strip() and item(name).default is None:
        return None
    kind: ValueType = item(name).metadata["kind"]
    try:
        value = parse(name, text, "")
    except LmtuiError:
        title = f"{key(name)} is not {_KINDS[kind]}"
        raise LmtuiError(title, repr(text.strip()), limits(name)) from None
    check(name, value)
    return value


def limits(name: str) -> str:
    """Return the range of a numeric setting, in the words of its error; empty for other
    types."""
    kind: ValueType = item(name).metadata["kind"]
    if kind not in (int, float):
        return ""
    try:
        check(name, -1)
    except LmtuiError as error:
        return error.hint
    return f"Give {_KINDS[kind]}."


def _not_a(kind: ValueType, shown: str, written: str, *, name: str) -> LmtuiError:
    return LmtuiError(f"{shown} is not {_KINDS[kind]}", written, meaning(name))
