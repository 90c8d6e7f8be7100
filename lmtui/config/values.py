"""Reading of a setting's value, from text or from TOML: its type, then its range."""

from __future__ import annotations

import math
import sys
import tomllib
from pathlib import Path

from lmtui.config.settings import item
from lmtui.errors import LmtuiError
from lmtui.setting_field import KINDS, SettingValue

_YES_OR_NO = {"true": True, "1": True, "false": False, "0": False}


def not_a(
    what: str, key: str, value: object, where: str | Path, *, hint: str
) -> LmtuiError:
    """Return the error for a value of the wrong type; `where` is empty where the user
    knows the place."""
    place = f" in {where}" if where else ""
    return LmtuiError(f"{key} is not {what}", f"{value!r}{place}", hint)


def typed(
    name: str, value: object, where: str | Path, *, shown: str = ""
) -> SettingValue:
    """Return a TOML value in the setting's type; an integer is accepted as a float.
    `shown` is the setting's name in errors, where that is not its key.

    Raises:
        LmtuiError: it is of another type, or out of its range.
    """
    setting = item(name)
    if setting.kind is float and type(value) is int:
        value = float(value) if abs(value) < sys.float_info.max else math.inf
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = tuple(value)
    if type(value) is not setting.kind:
        hint = setting.declaration.hint or setting.declaration.meaning
        raise not_a(KINDS[setting.kind], shown or setting.key, value, where, hint=hint)
    try:
        setting.check(value, shown=shown)
    except LmtuiError as error:
        detail = f"{error.detail} in {where}" if where else error.detail
        raise LmtuiError(error.title, detail.strip(), error.hint) from None
    return value


def parsed(name: str, text: str) -> object:
    """Parse a text as the setting's type; return the text where it is none, which
    `typed` refuses."""
    kind = item(name).kind
    try:
        if kind is tuple:
            return _texts(text, item(name).declaration.items)
        return _YES_OR_NO[text.strip().lower()] if kind is bool else kind(text.strip())
    except (ValueError, KeyError):
        return text.strip()


def _texts(text: str, items: tuple[str, ...]) -> object:
    """Parse a list: a TOML array of texts, or texts separated by commas. Spaces belong
    to a text, unless it can only be one of `items`."""
    if text.lstrip().startswith("["):
        return tomllib.loads(f"texts = {text}")["texts"]
    parts = text.split(",")
    return tuple(filter(None, map(str.strip, parts) if items else parts))


def written(name: str, text: str) -> SettingValue:
    """Parse a value that was typed into a field; None where the setting is to be
    unset."""
    if not text.strip() and item(name).field.default is None:
        return None
    return typed(name, parsed(name, text), "")
