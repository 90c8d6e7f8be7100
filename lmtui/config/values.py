"""From what is written to the value of a setting.

Owns how each kind of value is read, from a text or from TOML, and the errors of both.
Whether a value is within its range is for the setting itself to say.
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


def parse(name: str, text: str, place: str) -> SettingValue:
    """The value that a text stands for; `place` is where it stands.

    Raises:
        LmtuiError: it is not of the setting's kind.
    """
    kind: ValueType = item(name).metadata["kind"]
    try:
        return _YES_OR_NO[text.strip().lower()] if kind is bool else kind(text.strip())
    except (ValueError, KeyError):
        raise _not_a(kind, name, f"{text!r} in {place}", name=name) from None


def typed(name: str, value: object, place: str, *, shown: str = "") -> SettingValue:
    """A TOML value of the setting's kind; a whole number is a float too. `shown` is
    how the setting is called where that is not its key.

    Raises:
        LmtuiError: it is not of that kind.
    """
    kind = item(name).metadata["kind"]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is kind:
        return value  # type: ignore[return-value]
    raise _not_a(kind, shown or key(name), f"{value!r} in {place}", name=name)


def written(name: str, text: str) -> SettingValue:
    """What was written into a field for a setting; None where it is to be unset.

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
    """Which numbers a setting takes, in the words with which it refuses others;
    nothing for a setting that is no number."""
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
