"""`lmtui serve`: answer requests of other programs over HTTP."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui import __version__
from lmtui.cli import options
from lmtui.cli.engine import engine_for, resolved
from lmtui.cli.errors import note
from lmtui.config.settings import Settings, names
from lmtui.errors import LmtuiError
from lmtui.models import source
from lmtui.models.remote.address import KEY_VARIABLE, is_loopback, require_sendable
from lmtui.text import visible

if TYPE_CHECKING:
    from lmtui.engine.types import EngineInfo
    from lmtui.serve.guard import Access
    from lmtui.worker.events import Event
    from lmtui.worker.worker import EngineWorker

KeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"The file with the API key that clients have to send; without it, the "
        f"environment variable {KEY_VARIABLE}.",
    ),
]
Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        help="A host name by which clients call this server, besides those of "
        "loopback; may be repeated.",
    ),
]
Origins = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="A web page that may ask, such as http://localhost:3000; may be given "
        "again.",
    ),
]


@options.with_settings(*names("serve"), *options.MODEL)
def serve(
    ctx: typer.Context,
    api_key_file: KeyFile = None,
    allow_host: Hosts = None,
    allow_origin: Origins = None,
) -> None:
    """Serve the model to other programs, over HTTP, on this machine.

    Answers /v1/completions, /v1/chat/completions, /v1/models, /tokenize, /detokenize,
    /tokenizer_info, /infill, /metrics, /version and /health, in the shapes of OpenAI,
    vLLM and llama.cpp, with the log-probabilities of answers and prompts alike. What a
    request does not set is as in [sampling] of config.toml.

    \b
    Examples:
      lmtui serve
      lmtui serve --port 9000 --model qwen3.5-2b
      lmtui serve --quantize none     # exact, to evaluate with lm_eval
    """
    settings = options.settings(ctx)
    access = _access(settings, api_key_file, allow_host or [], allow_origin or [])
    source.resolve(resolved(settings, settings.model_ref.model)[0])
    # Imported here: other verbs need no HTTP.
    from lmtui.serve.app import Api
    from lmtui.serve.guard import Guard
    from lmtui.serve.limits import Limits
    from lmtui.serve.planner import Planner
    from lmtui.serve.scheduler import Scheduler
    from lmtui.serve.server import address_of, listen, server_for
    from lmtui.worker.worker import EngineWorker

    made = listen(settings.serving.host, settings.serving.port)
    worker, limits = EngineWorker(), Limits()
    info = _opened(ctx, settings, worker)
    scheduler = Scheduler(worker, info.slots, longest_queue=limits.queue)
    name = _name(info)
    planner = Planner(info, settings.sampling_for(info), limits)
    app = Guard(
        Api(scheduler, planner, name).app(),
        access=access,
        limits=limits,
        report=lambda line: note(f"{line}\n"),
    )
    note(
        f"lmtui {__version__} serves {visible(name)} ({info.precision}, "
        f"{info.device}) on {address_of(made)} · Ctrl+C ends\n"
    )
    try:
        server_for(app, limits, scheduler.close).run(sockets=[made])
    finally:
        worker.close()


def _access(
    settings: Settings, key_file: Path | None, hosts: list[str], origins: list[str]
) -> Access:
    """Return who may ask."""
    from lmtui.serve.guard import Access

    key = os.environ.get(KEY_VARIABLE, "").strip()
    if key_file is not None:
        try:
            key = key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            title = "the file with the API key can't be read"
            raise LmtuiError(title, f"{key_file}: {error}") from error
        if not key:
            raise LmtuiError("the file with the API key is empty", f"{key_file}")
    require_sendable(key, f"{key_file or f'the variable {KEY_VARIABLE}'}")
    host = settings.serving.host
    if not key and not is_loopback(host):
        raise LmtuiError(
            "other machines could use this server without a key",
            host,
            "Put a key into a file and give it with --api-key-file, or set "
            f"{KEY_VARIABLE}.",
        )
    own = [] if is_loopback(host) else [host]
    return Access(key or None, [*own, *(each.lower() for each in hosts)], origins)


def _opened(ctx: typer.Context, settings: Settings, worker: EngineWorker) -> EngineInfo:
    """Open the engine on the worker's thread, and wait for it."""
    from lmtui.worker.events import Answer, Failed

    events: Queue[Event] = Queue()
    slots = settings.serving.parallel + 1  # one for short requests
    open_engine = partial(engine_for, ctx, settings, slots=slots)
    worker.load(lambda _: open_engine(), events.put)
    while not isinstance(answer := events.get(), Answer | Failed):
        pass
    if isinstance(answer, Failed):
        raise answer.error
    info: EngineInfo = answer.value.info
    return info


def _name(info: EngineInfo) -> str:
    """Return the name of the model for clients: no path of this machine."""
    name = Path(info.model).name
    return f"{name}+{Path(info.adapter).name}" if info.adapter else name
