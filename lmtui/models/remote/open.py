"""Find out what a server is, and open its model in that dialect."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lmtui.errors import LmtuiError
from lmtui.models.model_info import ModelInfo
from lmtui.models.progress import OnProgress
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.dialect import ListingModel, checked
from lmtui.models.remote.llama_server import LlamaServerModel
from lmtui.models.remote.sglang import SglangModel
from lmtui.models.remote.tokenizer import (
    LocatedTokenizer,
    local_tokenizer,
    named_tokenizer,
)
from lmtui.models.remote.vllm import VllmModel
from lmtui.models.source import is_hub_id

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from lmtui.models.remote.connection import Connection

_OWNERS = {
    "lmtui": "lmtui",
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llama-server",
}
"""Dialects by what `/v1/models` says of who owns a model."""
_ARCHITECTURE = "unknown"


def dialect_of(about: Mapping[str, Any], server: ServerOptions) -> str:
    """Return how to speak to the server that has the model `about`, an entry of
    `/v1/models`."""
    if server.dialect != "auto":
        return server.dialect
    return _OWNERS.get(str(about.get("owned_by")), "openai")


def find_model(connection: Connection, name: str = "") -> Mapping[str, Any]:
    """Return what `/v1/models` says of the model `name`, or of the first one.

    Raises:
        LmtuiError: the server can't be reached, or has no such model.
    """
    with checked(connection, "its models"):
        listed = connection.json("/v1/models")["data"]
        known: dict[str, Mapping[str, Any]] = {str(each["id"]): each for each in listed}
        found = known.get(name) if name else next(iter(known.values()))
        if isinstance(found, Mapping):
            # A LoRA adapter has the context and the tokenizer of its parent.
            parent = known.get(str(found.get("parent")), {})
            return {**found, **parent, "id": found["id"]}
    raise LmtuiError(
        "the server has no such model",
        f"{name} at {connection.address.host}",
        f"It has {', '.join(list(known)[:5])}.",
    )


def open_listing(
    connection: Connection,
    about: Mapping[str, Any],
    dialect: str,
    tokenizer: LocatedTokenizer,
) -> ListingModel:
    """Return the model `about` of a server that lists the most probable tokens.

    Raises:
        LmtuiError: the server can't be reached, or is another.
    """
    size = tokenizer.size
    facts = ModelInfo(_ARCHITECTURE, 0, size, 1, tokenizer.end_ids, ())
    if dialect == "llama-server":
        props = connection.json("/props")
        return LlamaServerModel.open(connection, about, props, facts)
    kind = SglangModel if dialect == "sglang" else VllmModel
    return kind.open(connection, about, facts)


def tokenizer_for(
    connection: Connection,
    about: Mapping[str, Any],
    dialect: str,
    server: ServerOptions,
    on_progress: OnProgress,
) -> LocatedTokenizer | None:
    """Return the tokenizer of the model `about`: the one that is named for the server,
    or the one that this machine or the Hub has by the names that the server tells; None
    without one.

    Raises:
        LmtuiError: the one that is named can't be found or read.
    """
    if server.tokenizer:
        return named_tokenizer(server.tokenizer, on_progress)
    names, template = [str(about["id"]), str(about.get("root") or "")], None
    if dialect == "llama-server":
        props = connection.json("/props")
        names.append(str(props.get("model_path") or ""))
        template = props.get("chat_template")
    elif dialect == "sglang":
        names.append(str(connection.json("/get_model_info").get("tokenizer_path")))
    if not connection.address.is_loopback:  # its files are not ours
        names = [name for name in names if is_hub_id(name)]
    found = local_tokenizer(*names)
    for name in filter(is_hub_id, names):
        with suppress(LmtuiError):  # no network, or no such model
            found = found or named_tokenizer(name, on_progress)
    if found and not found.tokenizer.chat_template and isinstance(template, str):
        found.tokenizer.chat_template = template
    return found
