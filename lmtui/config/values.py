"""Reading of a setting's value, from text or from TOML: its type, then its range."""

from __future__ import annotations

import math
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmtui.config.settings import item
from lmtui.errors import LmtuiError
from lmtui.setting_field import KINDS, SettingValue

_YES_OR_NO = {"true": True, "1": True, "false": False, "0": False}


@contextmanager
def errors_in(place: str | Path) -> Iterator[None]:
    """Let an error of the block say where the value stands; `place` is empty where the
    user knows that."""
    try:
        yield
    except LmtuiError as error:
        if not place:
            raise
        detail = f"{error.detail} in {place}".strip()
        raise LmtuiError(error.title, detail, error.hint) from None


def not_a(what: str, key: str, value: object, *, hint: str) -> LmtuiError:
    return LmtuiError(f"{key} is not {what}", repr(value), hint)


def typed(name: str, value: object, *, shown: str = "") -> SettingValue:
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
        raise not_a(KINDS[setting.kind], shown or setting.key, value, hint=hint)
    setting.check(value, shown=shown)
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
    return typed(name, parsed(name, text))
