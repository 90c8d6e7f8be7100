"""From settings to an engine: the seam between a verb and the model.

A verb asks for its engine here; a test hands the program another way to open one.
Torch is imported here, late, and nowhere else in the command line.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from lmtui.cli.sharing import sharing
from lmtui.engine.port import WritingEngine
from lmtui.models.progress import OnProgress
from lmtui.models.wanted import Wanted
from lmtui.settings import Settings, bits

OpenEngine = Callable[[Settings], WritingEngine]


def open_local(settings: Settings) -> WritingEngine:
    """Load the model that `settings` name, with progress on stderr.

    Raises:
        LmtuiError: it can't be found, fetched or loaded here.
    """
    from lmtui import log
    from lmtui.cli.progress import loading_progress

    log.start()
    with loading_progress() as show:
        return open_wanted(settings, settings.wanted, show)


def open_wanted(
    settings: Settings,
    wanted: Wanted,
    on_progress: OnProgress,
    *,
    lasting: bool = False,
) -> WritingEngine:
    """Load what is wanted, by all else that `settings` say; `lasting` for more than
    one answer.

    Raises:
        LmtuiError: it can't be found, fetched or loaded here.
    """
    with _collector_waits():
        # Imported here, late: it takes most of a second.
        from lmtui.engine.local import LocalEngine

        return LocalEngine.open(
            wanted.model,
            adapter=wanted.adapter,
            device=settings.device,
            dtype=settings.dtype,
            quantize=bits(settings),
            threads=settings.threads,
            context=settings.context,
            lasting=lasting,
            on_progress=on_progress,
        )


@contextmanager
def _collector_waits() -> Iterator[None]:
    """Look for no garbage while libraries and a model are loaded: they make hundreds of
    thousands of objects that stay, and going through them again and again took a
    quarter of a second of a start of one."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def engine_for(context: typer.Context, settings: Settings) -> WritingEngine:
    """The engine for this run of a verb, which others know of until it ends."""
    context.with_resource(sharing(context.info_name or "lmtui"))
    open_engine: OpenEngine = context.obj or open_local
    return open_engine(settings)
