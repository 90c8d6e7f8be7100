"""A Hub id: what is here needs no network, and no network is said at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lmtui.errors import LmtuiError
from lmtui.models import inventory, source
from lmtui.models.download.hub import (
    download_folder,
    find_local,
    local_models,
    remove_folder,
)

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


# The library reads its settings when it is imported, so each case is a process.
FETCH = """
import json, sys
from lmtui.errors import LmtuiError
from lmtui.models import load, source
seen = []
try:
    place = load.locate(source.resolve(sys.argv[1]), lambda p: seen.append(p.done))
    answer = {"place": str(place), "done": seen, "torch": "torch" in sys.modules}
except LmtuiError as error:
    answer = {"title": error.title, "detail": error.detail, "hint": error.hint}
print(json.dumps(answer))
"""


def locate(hub_id: str, url: str, home: Path, **env: str) -> dict[str, Any]:
    """What a process of its own finds with the Hub at `url`."""
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": ""}
    settings |= {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH, hub_id],
        capture_output=True,
        text=True,
        env=os.environ | settings | env,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def put(cache: Path, hub_id: str, folder: Path) -> Path:
    """Lay a model into a cache as the Hub's own client does."""
    root = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = root / "snapshots" / "abc"
    shutil.copytree(folder, snapshot)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    return snapshot


def test_hub_model_is_fetched_once_without_needless_files(
    llama_folder: Path, home: Path
):
    extra = {
        "pytorch_model.bin": b"pickle",
        "onnx/m.safetensors": b"x",
        "README.md": b"",
    }
    with serving({"a/b": files_of(llama_folder) | extra}) as hub:
        answer = locate("a/b", hub.url, home)
        assert sorted(hub.served) == sorted(files_of(llama_folder))
        assert hub.served[-1] == "model.safetensors"
        again = locate("a/b", "http://127.0.0.1:9", home)
    place = Path(answer["place"])
    assert place.is_relative_to(home / "models" / "hub")
    assert files_of(place) == files_of(llama_folder)
    assert again["place"] == answer["place"]
    assert not answer["torch"]
    assert answer["done"][-1] == (llama_folder / "model.safetensors").stat().st_size


def test_missing_and_gated_hub_models_are_errors(home: Path):
    with serving({}) as hub:
        missing, gated = (locate(i, hub.url, home) for i in ("no/such", "gated/x"))
    assert missing["title"] == "the Hub has no such model, or it is private"
    assert "spelling" in missing["hint"]
    assert gated["title"].endswith("agree to its terms")
    assert "hf auth login" in gated["hint"]


def test_hub_repository_without_safetensors_is_refused(home: Path):
    repositories = {"a/pickle": {"pytorch_model.bin": b""}, "a/gguf": {"x.gguf": b""}}
    with serving(repositories) as hub:
        pickled, gguf = (locate(name, hub.url, home) for name in repositories)
    assert "pickled" in pickled["title"]
    assert "save_pretrained" in pickled["hint"]
    assert gguf["title"] == "this Hub repository has no safetensors files"
    assert ".gguf" in gguf["hint"]


def out_of_reach(url: str, home: Path) -> None:
    answer = locate("owner/model", url, home)
    assert answer["title"] == (
        "this model is not on this machine and the Hub can't be reached"
    )
    assert answer["detail"] == "owner/model"
    assert "lmtui models list" in answer["hint"]


def test_hub_at_a_closed_port_is_out_of_reach(home: Path):
    out_of_reach("http://127.0.0.1:9", home)


def test_silent_hub_is_given_up_after_one_try(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        out_of_reach(f"http://127.0.0.1:{silent.getsockname()[1]}", home)
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()  # it does not try again


WAITS = """
import queue, sys
from lmtui.models.download import hub
imported = []
class Queue(queue.Queue):
    def get(self, block=True, timeout=None):
        imported.append({"huggingface_hub.utils", "httpx2"} <= set(sys.modules))
        return super().get(block, timeout)
queue.Queue = Queue
print(hub.is_reachable(), imported)
"""


def test_imports_do_not_count_as_waiting_for_the_hub():
    settings = {"HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    command = (sys.executable, "-c", WAITS)
    said = subprocess.check_output(command, text=True, env=os.environ | settings)
    assert said == "False [True]\n"


def test_hf_hub_offline_is_named_in_the_error(home: Path):
    with serving({}) as hub:
        answer = locate("a/b", hub.url, home, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in answer["title"]
    assert "Unset" in answer["hint"]


def test_find_local_searches_our_and_the_shared_cache(
    llama_folder: Path, tmp_path: Path
):
    snapshot = put(tmp_path / "shared", "a/b", llama_folder)
    assert find_local("a/b") == snapshot
    ours = put(download_folder(), "a/b", llama_folder)
    assert find_local("a/b") == ours


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json"])
def test_an_incomplete_snapshot_is_not_used(missing: str, llama_folder, tmp_path):
    snapshot = put(tmp_path / "shared", "a/b", llama_folder)
    (snapshot / missing).unlink()
    assert find_local("a/b") is None
    assert [model.snapshot for model in local_models()] == [None]


def test_remove_takes_only_the_snapshots_of_its_model(llama_folder, tmp_path):
    put(tmp_path / "shared", "a/b", llama_folder)
    other = put(tmp_path / "shared", "a/c", llama_folder)
    (item,) = inventory.items_of(source.resolve("a/b"))
    inventory.remove(item)
    assert [model.hub_id for model in local_models()] == ["a/c"]
    assert other.exists()


def test_remove_refuses_folders_of_the_user(llama_folder: Path, tmp_path: Path):
    with pytest.raises(LmtuiError) as caught:
        inventory.items_of(source.resolve(str(llama_folder)))
    assert caught.value.title == "your own folders are not removed"
    with pytest.raises(LmtuiError, match="own folders"):
        remove_folder(llama_folder, (tmp_path,))
    with pytest.raises(LmtuiError, match="not on this machine"):
        inventory.items_of(source.resolve("a/b"))
    assert llama_folder.exists()


def test_a_linked_cache_folder_is_removed_as_a_link(llama_folder, tmp_path):
    real = put(tmp_path / "elsewhere", "a/b", llama_folder).parents[1]
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / real.name).symlink_to(real)
    (item,) = inventory.items_of(source.resolve("a/b"))
    inventory.remove(item)
    assert real.exists() and not list((tmp_path / "shared").iterdir())
