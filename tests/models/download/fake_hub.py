"""A Hub on loopback: repositories and their files, as huggingface.co answers.

Large files are stored elsewhere: the Hub redirects to another address, which knows no
tokens and sends parts of a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves the files of each model; those of `gated/x` are not for everyone."""

    daemon_threads = True

    def __init__(self, models: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.served: list[str] = []
        """The files that were sent."""
        self.ranges: list[str] = []
        """The parts of large files that were asked for."""
        self.tokens: list[str] = []
        """The tokens that the other address was sent."""
        self.cuts: list[int] = []
        """After how many bytes each next answer of a large file breaks off."""
        self.sent_instead: bytes | None = None
        """What is sent for any large file."""
        self.stated_size: int | None = None
        """What is stated as the size of any large file."""
        self.pause: threading.Event | None = None
        """What the second half of each large file waits for."""

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
        elif path.startswith("elsewhere/"):
            self._send_large(path.removeprefix("elsewhere/"))
        elif "/resolve/" in path:
            model, _, rest = path.partition("/resolve/")
            self._serve(model, rest.partition("/")[2])
        else:
            self._answer(b"{}")

    def _describe(self, path: str) -> None:
        model = "/".join(path.split("/")[:2])
        files = self.server.models.get(model)
        if files is None:
            self._answer(b"{}", status=401, error="RepoNotFound")
        elif "/tree/" in path:
            tree = [
                {"type": "file", "path": n, "size": len(d), "oid": _oid(d)}
                for n, d in files.items()
            ]
            self._answer(json.dumps(tree).encode())
        else:
            siblings = [self._sibling(n, d) for n, d in files.items()]
            about = {"id": model, "modelId": model, "sha": COMMIT, "siblings": siblings}
            self._answer(json.dumps(about).encode())

    def _sibling(self, name: str, data: bytes) -> dict[str, Any]:
        if not _is_large(name):
            return {"rfilename": name, "size": len(data)}
        size = self.server.stated_size or len(data)
        lfs = {"size": size, "sha256": _sha256(data), "pointerSize": 134}
        return {"rfilename": name, "size": size, "lfs": lfs}

    def _serve(self, model: str, name: str) -> None:
        data = self.server.models.get(model, {}).get(name)
        if data is None:
            self._answer(b"", status=404, error="EntryNotFound")
        elif model.startswith("gated/"):
            self._answer(b"{}", status=401, error="GatedRepo")
        elif _is_large(name):
            self.send_response(302)
            port = self.server.server_port
            self.send_header(
                "Location", f"http://localhost:{port}/elsewhere/{model}/{name}"
            )
            self.send_header("X-Linked-ETag", f'"{_sha256(data)}"')
            self.send_header("X-Linked-Size", str(len(data)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            if self.command == "GET":
                self.server.served.append(name)
            self._answer(data)

    def _send_large(self, path: str) -> None:
        """Send a part of a large file from where it is stored."""
        hub, (owner, model, name) = self.server, path.split("/", 2)
        whole = hub.sent_instead or hub.models[f"{owner}/{model}"][name]
        asked = self.headers.get("Range", "bytes=0-")
        hub.served.append(name)
        hub.ranges.append(asked)
        hub.tokens += filter(None, [self.headers.get("Authorization")])
        data = whole[int(asked.removeprefix("bytes=").removesuffix("-")) :]
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if hub.cuts:
            self.wfile.write(data[: hub.cuts.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(data[: len(data) // 2])
        if hub.pause:
            hub.pause.wait(20)
        self.wfile.write(data[len(data) // 2 :])

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


def _is_large(name: str) -> bool:
    return name.endswith((".gguf", ".safetensors", ".bin"))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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


# The library reads its settings when it is imported, so each case is a process.
FETCH = """
import json, sys
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models import load, source
spec, most = sys.argv[1], float(sys.argv[2])
seen = []
def show(progress):
    seen.append(progress.done)
    if progress.done >= most:
        raise Cancelled
try:
    place = load.locate(source.resolve(spec), show)
    answer = {"place": str(place), "done": seen, "torch": "torch" in sys.modules}
except LmtuiError as error:
    answer = {"title": error.title, "detail": error.detail, "hint": error.hint}
except Cancelled:
    answer = {"title": "cancelled"}
print(json.dumps(answer))
"""


def locate(
    spec: str, url: str, home: Path, *, most: float = float("inf"), **env: str
) -> dict[str, Any]:
    """What a process of its own finds with the Hub at `url`; it is cancelled once it
    has `most` bytes."""
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": ""}
    settings |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
    done = subprocess.run(
        [sys.executable, "-c", FETCH, spec, str(most)],
        capture_output=True,
        text=True,
        env=os.environ | settings | env,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
