"""The server over a scripted engine, on a port of this machine, and its clients."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from queue import Queue
from threading import Thread
from typing import Any

from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.serve.app import Api
from lmtui.serve.guard import Access, Guard
from lmtui.serve.limits import Limits
from lmtui.serve.planner import Planner
from lmtui.serve.scheduler import Scheduler
from lmtui.serve.server import listen, server_for
from lmtui.worker.events import Answer, Failed
from lmtui.worker.worker import EngineWorker

WAIT = 20  # seconds that a test waits for anything


@dataclass
class Reply:
    """A response that has been read."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def message(self) -> str:
        """The sentence of an error."""
        return str(self.json["error"]["message"])

    @property
    def events(self) -> list[Any]:
        """What a stream said, without the mark of its end."""
        lines = self.data.decode().split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""]
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


@dataclass
class Served:
    """A server that runs."""

    port: int
    lines: Queue[str] = field(default_factory=Queue)
    """The log."""
    end: Callable[[], object] = lambda: None
    """What a signal does first."""
    wait: float = WAIT
    """Seconds that clients wait for a response."""

    @contextmanager
    def connected(self) -> Iterator[HTTPConnection]:
        with closing(
            HTTPConnection("127.0.0.1", self.port, timeout=self.wait)
        ) as client:
            yield client

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send a request; `body` is JSON, or bytes as they are."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with self.connected() as client:
            verb = method or ("GET" if data is None else "POST")
            client.request(verb, path, data, headers or {})
            return read(client.getresponse())

    def line(self) -> str:
        """The next line of the log."""
        return self.lines.get(timeout=WAIT)

    def complete(self, **body: object) -> Reply:
        return self.ask("/v1/completions", body)

    def chat(self, text: str = "Hi", **body: object) -> Reply:
        messages = [{"role": "user", "content": text}]
        return self.ask("/v1/chat/completions", {"messages": messages} | body)

    @contextmanager
    def socket(self) -> Iterator[socket.socket]:
        """A bare connection."""
        with socket.create_connection(("127.0.0.1", self.port), WAIT) as bare:
            yield bare


def read(response: HTTPResponse) -> Reply:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, headers, response.read())


@contextmanager
def serving(
    engine: Engine | Callable[[], Engine],
    *,
    limits: Limits | None = None,
    access: Access | None = None,
    settings: SamplingSettings | None = None,
) -> Iterator[Served]:
    """Serve an engine, or the one that a function opens on the worker's thread."""
    limits = limits or Limits()
    worker, loaded = EngineWorker(), Queue[Any]()
    open_engine = engine if callable(engine) else lambda: engine
    worker.load(lambda _: open_engine(), loaded.put)
    while not isinstance(answer := loaded.get(timeout=10 * WAIT), Answer | Failed):
        pass
    assert isinstance(answer, Answer), answer
    info = answer.value.info
    scheduler = Scheduler(worker, info.slots, longest_queue=limits.queue)
    planner = Planner(info, settings or SamplingSettings(temperature=0), limits)
    bound = listen("127.0.0.1", 0)
    # Little of a response fits between the server and a client that does not read.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
    served = Served(bound.getsockname()[1], end=scheduler.close)
    app = Guard(
        Api(scheduler, planner, info.model).app(),
        access=access or Access(),
        limits=limits,
        report=served.lines.put,
    )
    server = server_for(app, limits, scheduler.close)
    thread = Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        scheduler.close()
        server.should_exit = True
        thread.join(WAIT)
        worker.close(WAIT)
        assert not thread.is_alive()
