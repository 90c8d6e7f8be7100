"""Servers of `config.toml`: parsing of the tables `[servers.NAME]`.

A key is never in the file, only the name of the variable that holds it, and no error
shows what stands in its stead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lmtui.config.settings import (
    LONGEST_NAME,
    REMOTE,
    SERVERS,
    Server,
    item,
    items,
    names,
)
from lmtui.config.values import typed
from lmtui.errors import LmtuiError
from lmtui.models.remote.address import KEY_VARIABLE, is_address, parse

ADDRESS = "address"
KEY = "key"
KEYS = (ADDRESS, KEY, *(item(name).own_name for name in names(REMOTE)))
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
# In capitals: many a key would be a good name of a variable in small letters.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


def servers_in(table: object, file: Path) -> dict[str, Server]:
    """Parse the table `servers` of the file."""
    if not isinstance(table, dict):
        raise _no_table(SERVERS, file)
    return {name: _server(name, said, file) for name, said in table.items()}


def _server(name: str, said: object, file: Path) -> Server:
    if not isinstance(said, dict):
        raise _no_table(f"{SERVERS}.{name}", file)
    try:
        _check_name(name)
        variable = _variable(name, said)
        address = _address(name, said, variable)
        return Server(name, address, variable, dict(_values(name, said, file)))
    except LmtuiError as error:
        if str(file) in error.detail:
            raise
        detail = f"{error.detail} in {file}".strip()
        raise LmtuiError(error.title, detail, error.hint) from None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        hint = f"Use up to {LONGEST_NAME} letters, digits, dots, hyphens and _."
        raise LmtuiError("the name of the server can't be used", repr(name), hint)
    if name == "default":
        hint = "Choose another name: default is the default model."
        raise LmtuiError("the name of the server can't be used", name, hint)


def _variable(name: str, said: Mapping[str, object]) -> str:
    """Return the variable with the server's key; the errors do not show the value,
    which may be a key."""
    variable = said.get(KEY, KEY_VARIABLE)
    shown = f"{SERVERS}.{name}.{KEY}"
    if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
        raise LmtuiError(
            "this is not the name of an environment variable",
            shown,
            "Keys are never stored in the file: put the key into a variable and write "
            f'the variable\'s name, in capitals: {KEY} = "GPU_KEY".',
        )
    if variable in (setting.variable for setting in items()):
        raise LmtuiError(
            "this variable is a setting, which is shown",
            f"{variable} in {shown}",
            "Choose another variable for the key.",
        )
    return variable


def _address(name: str, said: Mapping[str, object], variable: str) -> str:
    hint = f'Write, for example, {ADDRESS} = "http://127.0.0.1:8080/v1".'
    address, shown = said.get(ADDRESS), f"{SERVERS}.{name}.{ADDRESS}"
    if address is None:
        raise LmtuiError("the server has no address", shown, hint)
    if not isinstance(address, str) or not is_address(address):
        raise LmtuiError("this is not an http address", f"{address!r} as {shown}", hint)
    try:
        parse(address, key_variable=variable)
    except LmtuiError as error:
        detail = f"{error.detail} as {shown}"
        raise LmtuiError(error.title, detail, error.hint) from None
    return address.strip()


def _values(
    name: str, said: Mapping[str, object], file: Path
) -> Iterator[tuple[str, Any]]:
    for setting in names(REMOTE):
        own = item(setting).own_name
        if own not in said:
            continue
        shown = f"{SERVERS}.{name}.{own}"
        value = typed(setting, said[own], str(file), shown=shown)
        try:
            item(setting).check(value)
        except LmtuiError as error:
            detail = f"{error.detail} in {shown}".strip()
            raise LmtuiError(error.title, detail, error.hint) from None
        yield own, value


def _no_table(name: str, file: Path) -> LmtuiError:
    hint = f'Write [{SERVERS}.gpu], for example, and below it {ADDRESS} = "http://…".'
    return LmtuiError(f"{name} is not a table", f"{file}", hint)
