"""Themes: TOML files, checked and converted to Textual themes.

Defines the domain slots: named colours for what lmtui draws. A broken or unsafe file
becomes a notice, never an exception. Knows no screen and no settings.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

from lmtui.errors import LmtuiError
from lmtui.text import visible_line

DEFAULT = "dark"
"""Name of the default theme."""

BASE = (
    "primary",
    "secondary",
    "accent",
    "warning",
    "error",
    "success",
    "foreground",
    "background",
    "surface",
    "panel",
)
"""Base colours that a theme file may set."""

REQUIRED = ("primary", "foreground", "background")
"""Base colours that it must set; the others default to them."""

SLOTS: dict[str, str] = {
    "quiet": "foreground",
    "prob-raw": "secondary",
    "prob-sampled": "primary",
    "prob-chosen": "accent",
    "ghost": "foreground",
    "cut": "error",
    "loss-train": "primary",
    "loss-held-out": "accent",
    "surprise-0": "foreground",
    "surprise-1": "foreground",
    "surprise-2": "success",
    "surprise-3": "warning",
    "surprise-4": "accent",
    "surprise-5": "error",
}
"""Domain slots, each with the base colour that it defaults to."""

_BASE_FALLBACK = dict.fromkeys(BASE, "primary") | {
    "surface": "background",
    "panel": "background",
}
_MAX_BYTES = 64 * 1024  # bytes; a theme is far smaller
_MAX_NAME = 40  # most characters of a name
_MAX_REASON = 200  # most characters of a reason
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class ThemeNotice:
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Themes:
    themes: tuple[Theme, ...]
    notices: tuple[ThemeNotice, ...]
    paths: Mapping[str, Path] = field(default_factory=dict)
    """File of each theme, by name."""

    def get(self, name: str) -> Theme | None:
        return next((theme for theme in self.themes if theme.name == name), None)

    def or_default(self, name: str) -> Theme:
        return self.get(name) or self.get(DEFAULT) or self.themes[0]

    def unknown(self, name: str) -> LmtuiError:
        names = [theme.name for theme in self.themes]
        close = get_close_matches(name, names, n=1)
        question = f"Did you mean {close[0]}? " if close else ""
        known = f"There are {', '.join(names[:-1])} and {names[-1]}."
        return LmtuiError("unknown theme", visible_line(name), question + known)


class _Broken(ValueError):
    """Fault of a theme file, in one clause."""


def shipped_folder() -> Path:
    """Return the folder of the shipped themes: package data, or beside the package."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "_themes"
    return packed if packed.is_dir() else package.parent / "themes"


def load_themes(user_folder: Path | None = None) -> Themes:
    """Load the shipped themes, then the user's, which replace those of the same
    name."""
    by_name: dict[str, Theme] = {}
    paths: dict[str, Path] = {}
    notices: list[ThemeNotice] = []
    for folder in (shipped_folder(), user_folder):
        for path in _files(folder):
            try:
                theme = read_theme(path)
            except (OSError, ValueError) as error:
                notices.append(ThemeNotice(path, _reason(error)))
            else:
                by_name[theme.name], paths[theme.name] = theme, path
    ordered = sorted(by_name.values(), key=lambda theme: theme.name != DEFAULT)
    return Themes(tuple(ordered), tuple(notices), paths)


def variable_defaults(themes: Themes) -> dict[str, str]:
    """Return the default theme's colour of every slot, for
    `App.get_theme_variable_defaults`.

    With them the sheets parse under any theme, including Textual's own.
    """
    theme = themes.or_default(DEFAULT)
    return {slot: theme.variables[slot] for slot in SLOTS}


def read_theme(path: Path) -> Theme:
    """Read one theme file; raises OSError, or ValueError where it is no valid theme."""
    if not path.is_file():
        raise _Broken("no ordinary file")
    with path.open("rb") as file:
        raw = file.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise _Broken(f"larger than {_MAX_BYTES // 1024} KiB")
    try:
        data = tomllib.loads(raw.decode("utf-8"))
    except RecursionError:
        raise _Broken("nested too deeply") from None
    return theme_of(data, name=path.stem)


def theme_of(data: dict[str, object], *, name: str) -> Theme:
    """Return the theme of a parsed file; `name` is used if it has none. Raises
    ValueError."""
    unknown = data.keys() - {"name", "dark", "variables", *BASE}
    if unknown:
        raise _Broken(f"unknown key {min(unknown)!r}")
    missing = [key for key in REQUIRED if key not in data]
    if missing:
        raise _Broken(f"{missing[0]} is missing")
    dark = data.get("dark", True)
    if not isinstance(dark, bool):
        raise _Broken("dark must be true or false")
    base = _base_colours(data)
    return Theme(
        name=_shown_name(data.get("name", name)),
        dark=dark,
        variables=_slot_colours(data.get("variables", {}), base),
        **base,
    )


def _base_colours(data: dict[str, object]) -> dict[str, Any]:
    given = {key: _colour(key, data[key]) for key in BASE if key in data}
    return {key: given.get(key) or given[_BASE_FALLBACK[key]] for key in BASE}


def _slot_colours(variables: object, base: dict[str, str]) -> dict[str, str]:
    """Return the colour of every slot.

    A theme may set nothing but slots: another variable could break every sheet.
    """
    if not isinstance(variables, dict):
        raise _Broken("variables must be a table")
    unknown = variables.keys() - SLOTS.keys()
    if unknown:
        raise _Broken(f"unknown variable {min(unknown)!r}")
    given = {slot: _colour(slot, value) for slot, value in variables.items()}
    return {slot: given.get(slot) or base[source] for slot, source in SLOTS.items()}


def _colour(key: str, value: object) -> str:
    """Return a colour as `#rrggbb`, from that form or from a colour's name."""
    if not isinstance(value, str):
        raise _Broken(f"{key} must be a colour in quotes")
    if _HEX.fullmatch(value):
        return value.lower()
    try:
        colour = Color.parse(value)
    except (ColorParseError, ValueError):
        raise _Broken(f"{key} is no colour: {value!r}") from None
    if colour.a != 1 or colour.ansi is not None or colour.auto:
        raise _Broken(f"{key} must be a colour like #1a2b3c")
    return colour.hex.lower()


def _shown_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise _Broken("name must be a text")
    return visible_line(name.strip())[:_MAX_NAME]


def _files(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        return
    try:
        yield from sorted(folder.glob("*.toml"))
    except OSError:
        return


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, OSError):
        return visible_line(error.strerror or "can't be read")
    return visible_line(str(error))[:_MAX_REASON]
