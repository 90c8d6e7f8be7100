"""Open the model of a server as one that is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from lmtui.errors import LmtuiError
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.remote import address
from lmtui.models.remote.address import Address
from lmtui.models.remote.connection import Connection
from lmtui.models.remote.server import open_model


def connection_to(place: Address) -> Connection:
    """Return a connection with the key from the environment."""
    return Connection(place, os.environ.get(address.KEY_VARIABLE) or None)


def load_remote(spec: str, on_progress: OnProgress) -> LoadedModel:
    """Return the model of the server at the address `spec`. Its weights stay there; the
    key comes from the environment.

    Raises:
        LmtuiError: the server can't be reached or refuses, or is none of lmtui's.
    """
    place = address.parse(spec)
    key = os.environ.get(address.KEY_VARIABLE)
    if not place.is_loopback:
        sent = "Texts and the key" if key else "Texts"
        words = f"{sent} are sent to {place.host}"
        if not place.is_encrypted:
            words += ", not encrypted: anyone between can read them"
        on_progress(Progress(f"{words}.", warning=True))
    on_progress(Progress(f"asking {place.host}"))
    connection = connection_to(place)
    try:
        model = open_model(connection, place.model)
        tokenizer = model.tokenizer()
    except LmtuiError:
        connection.close()
        raise
    import torch

    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name=place.label(model.name),
        folder=Path(),
        device=torch.device("cpu"),
        dtype=torch.float32,
        precision="remote",
        threads=torch.get_num_threads(),
    )
