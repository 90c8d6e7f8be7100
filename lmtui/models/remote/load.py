"""Open the model of a server as one that is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lmtui import state
from lmtui.errors import LmtuiError
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, Progress, ignore
from lmtui.models.remote import address
from lmtui.models.remote.address import Address, ServerOptions
from lmtui.models.remote.connection import Connection
from lmtui.models.remote.listing import ListingModel
from lmtui.models.remote.open import (
    dialect_of,
    find_model,
    open_listing,
    tokenizer_for,
)
from lmtui.models.remote.server import RemoteModel, open_model
from lmtui.models.remote.tokenizer import require_same


def connection_to(place: Address, server: ServerOptions) -> Connection:
    """Return a connection with the key from the server's variable."""
    variable = server.key_variable
    key = os.environ.get(variable) or None
    return Connection(place, key, key_variable=variable)


def load_remote(
    spec: str, on_progress: OnProgress, server: ServerOptions
) -> LoadedModel:
    """Return the model of the server at the address `spec`. Its weights stay there; the
    key comes from the server's variable.

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
    except LmtuiError:
        connection.close()
        raise
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
        exact_drawing=server.exact_drawing,
    )


def described(
    connection: Connection, name: str, server: ServerOptions
) -> RemoteModel | ListingModel:
    """Return the model `name` of a server, or its first one.

    Raises:
        LmtuiError: as in `open_served`.
    """
    about = find_model(connection, name)
    if dialect_of(about, server) == "lmtui":
        return open_model(connection, about)
    return open_served(connection, name, server, ignore)[0]


def open_served(
    connection: Connection, name: str, server: ServerOptions, on_progress: OnProgress
) -> tuple[RemoteModel | ListingModel, Any]:
    """Return the model `name` of a server, or its first one, and its tokenizer.

    Raises:
        LmtuiError: the server can't be reached, refuses, or sends nonsense; or there
            is no tokenizer.
    """
    about = find_model(connection, name)
    dialect = dialect_of(about, server)
    if dialect == "lmtui":
        own = open_model(connection, about)
        return own, own.tokenizer()
    found = tokenizer_for(connection, about, dialect, server, on_progress)
    model = open_listing(connection, about, dialect, found)
    require_same(found.tokenizer, connection, dialect, model.name)
    return model, found.tokenizer


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
