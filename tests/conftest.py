"""What every test gets: an environment without the user's settings, and homes."""

from __future__ import annotations

import fcntl
import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

# The same examples each time, so that a failure is one of the last change; new ones are
# searched for with --full.
settings.register_profile("quick", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("full", max_examples=1000, deadline=None)


MONTH = 30 * 24 * 3600
"""Seconds for which what was compiled is kept after its last use."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full` runs the property tests on many more examples."""
    parser.addoption("--full", action="store_true", help="many more random examples")


def pytest_configure(config: pytest.Config) -> None:
    """Choose which examples the property tests try, and where they run."""
    settings.load_profile("full" if config.getoption("--full") else "quick")
    _hear_signals()
    _keep_to_one_core()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        # What a test without a home of its own reads and leaves is not the user's.
        os.environ["LMTUI_HOME"] = tempfile.mkdtemp(prefix="lmtui-tests-")
    _compile_once(config)


def _hear_signals() -> None:
    """Catch SIGHUP where it is ignored, as under nohup, and SIGINT, as where a script
    runs the tests with `&`: programs that a test starts would ignore them, too, but
    have the default for a signal that is caught."""
    handlers = {
        signal.SIGHUP: lambda *_: None,
        signal.SIGINT: signal.default_int_handler,
    }
    for number, handler in handlers.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_unconfigure() -> None:
    """Remove the home of all tests, and the command that compiles once."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    shutil.rmtree(os.environ.pop("LMTUI_HOME"), ignore_errors=True)
    if "COMPILED_ONCE" in os.environ:
        del os.environ["COMPILED_ONCE"]
        shutil.rmtree(Path(os.environ.pop("CXX")).parent, ignore_errors=True)


def _compile_once(config: pytest.Config) -> None:
    """Let all homes of the tests share what is compiled for them, and later runs on
    this processor with this compiler, too: pytest's cache has it."""
    if "CXX" in os.environ or not shutil.which("g++"):
        return
    asked = ["g++", "-v", "-march=native", "-E", "-x", "c++", os.devnull]
    told = subprocess.run(asked, check=False, capture_output=True).stderr
    digest = hashlib.sha256(told).hexdigest()[:16]
    kept = config.cache.mkdir("compiled") / digest  # type: ignore[union-attr]
    kept.mkdir(exist_ok=True)
    for file in kept.iterdir():
        if file.stat().st_mtime < time.time() - MONTH:
            file.unlink(missing_ok=True)
    folder = tempfile.mkdtemp(prefix="compiled-once-")
    script = Path(__file__).with_name("compile_once.py")
    # Started by this Python: what looks for a `python3` can take longer than it.
    command = Path(folder) / "c++"
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -IS '{script}' \"$@\"\n")
    command.chmod(0o755)
    os.environ |= {"CXX": str(command), "COMPILED_ONCE": str(kept)}


def pytest_collection_finish() -> None:
    """Exempt what the imports made from garbage collection: torch alone makes some
    400,000 objects. Collect more rarely what comes after it: each screen makes so many
    objects that stay that an eighth of a test's time goes into looking for others."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Exempt what is left of all tests, too: pytest collects garbage five times before
    it ends, which takes seconds in each worker, and nothing looks at what is found."""
    gc.freeze()


def _keep_to_one_core() -> None:
    """Where several processes share the tests, give each a core of its own: two that
    compute with both wait for each other most of the time. Threads that share a core
    sleep while they wait: one that spins takes the core from the one that it waits for,
    which makes some tests a hundred times slower. Processes read that when they start,
    so it has to be set in the one that starts the workers."""
    os.environ["OMP_WAIT_POLICY"] = "passive"
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.fixture(autouse=True)
def no_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the collections of garbage where a model goes and where a training begins.
    They also go through what all tests before have left, which takes up to seconds.
    Exempt no model of a test from collection, which would keep it in memory."""
    names = ("collect", "freeze", "unfreeze", "disable", "enable")
    nothing = SimpleNamespace(**dict.fromkeys(names, int))
    for name in ("lmtui.worker.worker", "lmtui.cli.engine", "accelerate.utils.memory"):
        if name in sys.modules:
            monkeypatch.setattr(f"{name}.gc", nothing)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away settings and colour choices of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("LMTUI_") and name != "LMTUI_HOME":
            monkeypatch.delenv(name)
    # The last two are set by what shares the tests out, and outdo a terminal's size.
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty LMTUI_HOME of the test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("LMTUI_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An LMTUI_HOME that the tests of a file share, with what the first ones made."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(folder))
        yield folder


@pytest.fixture
def x86(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Makes this an x86 processor with some extensions, by Linux's names, and sets
    LMTUI_ISA."""
    from lmtui.kernels import cpu_features

    def pretend(extensions: str, limit: str) -> None:
        monkeypatch.setattr(cpu_features.platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(cpu_features, "_CPUINFO", tmp_path / "cpuinfo")
        (tmp_path / "cpuinfo").write_text(f"flags : {extensions}\n")
        monkeypatch.setenv("LMTUI_ISA", limit)
        for variable in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"):
            monkeypatch.setenv(variable, "")

    return pretend


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a folder on a disk of its own with so many bytes; needs root, on Linux."""
    mounted: list[Path] = []

    def make(size: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a small disk can't be mounted here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        # Lazily: files of it may still be open or mapped.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def default_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the real default model, fetched once, or the given one."""
    from lmtui import paths
    from lmtui.models.download import default_model

    if given := os.environ.get("LMTUI_TEST_HOME"):
        folder = Path(given)
    elif "PYTEST_XDIST_WORKER" in os.environ:
        folder = tmp_path_factory.getbasetemp().parent / "default-home"  # of them all
        folder.mkdir(exist_ok=True)
    else:
        folder = tmp_path_factory.mktemp("default-home")
    with pytest.MonkeyPatch.context() as patch, _alone_in(folder):
        patch.setenv("LMTUI_HOME", str(folder))
        default_model.default_model()
        assert paths.home() == folder
    return folder


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time use a folder."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
