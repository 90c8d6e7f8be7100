"""A Hub on the loopback device: a few models, and the answers it gives for them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves the files of each model; `gated/x` is not for everyone."""

    daemon_threads = True

    def __init__(self, models: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.served: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].strip("/")
        if path.startswith("api/models/"):
            self._describe(path.removeprefix("api/models/"))
        elif "/resolve/" in path:
            model, _, rest = path.partition("/resolve/")
            self._serve(model, rest.partition("/")[2])
        else:
            self._answer(b"{}")

    def _describe(self, path: str) -> None:
        model = "/".join(path.split("/")[:2])
        files = self.server.models.get(model)
        if model.startswith("gated/"):
            self._answer(b"{}", status=403, error="GatedRepo")
        elif files is None:
            self._answer(b"{}", status=401, error="RepoNotFound")
        elif "/tree/" in path:
            tree = [
                {"type": "file", "path": n, "size": len(d), "oid": _oid(d)}
                for n, d in files.items()
            ]
            self._answer(json.dumps(tree).encode())
        else:
            siblings = [{"rfilename": n, "size": len(d)} for n, d in files.items()]
            about = {"id": model, "modelId": model, "sha": COMMIT, "siblings": siblings}
            self._answer(json.dumps(about).encode())

    def _serve(self, model: str, name: str) -> None:
        data = self.server.models.get(model, {}).get(name)
        if data is None:
            self._answer(b"", status=404, error="EntryNotFound")
            return
        if self.command == "GET":
            self.server.served.append(name)
        self._answer(data)

    def _answer(self, body: bytes, *, status: int = 200, error: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{_oid(body)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@contextmanager
def serving(models: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    """A Hub that answers until the end."""
    hub = Hub(models)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
