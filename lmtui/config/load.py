"""Loading of settings: flag > environment > `config.toml` > default.

Only this module reads the environment for settings (`paths` reads LMTUI_HOME). Knows no
command: values are handed down from here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Set
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.config import servers, toml_file
from lmtui.config.presets import presets_in
from lmtui.config.settings import KEYS as PRESET_KEYS
from lmtui.config.settings import (
    PREFIX,
    PRESETS,
    SERVERS,
    Origin,
    Settings,
    item,
    items,
)
from lmtui.config.values import errors_in, not_a, parsed, typed
from lmtui.models.remote.address import KEY_VARIABLE
from lmtui.setting_field import KINDS, SettingValue

_NOT_SETTINGS = {"LMTUI_HOME", KEY_VARIABLE}
KEYS = "keys"
"""The table of the user's key bindings."""
_KEYS = 'Write under [keys], for example, "chat.regenerate" = "f12,ctrl+r".'


def load(
    flags: Mapping[str, SettingValue] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """Load all settings; a flag of None was not given. What is unknown is left out,
    with a warning.

    Raises:
        LmtuiError: a value can't be used, or the file is broken.
    """
    file = file or paths.config_file()
    table = toml_file.read(file)
    variables = os.environ if environment is None else environment
    with errors_in(file):
        keys = _keys(table.pop(KEYS, {}))
        own_presets = presets_in(table.get(PRESETS, {}))
    own_servers = servers.servers_in(table.get(SERVERS, {}), file)
    others = {server.key_variable for server in own_servers.values()} | _NOT_SETTINGS
    warnings = (*_unknown_keys(table, file), *_misspelt(variables, others))
    found = {
        name: (value, origin)
        for name, value, origin in (
            *_from_file(table, file),
            *_from_environment(variables),
            *_from_flags(flags or {}),
        )
    }
    own = Settings(
        keys=keys,
        presets=own_presets,
        servers=own_servers,
        origins={name: origin for name, (_, origin) in found.items()},
        warnings=warnings,
    )
    values = {}
    for name, (value, origin) in found.items():
        with errors_in("" if origin.source == "flag" else origin.where):
            values[name] = typed(name, value)
    return own.changed(values)


def remember(name: str, value: str, *, file: Path | None = None) -> None:
    """Write a setting outside every section into `config.toml`; everything else
    stays."""
    toml_file.change(file or paths.config_file(), (name,), value)


_Found = Iterator[tuple[str, object, Origin]]
"""The settings that a source sets, with their values as it has them."""


def _from_flags(flags: Mapping[str, SettingValue]) -> _Found:
    for name, value in flags.items():
        if value is not None:
            is_list = item(name).kind is tuple and isinstance(value, str)
            given = parsed(name, str(value)) if is_list else value
            yield name, given, Origin("flag", item(name).flag or "")


def _from_environment(environment: Mapping[str, str]) -> _Found:
    """Yield the values of `LMTUI_<NAME>`; an empty one counts as unset."""
    for setting in items():
        if text := environment.get(setting.variable):
            origin = Origin("environment", setting.variable)
            yield setting.name, parsed(setting.name, text), origin


def _from_file(table: Mapping[str, Any], file: Path) -> _Found:
    for setting in items():
        inside = table.get(setting.section) if setting.section else table
        if isinstance(inside, dict) and setting.own_name in inside:
            value = inside[setting.own_name]
            yield setting.name, value, Origin("file", str(file))


def _misspelt(environment: Mapping[str, str], others: Set[str]) -> Iterable[str]:
    """Yield a warning for each variable that is likely a misspelt setting; `others` are
    no settings. Further variables with the prefix may belong to other programs."""
    known = {setting.variable for setting in items()}
    for written in sorted(environment.keys() - known - others):
        close = get_close_matches(written, known, n=1, cutoff=0.8)
        if written.startswith(PREFIX) and environment[written] and close:
            yield f"unknown variable {written}: did you mean {close[0]}?"


def _keys(table: object) -> Mapping[str, str]:
    """Return the table of key bindings; `chat.stop` may be written with or without
    quotes."""
    if not isinstance(table, dict):
        raise not_a("a table", KEYS, table, hint=_KEYS)
    keys = dict(_leaves(table))
    for name, value in keys.items():
        if not isinstance(value, str):
            raise not_a(KINDS[str], f"{KEYS}.{name}", value, hint=_KEYS)
    return keys


def _leaves(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in _leaves(value))
        else:
            yield name, value


def _unknown_keys(table: Mapping[str, Any], file: Path) -> Iterable[str]:
    """Yield a warning for each key of the file that is no setting, with the closest
    that is one."""
    known = [setting.key for setting in items()]
    for kind, keys in ((PRESETS, PRESET_KEYS), (SERVERS, servers.KEYS)):
        known += [
            f"{kind}.{name}.{key}" for name in table.get(kind, {}) for key in keys
        ]
    for written, _ in _leaves(table):
        if written not in known:
            # A sampling key outside its section matches the same key with the section.
            close = [key for key in known if key.rpartition(".")[2] == written]
            close = close or get_close_matches(written, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else "see `lmtui config`"
            yield f"unknown setting {written} in {file}: {hint}"
