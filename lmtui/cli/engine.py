"""From settings to an engine: the seam between a verb and the model.

A verb asks for its engine here; a test hands the program another way to open one.
Torch is imported here, late, and nowhere else in the command line.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import typer

from lmtui import paths, processes
from lmtui.cli.errors import keep_stderr, note
from lmtui.config.settings import Settings, bits
from lmtui.engine.protocol import EditorEngine
from lmtui.errors import LmtuiError
from lmtui.models.errors import hush
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.source import ModelRef
from lmtui.text import visible_line


def tell_of_others(*, trainings_only: bool = False) -> bool:
    """Say on stderr what else computes on this machine; whether anything does."""
    uses = [use for use in processes.others() if use.trains or not trainings_only]
    for use in uses:
        words = visible_line(use.words)
        note(f"note: {words} runs too; on a CPU they slow each other down\n")
    return bool(uses)


@contextmanager
def sharing_if_wanted(what: str) -> Iterator[None]:
    """Let others know that this program computes; where one trains, first ask whether
    to go on.

    Raises:
        typer.Abort: it is not wanted.
    """
    if tell_of_others(trainings_only=True):
        typer.confirm("Go on all the same?", default=True, abort=True, err=True)
    with processes.using(what):
        yield


OpenEngine = Callable[[Settings], EditorEngine]


def open_local(settings: Settings, *, says_unkept: bool = True) -> EditorEngine:
    """Load the model that `settings` name, with progress on stderr; without
    `says_unkept`, not what of it can't be kept.

    Raises:
        LmtuiError: it can't be found, fetched or loaded here.
    """
    with _loading() as show:
        heard = show if says_unkept else but_for_unkept(show)
        return open_wanted(settings, settings.wanted, heard)


@contextmanager
def _loading() -> Iterator[OnProgress]:
    """What shows on stderr how far it is; nobody else writes there from here on."""
    from lmtui import log
    from lmtui.cli.progress import loading_progress

    log.start()
    keep_stderr()
    hush()
    with loading_progress() as show:
        yield show


def but_for_unkept(show: OnProgress) -> OnProgress:
    """The same listener, which does not hear what can't be kept."""

    def heard(progress: Progress) -> None:
        if not progress.unkept:
            show(progress)

    return heard


def why_nothing_is_kept() -> LmtuiError | None:
    """Why neither a conversation nor anything of a model can be kept, so that one
    warning will do; None where one of them can."""
    refused = None
    for folder in (paths.cache_folder(), paths.data_folder()):
        try:
            paths.require_writable(folder)
            return None
        except LmtuiError as error:
            refused = error
    return refused


def open_wanted(
    settings: Settings,
    wanted: ModelRef,
    on_progress: OnProgress,
    *,
    lasting: bool = False,
) -> EditorEngine:
    """Load what is wanted, by all else that `settings` say; `lasting` for more than
    one answer.

    Raises:
        LmtuiError: it can't be found, fetched or loaded here.
    """
    with _collector_waits():
        # Imported here, late: it takes most of a second.
        from lmtui.engine.engine import LocalEngine

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


def open_pair(
    settings: Settings, other: ModelRef, on_progress: OnProgress
) -> tuple[EditorEngine, EditorEngine]:
    """Load what `settings` name, and what it is to be compared with; where only an
    adapter is the difference, on the same weights.

    Raises:
        LmtuiError: one of them can't be found, fetched or loaded here.
    """
    own = settings.wanted
    if own.adapter is None and settings.origin("model").source != "flag":
        # The adapter was named now, and knows the model that it was made for.
        own = ModelRef() if other.adapter else own
    if other.adapter is None:
        first = open_wanted(settings, own, on_progress)
        return first, open_wanted(settings, other, on_progress)
    with _collector_waits():
        from lmtui.engine import engine
        from lmtui.models.loaded_model import LoadOptions

        return engine.open_pair(
            own.model,
            adapter=own.adapter,
            other=other.adapter,
            how=LoadOptions(
                settings.device,
                settings.dtype,
                bits(settings),
                settings.threads,
                on_progress,
            ),
            context=settings.context,
        )


def open_beside(
    settings: Settings, wanted: ModelRef, other: ModelRef, on_progress: OnProgress
) -> EditorEngine | tuple[EditorEngine, EditorEngine]:
    """Load what was chosen later, and what it goes on being compared with; alone, and
    that is told, where the latter can't be had beside it.

    Raises:
        LmtuiError: what was chosen can't be found, fetched or loaded here.
    """
    own = open_wanted(settings, wanted, on_progress, lasting=True)
    try:
        return own, open_wanted(settings, other, on_progress)
    except LmtuiError as error:
        told = f"Nothing is compared any more: {error}"
        on_progress(Progress(told, warning=True))
        return own


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


def engine_for(
    context: typer.Context, settings: Settings, *, says_unkept: bool = True
) -> EditorEngine:
    """The engine for this run of a verb, which others know of until it ends."""
    context.with_resource(processes.using(context.info_name or "lmtui"))
    own: OpenEngine = partial(open_local, says_unkept=says_unkept)
    open_engine: OpenEngine = context.obj or own
    return open_engine(settings)


def engines_for(
    context: typer.Context, settings: Settings, other: ModelRef
) -> tuple[EditorEngine, EditorEngine]:
    """The engine for this run of a verb, and the one to compare it with."""
    context.with_resource(processes.using(context.info_name or "lmtui"))
    open_engine: OpenEngine = context.obj or open_local
    if open_engine is not open_local:
        compared = replace(settings, model=other.model, adapter=other.adapter)
        return open_engine(settings), open_engine(compared)
    with _loading() as show:
        return open_pair(settings, other, show)
