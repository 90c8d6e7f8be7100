"""Addresses of servers, as `--model` takes them. Never uses the network."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from lmtui.errors import LmtuiError

KEY_VARIABLE = "LMTUI_API_KEY"
"""The variable with the key that a server wants: `lmtui serve` of its clients, and
lmtui as a client. It is no setting, which `lmtui config` would show."""
DIALECTS = ("auto", "lmtui", "vllm", "llama-server", "openai")
"""The APIs that a server can be spoken to in; auto asks the server what it is."""
SCHEMES = ("http://", "https://")
_VERSION = "/v1"
_PORTS = {"http": 80, "https": 443}  # of an address that names none


@dataclass(frozen=True, slots=True)
class ServerOptions:
    key_variable: str = KEY_VARIABLE
    """The environment variable with the key that the server wants."""
    dialect: str = "auto"
    """One of `DIALECTS`."""
    tokenizer: str | None = None
    """The tokenizer of a model whose server does not send it: a folder, a file or a Hub
    id. None looks for one by the model's name."""


@dataclass(frozen=True, slots=True)
class Address:
    url: str
    """Without `/v1` and without a slash at the end."""
    host: str
    """Name and port, as screens show them."""
    is_loopback: bool
    """Whether it is on this machine."""
    is_encrypted: bool
    model: str = ""
    """The model that is wanted there; empty for its first one."""

    def label(self, model: str) -> str:
        """Return the value of `--model` for a model there."""
        return f"{self.url}{_VERSION}#{quote(model)}"


def is_address(spec: str) -> bool:
    return spec.strip().lower().startswith(SCHEMES)


def parse(spec: str, *, key_variable: str = KEY_VARIABLE) -> Address:
    """Return the address that `spec` names, with or without `/v1` at its end, and then
    perhaps `#MODEL`. A key belongs into `key_variable`, which the error names."""
    hint = "Write it like http://127.0.0.1:8080/v1."
    try:
        parts = urlsplit(spec.strip())
        port = parts.port
    except ValueError as error:
        detail = "" if "@" in spec or "?" in spec else str(error)
        raise LmtuiError("this address can't be used", detail, hint) from None
    if parts.username is not None or parts.password is not None:
        raise LmtuiError(
            "this address holds a password",
            parts.hostname or "",
            f"Leave it out, and put the key into the variable {key_variable}.",
        )
    if not parts.hostname or parts.query:
        # What is asked for in a query is often a key.
        shown = parts._replace(query="", fragment="").geturl()
        raise LmtuiError("this address can't be used", shown, hint)
    scheme = parts.scheme.lower()
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host = name if port in (None, _PORTS.get(scheme)) else f"{name}:{port}"
    path = parts.path.rstrip("/").removesuffix(_VERSION)
    return Address(
        f"{scheme}://{host}{path}",
        host,
        is_loopback=is_loopback(parts.hostname),
        is_encrypted=scheme == "https",
        model=unquote(parts.fragment),
    )


def require_sendable(key: str, source: str) -> None:
    """Refuse a key that no request can carry; `source` is what it was read from."""
    if not (key.isascii() and key.isprintable()):
        raise LmtuiError(
            "this API key can't be used",
            f"{source} has characters that no header of a request carries",
            "Make a key of ASCII letters and digits.",
        )


def is_loopback(name: str) -> bool:
    """Return whether a host name or address is one of this machine alone."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
