"""A Hub id: what is here needs no network, and no network is said at once."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lmtui.errors import LmtuiError
from lmtui.models import describe, digests, inventory, source
from lmtui.models.download.hub import (
    choose_file,
    download_folder,
    find_local,
    local_models,
    remove_folder,
)
from lmtui.models.load import load
from lmtui.models.progress import Progress
from tests.models.download.fake_hub import files_of, locate, serving


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
    with serving({"gated/x": {"x-Q8_0.gguf": GGUF}}) as hub:
        missing, gated = (locate(i, hub.url, home) for i in ("no/such", "gated/x"))
    assert missing["title"] == "the Hub has no such model, or it is private"
    assert "spelling" in missing["hint"]
    assert gated["title"].endswith("agree to its terms")
    assert "hf auth login" in gated["hint"]


def test_hub_repository_without_a_model_is_refused(home: Path):
    repositories = {"a/pickle": {"pytorch_model.bin": b""}, "a/else": {"x.csv": b""}}
    with serving(repositories) as hub:
        pickled, other = (locate(name, hub.url, home) for name in repositories)
    assert "pickled" in pickled["title"]
    assert "save_pretrained" in pickled["hint"]
    assert other["title"] == "this Hub repository holds no language model"
    assert ".gguf" in other["hint"]


GGUF = b"GGUF" + bytes(range(256)) * 4000  # a megabyte: several parts of a download
FILES = {
    "README.md": b"words",
    "config.json": b"{}",
    "mmproj-F16.gguf": b"vision",
    "x-BF16-00001-of-00002.gguf": b"one",
    "x-BF16-00002-of-00002.gguf": b"two",
    "x-Q4_K_M.gguf": GGUF,
    "x-Q4_0.gguf": GGUF + b"0",
    "x-UD-Q4_K_XL.gguf": GGUF + b"XL",
    "x-q8_0.gguf": GGUF + b"8",
}


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("", "x-Q4_K_M.gguf"),
        (":q4_0", "x-Q4_0.gguf"),
        (":Q8_0", "x-q8_0.gguf"),
        (":Q4_K_XL", "x-UD-Q4_K_XL.gguf"),
        (":x-q8_0.gguf", "x-q8_0.gguf"),
    ],
)
def test_gguf_file_is_fetched_by_name_or_quantisation_and_found_again(
    wanted: str, name: str, home: Path
):
    with serving({"a/b": FILES}) as hub:
        answer = locate(f"a/b{wanted}", hub.url, home, HF_TOKEN="hf_secret")
        assert hub.served == [name]
        assert not hub.tokens  # the token is for the Hub alone
    place = Path(answer["place"])
    assert (place.name, place.read_bytes()) == (name, FILES[name])
    assert place.is_relative_to(home / "models" / "hub")
    assert answer["done"][0] == 0 and answer["done"][-1] == len(FILES[name])
    again = locate(f"a/b{wanted}", "http://127.0.0.1:9", home)
    assert again["place"] == answer["place"]


def test_gguf_file_of_the_hub_is_loaded_like_one_of_a_path(
    home: Path, llama_gguf: Path
):
    with serving({"a/b": {"x-F32.gguf": llama_gguf.read_bytes()}}) as hub:
        place = locate("a/b", hub.url, home)["place"]
    there, here = (load(name, device="cpu") for name in ("a/b:f32", str(llama_gguf)))
    ids = torch.arange(9)[None]
    assert torch.equal(there.model(ids).logits, here.model(ids).logits)
    assert there.name == "a/b:f32"
    assert describe.facts_of(source.resolve("a/b"))["path"] == place


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["z.gguf", "a-Q8_0.gguf"], "a-Q8_0.gguf"),
        (["mmproj-Q8_0.gguf", "mtp-x.gguf", "a-Q5_K_M.gguf"], "a-Q5_K_M.gguf"),
        (["a-Q4_K_M-00001-of-00002.gguf"], None),
        (["model.safetensors"], None),
    ],
)
def test_gguf_file_without_a_quantisation_is_the_usual_one(
    files: list[str], name: str | None
):
    assert choose_file(files) == name


def test_gguf_files_that_can_not_be_had_are_told(home: Path):
    with serving({"a/b": FILES}) as hub:
        unknown = locate("a/b:Q6_K", hub.url, home)
        parts = locate("a/b:BF16", hub.url, home)
        part = locate("a/b:x-BF16-00001-of-00002.gguf", hub.url, home)
        assert not hub.served
    assert unknown["title"] == "this Hub repository has no such GGUF file"
    assert unknown["detail"] == "a/b:Q6_K"
    assert "x-Q4_K_M.gguf" in unknown["hint"] and "mmproj" not in unknown["hint"]
    assert (
        parts["title"]
        == part["title"]
        == ("a GGUF file in several parts can't be read")
    )


def test_lost_connection_is_taken_up_again(home: Path):
    with serving({"a/b": FILES}) as hub:
        hub.cuts = [600_000]
        answer = locate("a/b", hub.url, home)
    first, second = hub.ranges
    assert first == "bytes=0-"
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 600_000
    assert Path(answer["place"]).read_bytes() == GGUF
    assert answer["done"] == sorted(answer["done"])


@pytest.mark.parametrize("cancelled", [False, True])
def test_interrupted_download_goes_on_the_next_time(cancelled: bool, home: Path):
    with serving({"a/b": FILES}) as hub:
        if cancelled:
            first = locate("a/b", hub.url, home, most=500_000)
            assert first["title"] == "cancelled"
        else:
            hub.cuts = [600_000, 0]
            first = locate("a/b", hub.url, home)
            assert first["title"] == "the model could not be fetched from the Hub"
            assert "kept" in first["hint"]
        (item,) = inventory.items_of(source.resolve("a/b"))
        assert not item.complete and 0 < item.bytes < len(GGUF)
        hub.ranges.clear()
        answer = locate("a/b", hub.url, home)
    assert hub.ranges == [f"bytes={item.bytes}-"]
    assert answer["done"][0] == item.bytes
    assert Path(answer["place"]).read_bytes() == GGUF


@pytest.mark.parametrize(
    "sent",
    [GGUF[:-1] + b"?", GGUF + b"more", GGUF[:-9]],
    ids=["other", "longer", "shorter"],
)
def test_file_of_another_digest_or_size_is_not_kept(sent: bytes, home: Path):
    with serving({"a/b": FILES}) as hub:
        hub.sent_instead = sent
        wrong = locate("a/b", hub.url, home)
        name = "x-Q4_K_M.gguf"
        assert wrong["title"] == f"what was fetched is not the {name} of the Hub"
        assert "SHA-256" in wrong["detail"]
        assert find_local("a/b") is None and not list(local_models())
        hub.sent_instead = None
        assert Path(locate("a/b", hub.url, home)["place"]).read_bytes() == GGUF


def test_full_disk_is_told_before_and_during_a_download(home: Path):
    with serving({"a/b": FILES}) as hub:
        hub.stated_size = 1 << 60
        before = locate("a/b", hub.url, home)
        assert not hub.served
        hub.stated_size = None
        blobs = home / "models" / "hub" / "models--a--b" / "blobs"
        blobs.mkdir(parents=True)
        digest = hashlib.sha256(GGUF).hexdigest()
        (blobs / f"{digest}.incomplete").symlink_to("/dev/full")
        during = locate("a/b", hub.url, home)
    assert before["title"] == during["title"] == "the disk is full"
    assert "are needed" in before["detail"]


def test_one_gguf_file_of_a_repository_is_removed(home: Path):
    with serving({"a/b": FILES}) as hub:
        small, large = (
            Path(locate(f"a/b:{tag}", hub.url, home)["place"])
            for tag in ("Q4_0", "Q8_0")
        )
    names = [model.name for model in local_models()]
    assert names == ["a/b:x-Q4_0.gguf", "a/b:x-q8_0.gguf"]
    for spec, rest in (("a/b:q4_0", [large]), ("a/b:x-q8_0.gguf", [])):
        (item,) = inventory.items_of(source.resolve(spec))
        inventory.remove(item)
        assert [model.path for model in local_models()] == rest
    assert not small.exists()
    assert not (download_folder() / "models--a--b").exists()


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
    assert [model.complete for model in local_models()] == [False]


def test_remove_takes_only_the_snapshots_of_its_model(llama_folder, tmp_path):
    put(tmp_path / "shared", "a/b", llama_folder)
    other = put(tmp_path / "shared", "a/c", llama_folder)
    (item,) = inventory.items_of(source.resolve("a/b"))
    inventory.remove(item)
    assert [model.name for model in local_models()] == ["a/c"]
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


def test_progress_of_a_check_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (file := tmp_path / "x.gguf").write_bytes(GGUF)
    monkeypatch.setattr(digests, "_CHUNK", len(GGUF) // 3)
    told: list[Progress] = []
    digests.require(file, hashlib.sha256(GGUF).hexdigest(), "the model", told.append)
    assert {each.what for each in told} == {"checking the model"}
    done = [each.done for each in told if each.done is not None]
    assert done == sorted(done)
    assert len(told) > 2 and told[-1].done == told[-1].total == len(GGUF)
