"""A model on `lmtui serve` against the same one in this process, and over a slow link.

The link is a proxy on this machine that hands on every byte a while later.
"""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from threading import Thread
from typing import Any

import torch
from bench_serve import in_process, ours
from bench_tools import compare, row

from lmtui.engine.engine import LocalEngine
from lmtui.engine.open import open_served
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.connection import Connection

ROUND_TRIP = 0.05  # seconds
_SCORED = 1000  # tokens of a text
_TYPED = "What would the keeper of a lighthouse say to someone who asks for the sea? "


async def _pump(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float
) -> None:
    loop = asyncio.get_running_loop()
    with suppress(ConnectionResetError):  # an answer that was stopped
        while data := await source.read(1 << 16):
            loop.call_later(delay, target.write, data)
    loop.call_later(delay, target.close)


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def link(port: int, delay: float) -> Iterator[int]:
    """A port from which all bytes reach `port`, and come back, `delay` s later."""
    loop = asyncio.new_event_loop()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        pumps = _pump(reader, back, delay), _pump(there, writer, delay)
        with suppress(asyncio.CancelledError):  # the link ends
            await asyncio.gather(*pumps)

    server = loop.run_until_complete(asyncio.start_server(join, "127.0.0.1", 0))
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def opened(port: int, dialect: str = "auto") -> LocalEngine:
    """The model of the server at a port."""
    server = ServerOptions(dialect=dialect, tokenizer="default")
    engine = open_served(f"http://127.0.0.1:{port}/v1", server)
    assert isinstance(engine, LocalEngine)
    return engine


@contextmanager
def _requests() -> Iterator[list[Any]]:
    """The requests that are made within."""
    real, made = Connection.data, []

    def data(self: Any, *given: Any, **how: Any) -> bytes:
        made.append(given)
        return bytes(real(self, *given, **how))

    Connection.data = data  # type: ignore[method-assign]
    try:
        yield made
    finally:
        Connection.data = real  # type: ignore[method-assign]


def _on(threads: int, work: Callable[[], float]) -> Callable[[], float]:
    """`work` with as many threads: a server's model needs one, the rest is its own."""

    def run() -> float:
        torch.set_num_threads(threads)
        return work()

    return run


def _typed(what: str, look: Callable[[str], object]) -> None:
    """Print times and requests of the keys of a text."""
    times = []
    look(_TYPED[:1])  # what comes before it is read
    with _requests() as made:
        for end in range(2, len(_TYPED) + 1):
            start = time.perf_counter()
            look(_TYPED[:end])
            times.append(1000 * (time.perf_counter() - start))
    middle, late = median(times), quantiles(times, n=20)[-1]
    each = len(made) / len(times)
    print(f"| {what} | {middle:.0f} / {late:.0f} ms | {each:.2f} requests | |")


def print_remote(engine: LocalEngine, file: Path, options: Namespace) -> None:
    """The table of a model on a server; `engine` has the file open as that has."""
    print("\n| a model on a server | lmtui | peer | ratio |\n|---|---|---|---|")
    with ours(file) as port:
        for name, dialect in (("", "auto"), (", as vLLM", "vllm")):
            there = opened(port, dialect)
            lookup_ids(there, engine, name, options)
            _over_a_link(port, dialect, name, options.tokens)


def lookup_ids(
    there: LocalEngine, engine: LocalEngine, name: str, options: Namespace
) -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    ids, tokens = engine.encode(text).ids[:_SCORED], 2 * options.tokens
    result = compare(
        _on(1, lambda: in_process(there, tokens, 20)),
        _on(engine.info.threads, lambda: in_process(engine, tokens, 20)),
        options.rounds,
    )
    row(f"an answer{name} / the same here", result, "tokens/s")
    result = compare(
        _on(1, lambda: _rate(there, ids)),
        _on(engine.info.threads, lambda: _rate(engine, ids)),
        options.rounds,
    )
    row(f"score {_SCORED:,} tokens{name} / the same here", result, "tokens/s")


def _over_a_link(port: int, dialect: str, name: str, tokens: int) -> None:
    settings = SamplingSettings(temperature=0)
    with link(port, ROUND_TRIP / 2) as slow:
        far = opened(slow, dialect)
        where = f"{name} over {1000 * ROUND_TRIP:.0f} ms, p50 / p95"
        _typed(
            f"key in a message to panel{where}",
            lambda draft: far.score_draft([], draft, settings),
        )
        _typed(
            f"key in a text to panel{where}",
            lambda draft: far.document.predict_at(draft, len(draft)),
        )
        speed = f"{in_process(far, tokens, 20):.1f} tokens/s"
        print(f"| an answer{name} over {1000 * ROUND_TRIP:.0f} ms | {speed} | | |")


def _rate(engine: LocalEngine, ids: tuple[int, ...]) -> float:
    start = time.perf_counter()
    count = sum(1 for _ in engine.score(ids, top_n=5))
    return count / (time.perf_counter() - start)
