"""Open the engine for a command, or another that a test passes in.

Knows how settings become an engine. Torch is imported here, when an engine is
opened.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import typer

from lmtui import paths
from lmtui.cli.errors import take_stderr
from lmtui.config.settings import Settings, bits
from lmtui.engine.protocol import Engine
from lmtui.engine.types import Need
from lmtui.errors import LmtuiError
from lmtui.models.errors import hush
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.remote.address import ServerOptions, is_address
from lmtui.models.source import ModelRef, resolve

OpenEngine = Callable[[Settings], Engine]


def open_local(
    settings: Settings, *, says_unkept: bool = True, slots: int = 1
) -> Engine:
    """Load the model that `settings` name, with progress on stderr.

    Without `says_unkept`, warnings about files that can't be cached are left out;
    `slots` is the number of generations that can run in turns.
    """
    with _loading() as show:
        heard = show if says_unkept else but_for_unkept(show)
        return open_model(settings, settings.model_ref, heard, slots=slots)


@contextmanager
def _loading() -> Iterator[OnProgress]:
    """Yield a progress listener that draws on stderr.

    Libraries' messages are silenced from here on: they go to the log or nowhere.
    """
    from lmtui import log
    from lmtui.cli.progress import loading_progress

    log.start()
    take_stderr()
    hush()
    with loading_progress() as show:
        yield show


def but_for_unkept(show: OnProgress) -> OnProgress:
    """Return `show` without the warnings about files that can't be cached."""

    def heard(progress: Progress) -> None:
        if not progress.unkept:
            show(progress)

    return heard


def storage_error() -> LmtuiError | None:
    """Return why neither cache nor data folder is writable; None if one is.

    One warning then covers both conversations and converted weights.
    """
    refused = None
    for folder in (paths.cache_folder(), paths.data_folder()):
        try:
            paths.require_writable(folder)
            return None
        except LmtuiError as error:
            refused = error
    return refused


def open_model(
    settings: Settings,
    ref: ModelRef,
    on_progress: OnProgress,
    *,
    slots: int = 1,
) -> Engine:
    """Load the model `ref` with the other settings.

    Raises:
        LmtuiError: the model can't be found, fetched or loaded here.
    """
    model, server = resolved(settings, ref.model)
    from lmtui.models.hardware import load_torch_libraries  # few commands need it

    with _collector_waits():
        load_torch_libraries()
        # Imported here: it takes most of a second.
        if model and is_address(model) and not ref.adapter:
            from lmtui.engine.open import open_served

            context = settings.context
            return open_served(
                model, server, context=context, slots=slots, on_progress=on_progress
            )
        from lmtui.engine.engine import LocalEngine

        return LocalEngine.open(
            model,
            adapter=ref.adapter,
            device=settings.device,
            dtype=settings.dtype,
            quantize=bits(settings),
            threads=settings.threads,
            context=settings.context,
            slots=slots,
            server=server,
            on_progress=on_progress,
        )


def resolved(settings: Settings, model: str | None) -> tuple[str | None, ServerOptions]:
    """Return a value of `--model` with the name of a server replaced by its address,
    and how that server is used."""
    spec, server = settings.server_of(model)
    if spec is not None and not is_address(spec):
        resolve(spec, servers=settings.servers)
    return spec, server


def open_pair(
    settings: Settings, other: ModelRef, on_progress: OnProgress
) -> tuple[Engine, Engine]:
    """Load the model of `settings`, and `other` to compare it with.

    If they differ only by an adapter, they share the weights.
    """
    own = settings.model_ref
    if other.adapter is not None:
        return _open_sharing(settings, own, other.adapter, on_progress)
    first = open_model(settings, own, on_progress)
    try:
        second = open_model(settings, other, on_progress)
    except BaseException:
        first.close()
        raise
    import torch

    # One that runs on a server would need a single thread.
    torch.set_num_threads(max(engine.info.threads for engine in (first, second)))
    return first, second


def _open_sharing(
    settings: Settings, own: ModelRef, adapter: str, on_progress: OnProgress
) -> tuple[Engine, Engine]:
    """Load the model `own`, and the same with another adapter, on the same weights."""
    if own.adapter is None and settings.origin("model").source != "flag":
        own = ModelRef()  # the adapter names the model that it was made for
    with _collector_waits():
        from lmtui.engine.engine import LocalEngine
        from lmtui.models.load import load_pair
        from lmtui.models.loaded_model import LoadOptions

        loaded = load_pair(
            resolved(settings, own.model)[0],
            adapter=own.adapter,
            other=adapter,
            how=LoadOptions(
                settings.device,
                settings.dtype,
                bits(settings),
                settings.threads,
                on_progress,
            ),
        )
        first, second = (LocalEngine(one, context=settings.context) for one in loaded)
        return first, second


def open_for_comparison(
    settings: Settings, ref: ModelRef, other: ModelRef, on_progress: OnProgress
) -> Engine | tuple[Engine, Engine]:
    """Load a model chosen later, and `other`, which it is compared with.

    If `other` can't be loaded beside it, that is reported, and the model opens alone.
    """
    own = open_model(settings, ref, on_progress)
    try:
        return own, open_model(settings, other, on_progress)
    except LmtuiError as error:
        told = f"Nothing is compared any more: {error}"
        on_progress(Progress(told, warning=True))
        return own


@contextmanager
def _collector_waits() -> Iterator[None]:
    """Disable the garbage collector while libraries and a model are loaded, and exempt
    what was loaded from it.

    Loading creates hundreds of thousands of objects that stay. Scanning them repeatedly
    took a quarter of a second of a start that takes one. After it, each full collection
    would scan them and stop all threads for 0.1 to 0.2 s. `freeze` exempts them, and
    next to no garbage with them, until the worker loads another model.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def engine_for(
    context: typer.Context,
    settings: Settings,
    *,
    says_unkept: bool = True,
    slots: int = 1,
    needs: Need = "edits",
) -> Engine:
    """Open the engine for a command."""
    own: OpenEngine = partial(open_local, says_unkept=says_unkept, slots=slots)
    open_engine: OpenEngine = context.obj or own
    engine = open_engine(settings)
    context.call_on_close(engine.close)
    return _require(engine, needs)


def _require(engine: Engine, need: Need) -> Engine:
    if engine.capabilities.meets(need):
        return engine
    from lmtui.models.remote.load import no_scores, text_only

    if engine.capabilities.edits:
        raise no_scores(engine.info.device)
    raise text_only()


def engines_for(
    context: typer.Context, settings: Settings, other: ModelRef
) -> tuple[Engine, Engine]:
    """Open the engine for a command, and one to compare it with."""
    open_engine: OpenEngine = context.obj or open_local
    if open_engine is not open_local:
        compared = replace(settings, model=other.model, adapter=other.adapter)
        return open_engine(settings), open_engine(compared)
    with _loading() as show:
        first, second = open_pair(settings, other, show)
    context.call_on_close(first.close)
    context.call_on_close(second.close)
    return _require(first, "scores"), _require(second, "scores")
