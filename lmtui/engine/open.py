"""Open the engine for the model of a server, whatever that can do."""

from __future__ import annotations

from lmtui.engine.chat_server import ChatServerEngine
from lmtui.engine.engine import LocalEngine
from lmtui.engine.protocol import EditorEngine
from lmtui.models.progress import OnProgress, ignore
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.load import ChatModel, load_remote


def open_served(
    spec: str,
    server: ServerOptions = ServerOptions(),
    *,
    context: int | None = None,
    slots: int = 1,
    on_progress: OnProgress = ignore,
) -> EditorEngine:
    """Return the engine for the model at the address `spec`, which is used as `server`
    says. `context` and `slots` are for a model that is used by its token ids.

    Raises:
        LmtuiError: the server can't be reached or used.
    """
    found = load_remote(spec, on_progress, server)
    if isinstance(found, ChatModel):
        return ChatServerEngine(found.model, found.label, found.why_not)
    try:
        return LocalEngine(found, context=context, slots=slots)
    except BaseException:
        found.model.connection.close()
        raise
