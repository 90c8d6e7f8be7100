"""Find out what a server is, and open its model as one that is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lmtui import state
from lmtui.errors import LmtuiError
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.model_info import ModelInfo
from lmtui.models.progress import OnProgress, Progress, ignore
from lmtui.models.remote import address
from lmtui.models.remote.address import Address, ServerOptions
from lmtui.models.remote.checks import checked
from lmtui.models.remote.connection import Connection
from lmtui.models.remote.dialects import DIALECTS, Dialect
from lmtui.models.remote.lmtui_server import LmtuiServerModel, open_model
from lmtui.models.remote.openai import OpenAiModel
from lmtui.models.remote.tokenizer import (
    ResolvedTokenizer,
    local_tokenizer,
    named_tokenizer,
    require_same,
)
from lmtui.models.remote.top_logprobs import TopLogprobsModel, open_top_logprobs
from lmtui.models.source import is_hub_id

ServedModel = LmtuiServerModel | TopLogprobsModel | OpenAiModel
_OWNERS = {
    "lmtui": "lmtui",
    "vllm": "vllm",
    "llamacpp": "llama-server",
}
"""Dialects by what `/v1/models` says of who owns a model."""
_READS_CONTROLS = "This server reads control tokens in a text that you send as such."
_NO_USE = "This server takes texts alone: --tokenizer has no effect."
_NO_TOKENIZER = (
    "The tokenizer of {} is not here: the panel shows answers only. Name it with "
    "--tokenizer."
)


TEXT_ONLY = "This server only takes part in chats: it scores and continues no text."
"""What a server does not offer that takes texts alone."""


def text_only() -> LmtuiError:
    """Return the error for what needs token ids, or scores of a text."""
    return LmtuiError(
        "a text can't be used here",
        TEXT_ONLY,
        "Use vLLM, llama-server or lmtui serve, and leave the dialect openai out.",
    )


def no_scores(server: str) -> LmtuiError:
    return LmtuiError(
        "a text can't be scored here",
        f"{server} tells no probabilities of a given text",
        "Use vLLM, lmtui serve, or a model on this machine.",
    )


def connection_to(server_address: Address, server: ServerOptions) -> Connection:
    """Return a connection with the key from the server's variable."""
    variable = server.key_variable
    key = os.environ.get(variable) or None
    address.require_sendable(key or "", f"the variable {variable}")
    return Connection(server_address, key, key_variable=variable)


def load_remote(
    spec: str, on_progress: OnProgress, server: ServerOptions
) -> LoadedModel | OpenAiModel:
    """Return the model of the server at the address `spec`. Its weights stay there; the
    key comes from the server's variable."""
    server_address = address.parse(spec, key_variable=server.key_variable)
    if not server_address.is_loopback:
        _announce(server_address, on_progress, server)
    on_progress(Progress(f"asking {server_address.host}"))
    connection = connection_to(server_address, server)
    try:
        model, tokenizer = open_served(
            connection, server_address.model, server, on_progress
        )
    except BaseException:  # also where the user stops it
        connection.close()
        raise
    if isinstance(model, OpenAiModel):
        return model
    import torch

    torch.set_num_threads(1)  # the layers run elsewhere, perhaps on these processors
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name=server_address.label(model.name),
        folder=Path(),
        device=torch.device("cpu"),
        dtype=torch.float32,
        precision="remote",
        threads=torch.get_num_threads(),
    )


def described(connection: Connection, name: str, server: ServerOptions) -> ServedModel:
    """Return the model `name` of a server, or its first one."""
    about = find_model(connection, name)
    if dialect_of(about, server) == "lmtui":
        return open_model(connection, about)
    return open_served(connection, name, server, ignore)[0]


def open_served(
    connection: Connection, name: str, server: ServerOptions, on_progress: OnProgress
) -> tuple[ServedModel, Any]:
    """Return the model `name` of a server, or its first one, and its tokenizer. Without
    a tokenizer, the model takes texts alone."""
    about = find_model(connection, name)
    dialect = dialect_of(about, server)
    if dialect == "lmtui":
        own = open_model(connection, about)
        return own, own.tokenizer()
    resolved = None
    spoken = DIALECTS.get(dialect)  # none of them for texts alone
    if spoken:
        resolved = _tokenizer_for(connection, about, spoken, server, on_progress)
        if resolved is None:
            on_progress(Progress(_NO_TOKENIZER.format(about["id"]), warning=True))
    elif server.tokenizer:
        on_progress(Progress(_NO_USE, warning=True))
    if spoken is None or resolved is None:
        return _open_text_only(connection, about, on_progress), None
    facts = ModelInfo("unknown", 0, resolved.size, 1, resolved.end_ids, ())
    model = open_top_logprobs(connection, spoken, about, facts)
    require_same(resolved.tokenizer, connection, spoken, model.name)
    return model, resolved.tokenizer


def dialect_of(about: Mapping[str, Any], server: ServerOptions) -> str:
    """Return how to speak to the server that has the model `about`, an entry of
    `/v1/models`."""
    if server.dialect != "auto":
        return server.dialect
    return _OWNERS.get(str(about.get("owned_by")), "openai")


def find_model(connection: Connection, name: str = "") -> Mapping[str, Any]:
    """Return what `/v1/models` says of the model `name`, or of the first one."""
    with checked(connection, "its models"):
        models: list[Mapping[str, Any]] = connection.json("/v1/models")["data"]
        known = {str(model["id"]): model for model in models}
        entry = known.get(name) if name else next(iter(known.values()))
        if isinstance(entry, Mapping):
            # A LoRA adapter has the context and the tokenizer of its parent.
            parent = known.get(str(entry.get("parent")), {})
            return {**entry, **parent, "id": entry["id"]}
    raise LmtuiError(
        "the server has no such model",
        f"{name} at {connection.address.host}",
        f"It has {', '.join(list(known)[:5])}.",
    )


def _tokenizer_for(
    connection: Connection,
    about: Mapping[str, Any],
    dialect: Dialect,
    server: ServerOptions,
    on_progress: OnProgress,
) -> ResolvedTokenizer | None:
    """Return the tokenizer of the model `about`: the one that is named for the server,
    or the one that this machine or the Hub has by the names that the server tells; None
    without one."""
    if server.tokenizer:
        return named_tokenizer(server.tokenizer, on_progress)
    names, template = [str(about["id"]), str(about.get("root") or "")], None
    if dialect.props:
        props = connection.json(dialect.props)
        names.append(str(props.get("model_path") or ""))
        template = props.get("chat_template")
    if not connection.address.is_loopback:  # its files are not ours
        names = [name for name in names if is_hub_id(name)]
    resolved = local_tokenizer(*names)
    for name in filter(is_hub_id, names):
        with suppress(LmtuiError):  # no network, or no such model
            resolved = resolved or named_tokenizer(name, on_progress)
    if resolved and not resolved.tokenizer.chat_template and isinstance(template, str):
        resolved.tokenizer.chat_template = template
    return resolved


def _open_text_only(
    connection: Connection, about: Mapping[str, Any], on_progress: OnProgress
) -> OpenAiModel:
    """Return a model that takes texts alone, and warn of what its server reads in a
    text, and of settings that it ignores."""
    model = OpenAiModel.open(connection, about)
    words = _READS_CONTROLS
    without = [*model.ignores, *({"seed"} - model.takes)]
    if without:
        names = ", ".join(name.replace("_", " ") for name in without)
        words += f" It draws without these settings: {names}."
    on_progress(Progress(words, warning=True))
    return model


def _announce(
    server_address: Address, on_progress: OnProgress, server: ServerOptions
) -> None:
    """Say that texts leave this machine: at the first use of a host, and each time
    where they are not encrypted."""
    is_first = on_progress is not ignore and state.first_texts_to(server_address.host)
    if server_address.is_encrypted and not is_first:
        return
    sent = "Texts and the key" if os.environ.get(server.key_variable) else "Texts"
    words = f"{sent} are sent to {server_address.host}"
    if not server_address.is_encrypted:
        words += ", not encrypted: anyone between can read them"
    on_progress(Progress(f"{words}.", warning=True))
