"""Open the engine for the model of a server, whatever that can do."""

from __future__ import annotations

from lmtui.engine.engine import LocalEngine
from lmtui.engine.protocol import Engine
from lmtui.engine.text_only import TextOnlyEngine
from lmtui.models.progress import OnProgress, ignore
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.load import load_remote
from lmtui.models.remote.openai import OpenAiModel


def open_served(
    spec: str,
    server: ServerOptions = ServerOptions(),
    *,
    context: int | None = None,
    slots: int = 1,
    on_progress: OnProgress = ignore,
) -> Engine:
    """Return the engine for the model at the address `spec`, which is used as `server`
    says. `context` and `slots` are for a model that is used by its token ids.

    Raises:
        LmtuiError: the server can't be reached or used.
    """
    loaded = load_remote(spec, on_progress, server)
    if isinstance(loaded, OpenAiModel):
        return TextOnlyEngine(loaded)
    try:
        return LocalEngine(loaded, context=context, slots=slots)
    except BaseException:
        loaded.model.connection.close()
        raise
