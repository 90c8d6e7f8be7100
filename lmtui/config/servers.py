"""Servers of `config.toml`: parsing of the tables `[servers.NAME]`.

A key is never in the file, only the name of the variable that holds it, and no error
shows what stands in its stead.
"""

from __future__ import annotations

import re
from pathlib import Path

from lmtui.config.settings import (
    LONGEST_NAME,
    REMOTE,
    SERVERS,
    Server,
    item,
    items,
    names,
)
from lmtui.config.values import errors_in, typed
from lmtui.errors import LmtuiError
from lmtui.models.remote.address import KEY_VARIABLE, is_address, parse

ADDRESS = "address"
KEY = "key"
KEYS = (ADDRESS, KEY, *(item(name).own_name for name in names(REMOTE)))
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
# In capitals: many a key would be a good name of a variable in small letters.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


def servers_in(table: object, file: Path) -> dict[str, Server]:
    """Parse the table `servers` of the file.

    Raises:
        LmtuiError: a server can't be used; it says which of which file.
    """
    if not isinstance(table, dict):
        raise _no_table(SERVERS, str(file))
    servers = {}
    for name, said in table.items():
        with errors_in(f"{SERVERS}.{name} of {file}"):
            servers[name] = _server(name, said)
    return servers


def _server(name: str, said: object) -> Server:
    if not isinstance(said, dict):
        raise _no_table(f"{SERVERS}.{name}", "")
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME or name == "default":
        raise LmtuiError(
            "the name of the server can't be used",
            repr(name),
            f"Use up to {LONGEST_NAME} letters, digits, dots, hyphens and _; default "
            "is the default model.",
        )
    variable = _variable(said.get(KEY, KEY_VARIABLE))
    address = _address(said.get(ADDRESS), variable)
    values = {
        own: typed(setting.name, said[own], shown=own)
        for setting in map(item, names(REMOTE))
        if (own := setting.own_name) in said
    }
    return Server(name, address, variable, values)


def _no_table(name: str, detail: str) -> LmtuiError:
    hint = f'Write [{SERVERS}.gpu], for example, and below it {ADDRESS} = "http://…".'
    return LmtuiError(f"{name} is not a table", detail, hint)


def _variable(variable: object) -> str:
    """Return the variable with the server's key; the errors do not show the value,
    which may be a key."""
    if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
        raise LmtuiError(
            "this is not the name of an environment variable",
            KEY,
            "Keys are never stored in the file: put the key into a variable and write "
            f'the variable\'s name, in capitals: {KEY} = "GPU_KEY".',
        )
    if variable in (setting.variable for setting in items()):
        raise LmtuiError(
            "this variable is a setting, which is shown",
            f"{variable} as {KEY}",
            "Choose another variable for the key.",
        )
    return variable


def _address(address: object, variable: str) -> str:
    if not isinstance(address, str) or not is_address(address):
        hint = f'Write, for example, {ADDRESS} = "http://127.0.0.1:8080/v1".'
        said = "" if address is None else f"{address!r} as {ADDRESS}"
        raise LmtuiError("the server has no http address", said, hint)
    parse(address, key_variable=variable)
    return address.strip()
