"""A setting: a field with what is known of it beside its value.

Owns what that is, and how a setting is called in each place where it can be set. A
section whose names are taken elsewhere puts its own before them in the field's. Knows
no setting.
"""

from __future__ import annotations

from dataclasses import Field, field
from typing import Any

PREFIX = "LMTUI_"

Kind = type[str] | type[int] | type[float] | type[bool]


def setting(
    default: Any,
    meaning: str,
    *,
    kind: Kind,
    section: str = "",
    flag: str | None = "",
    choices: tuple[str, ...] = (),
) -> Any:
    """A field for a setting; `flag` is how the command line calls it where that is
    not its name, None where it can't be set there. `choices` are all its values,
    where they can be told beforehand."""
    about = {"meaning": meaning, "kind": kind, "section": section, "flag": flag}
    return field(default=default, metadata={**about, "choices": choices})


def key_of(item: Field[Any]) -> str:
    """The setting as `config.toml` calls it: `model`, `sampling.top_k`."""
    section = item.metadata["section"]
    return f"{section}.{own_name(item)}" if section else item.name


def flag_of(item: Field[Any]) -> str | None:
    """The setting as the command line calls it, if it does."""
    flag: str | None = item.metadata["flag"]
    return "--" + own_name(item).replace("_", "-") if flag == "" else flag


def variable_of(item: Field[Any]) -> str:
    """The setting as the environment calls it."""
    return PREFIX + item.name.upper()


def own_name(item: Field[Any]) -> str:
    """The setting's name within its section."""
    return item.name.removeprefix(f"{item.metadata['section']}_")
