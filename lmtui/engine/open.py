"""Open the engine for the model of a server, whatever that can do, or for n-grams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from lmtui.engine.backends.ngram import counted_model
from lmtui.engine.backends.ngram_model import NgramModel
from lmtui.engine.engine import LocalEngine
from lmtui.engine.protocol import Engine
from lmtui.engine.text_only import TextOnlyEngine
from lmtui.models.progress import OnProgress, ignore
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.load import TextOnlyModel, load_remote, text_only


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
    if isinstance(loaded, TextOnlyModel):
        return TextOnlyEngine(loaded.model, loaded.label, loaded.why_not)
    try:
        return LocalEngine(loaded, context=context, slots=slots)
    except BaseException:
        loaded.model.connection.close()
        raise


def open_ngrams(
    own: Engine, texts: Iterable[str], *, order: int, name: str
) -> LocalEngine:
    """Return the engine for an n-gram model of `texts`, to compare with `own`: it has
    the same tokens, and the same windows.

    Raises:
        LmtuiError: `own` can only be talked with.
    """
    if not isinstance(own, LocalEngine):
        raise text_only(own.capabilities.why_not)
    encodings = map(own.encode, texts)
    ngrams = NgramModel.count(
        [(*encoding.prefix, *encoding.ids) for encoding in encodings],
        order=order,
        vocabulary=own.info.vocabulary,
    )
    loaded = replace(
        own.loaded,
        model=counted_model(ngrams, context=own.info.context, end_ids=own.info.end_ids),
        name=name,
        device=torch.device("cpu"),
        dtype=torch.float64,
        precision="exact",
        adapter=None,
        why="",
        exact_drawing=False,
    )
    return LocalEngine(loaded)
