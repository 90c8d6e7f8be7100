"""Open the engine for a command, or another that a test passes in.

Knows how settings become an engine. Torch is imported here, when an engine is
opened.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from lmtui.cli.errors import take_stderr
from lmtui.config.settings import Settings, bits
from lmtui.engine.protocol import Engine
from lmtui.engine.types import Need
from lmtui.errors import LmtuiError
from lmtui.models.errors import hush
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.remote.address import ServerOptions, is_address
from lmtui.models.source import ModelRef, resolve

if TYPE_CHECKING:
    from lmtui.worker.requests import Opened

OpenEngine = Callable[[Settings], Engine]


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
        if model and is_address(model):
            from lmtui.engine.open import open_served

            if ref.adapter:
                raise LmtuiError(
                    "an adapter can't be added to a model on a server",
                    ref.adapter,
                    "Start the server with it: lmtui serve --adapter NAME.",
                )
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
    settings: Settings, ref: ModelRef, other: ModelRef, on_progress: OnProgress
) -> tuple[Engine, Engine]:
    """Load the model `ref`, and `other` to compare it with.

    If they are the model of `settings` and the same with another adapter, they share
    the weights.
    """
    if other.adapter is not None and ref == settings.model_ref:
        return _open_sharing(settings, ref, other.adapter, on_progress)
    first = open_model(settings, ref, on_progress)
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


def open_for_screen(
    settings: Settings, ref: ModelRef, other: ModelRef | None, on_progress: OnProgress
) -> Opened:
    """Load the model `ref`, and `other` if it is compared with one.

    If `other` can't be loaded beside a model that was chosen on the screen, that is
    reported, and the model opens alone.
    """
    if other is not None:
        try:
            return open_pair(settings, ref, other, on_progress)
        except LmtuiError as error:
            if ref == settings.model_ref:
                raise
            told = f"Nothing is compared any more: {error}"
        on_progress(Progress(told, warning=True))
    return open_model(settings, ref, on_progress)


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
    context: typer.Context, settings: Settings, *, slots: int = 1, needs: Need = "edits"
) -> Engine:
    """Open the engine for a command; `slots` is the number of generations that can run
    in turns."""
    (engine,) = engines_for(context, settings, slots=slots, needs=needs)
    return engine


def engines_for(
    context: typer.Context,
    settings: Settings,
    other: ModelRef | None = None,
    *,
    slots: int = 1,
    needs: Need = "scores",
) -> Sequence[Engine]:
    """Open the engine for a command, and perhaps one to compare it with: with progress
    on stderr, or by the function that a test passes in.

    Libraries' messages are silenced from here on: they go to the log or nowhere.
    """
    from lmtui import log
    from lmtui.cli.progress import loading_progress

    engines: Sequence[Engine]
    if open_engine := context.obj:
        engines = [open_engine(settings)]
        if other is not None:
            compared = replace(settings, model=other.model, adapter=other.adapter)
            engines.append(open_engine(compared))
    else:
        log.start()
        take_stderr()
        hush()
        with loading_progress() as show:
            own = settings.model_ref
            engines = (
                open_pair(settings, own, other, show)
                if other is not None
                else (open_model(settings, own, show, slots=slots),)
            )
    for engine in engines:
        context.call_on_close(engine.close)
    for engine in engines:
        _require(engine, needs)
    return engines


def _require(engine: Engine, need: Need) -> None:
    if engine.capabilities.meets(need):
        return
    from lmtui.models.remote.load import no_scores, text_only

    if engine.capabilities.edits:
        raise no_scores(engine.info.device)
    raise text_only()
