"""Open the model of a server as one that is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmtui import state
from lmtui.errors import LmtuiError
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, Progress, ignore
from lmtui.models.remote import address
from lmtui.models.remote.address import Address, ServerOptions
from lmtui.models.remote.connection import Connection
from lmtui.models.remote.dialect import ListingModel, tells_raw_numbers
from lmtui.models.remote.lmtui_server import LmtuiServerModel, open_model
from lmtui.models.remote.open import (
    dialect_of,
    find_model,
    open_listing,
    tokenizer_for,
)
from lmtui.models.remote.openai import OpenAiModel
from lmtui.models.remote.tokenizer import require_same

ServedModel = LmtuiServerModel | ListingModel | OpenAiModel
_DRAWS_ITSELF = "This server draws its answers itself, whatever exact_drawing says."
_SCALED = (
    "The server tells the probabilities of what it draws after the temperature only: "
    "tokens are drawn here, at a request for each."
)
_READS_CONTROLS = "This server reads control tokens in a text that you send as such."
_NO_TOKENIZER = (
    "The tokenizer of {} is not here: the panel shows answers only. Name it with "
    "--tokenizer."
)


@dataclass(frozen=True)
class ChatModel:
    """A model that is only talked with, and its name for the user."""

    model: OpenAiModel
    label: str
    why_not: str
    """What it does not offer, and why."""


CHAT_ONLY = "This server only takes part in chats: it scores and continues no text."
"""What a server does not offer whose model is only talked with."""


CHAT_DIALECT = "The dialect openai is for chats: it scores and continues no text."
"""The same, where the user has said that this dialect is to be spoken."""


def chat_only(why_not: str = CHAT_ONLY) -> LmtuiError:
    """Return the error for what needs token ids, or scores of a text."""
    if why_not.startswith(CHAT_DIALECT):
        return LmtuiError(
            "a text can't be used here",
            CHAT_DIALECT,
            "Leave the dialect out: the server is then asked what it is.",
        )
    return LmtuiError(
        "a text can't be used here",
        CHAT_ONLY,
        "Use vLLM, SGLang, llama-server or lmtui serve, or name a tokenizer with "
        "--tokenizer.",
    )


def with_ids(model: LoadedModel | ChatModel) -> LoadedModel:
    """Return a model that is used by its token ids.

    Raises:
        LmtuiError: it is only talked with.
    """
    if isinstance(model, ChatModel):
        raise chat_only(model.why_not)
    return model


def connection_to(place: Address, server: ServerOptions) -> Connection:
    """Return a connection with the key from the server's variable.

    Raises:
        LmtuiError: no request can carry that key.
    """
    variable = server.key_variable
    key = os.environ.get(variable) or None
    address.require_sendable(key or "", f"the variable {variable}")
    return Connection(place, key, key_variable=variable)


def load_remote(
    spec: str, on_progress: OnProgress, server: ServerOptions
) -> LoadedModel | ChatModel:
    """Return the model of the server at the address `spec`. Its weights stay there; the
    key comes from the server's variable. A `ChatModel` is only talked with.

    Raises:
        LmtuiError: the server can't be reached or refuses, or none of its
            dialects can be spoken.
    """
    place = address.parse(spec, key_variable=server.key_variable)
    if not place.is_loopback:
        _announce(place, on_progress, server)
    on_progress(Progress(f"asking {place.host}"))
    connection = connection_to(place, server)
    try:
        model, tokenizer = open_served(connection, place.model, server, on_progress)
        exact = server.exact_drawing or not _draws_as_told(model)
    except BaseException:  # also where the user stops it
        connection.close()
        raise
    if isinstance(model, OpenAiModel):
        why_not = CHAT_DIALECT if server.dialect == "openai" else CHAT_ONLY
        return ChatModel(model, place.label(model.name), why_not)
    if exact and not server.exact_drawing:
        on_progress(Progress(_SCALED, warning=True))
    import torch

    torch.set_num_threads(1)  # the layers run elsewhere, perhaps on these processors
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name=place.label(model.name),
        folder=Path(),
        device=torch.device("cpu"),
        dtype=torch.float32,
        precision="remote",
        threads=torch.get_num_threads(),
        exact_drawing=exact,
    )


def _draws_as_told(model: ServedModel) -> bool:
    """Return whether the numbers of what the server draws are those of its model."""
    if isinstance(model, LmtuiServerModel | OpenAiModel):
        return True
    return tells_raw_numbers(model)


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
    a tokenizer, the model is only talked with.

    Raises:
        LmtuiError: the server can't be reached, refuses, or sends nonsense; or it has
            another tokenizer than the one that is named.
    """
    about = find_model(connection, name)
    dialect = dialect_of(about, server)
    if dialect == "lmtui":
        own = open_model(connection, about)
        return own, own.tokenizer()
    found = None
    if dialect != "openai":
        found = tokenizer_for(connection, about, dialect, server, on_progress)
        if found is None:
            on_progress(Progress(_NO_TOKENIZER.format(about["id"]), warning=True))
    if found is None:
        if server.exact_drawing:
            on_progress(Progress(_DRAWS_ITSELF, warning=True))
        return _open_chat(connection, about, on_progress), None
    model = open_listing(connection, about, dialect, found)
    require_same(found.tokenizer, connection, dialect, model.name)
    return model, found.tokenizer


def _open_chat(
    connection: Connection, about: Mapping[str, Any], on_progress: OnProgress
) -> OpenAiModel:
    """Return a model that is only talked with, and warn of what its server reads in a
    text, and of settings that it ignores."""
    model = OpenAiModel.open(connection, about)
    words = _READS_CONTROLS
    if model.ignores:
        names = ", ".join(name.replace("_", " ") for name in model.ignores)
        words += f" It draws without these settings: {names}."
    on_progress(Progress(words, warning=True))
    return model


def _announce(place: Address, on_progress: OnProgress, server: ServerOptions) -> None:
    """Say that texts leave this machine: at the first use of a host, and each time
    where they are not encrypted."""
    is_first = on_progress is not ignore and state.first_texts_to(place.host)
    if place.is_encrypted and not is_first:
        return
    sent = "Texts and the key" if os.environ.get(server.key_variable) else "Texts"
    words = f"{sent} are sent to {place.host}"
    if not place.is_encrypted:
        words += ", not encrypted: anyone between can read them"
    on_progress(Progress(f"{words}.", warning=True))
