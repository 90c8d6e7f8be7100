"""Where the program keeps its files.

Owns the folders and the two ways of writing into them that can't leave half a
file. Nothing is created by importing this module or by asking for a folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from lmtui.errors import LmtuiError

APP = "lmtui"


def home() -> Path | None:
    """The folder that `LMTUI_HOME` names, or None when the platform's are used."""
    value = os.environ.get("LMTUI_HOME")
    # Not Path.expanduser, which fails on the home of a user who does not exist.
    return Path(os.path.expanduser(value)).absolute() if value else None


def _folder(name: str, platform_folder: Callable[[str], Path]) -> Path:
    root = home()
    return root / name if root else platform_folder(APP)


def config_file() -> Path:
    """`config.toml`, which need not exist."""
    root = home()
    return (root or platformdirs.user_config_path(APP)) / "config.toml"


def themes_folder() -> Path:
    """The user's own themes, which need not exist."""
    return config_file().parent / "themes"


def models_folder() -> Path:
    """Fetched models: too large to lose to a cache cleaner."""
    return _folder("models", lambda app: platformdirs.user_data_path(app) / "models")


def adapters_folder() -> Path:
    """What was learned: an adapter a folder."""
    return _folder(
        "adapters", lambda app: platformdirs.user_data_path(app) / "adapters"
    )


def runs_folder() -> Path:
    """Training that is not finished; beside the adapters, so that one can be moved."""
    return _folder("runs", lambda app: platformdirs.user_data_path(app) / "runs")


def data_folder() -> Path:
    """What the user told the program to remember."""
    return _folder("data", platformdirs.user_data_path)


def cache_folder() -> Path:
    """What can be made again: dequantised GGUF files, file hashes."""
    return _folder("cache", platformdirs.user_cache_path)


def state_folder() -> Path:
    """What is remembered of the last runs."""
    return _folder("state", platformdirs.user_state_path)


def log_folder() -> Path:
    """The log files."""
    return _folder("logs", platformdirs.user_log_path)


def ensure_folder(folder: Path) -> Path:
    """Create `folder` with its parents.

    Raises:
        LmtuiError: it can't be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise unwritable(folder)
    return folder


def unwritable(folder: Path, error: OSError | None = None) -> LmtuiError:
    """The error for a folder of ours that can't be written to."""
    reason = f" ({error.strerror})" if error and error.strerror else ""
    return LmtuiError(
        "this folder can't be written to",
        f"{folder}{reason}",
        "Make it writable, free some space, or set LMTUI_HOME to another folder.",
    )


def write_atomically(
    target: Path, data: bytes, *, like: Path | None = None, private: bool = True
) -> None:
    """Replace `target` by `data`, whole or not at all, through a synced temporary.

    The new file is the user's alone; with `private=False` it is as open as the umask
    lets it be. With `like` it takes owner, permissions and attributes of that file,
    as far as the system allows.
    """
    # Short, because a long name has no room for more.
    temporary = target.parent / f".{target.name[:40]}.{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600 if private or like else 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            if like:
                _take_after(like, temporary)
            file.write(data)
            file.flush()
            os.utime(file.fileno())
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _take_after(model: Path, file: Path) -> None:
    """Give `file` what `model` has beside its bytes; what isn't allowed is left out."""
    wanted = model.stat()
    for owner in ((wanted.st_uid, wanted.st_gid), (-1, wanted.st_gid)):
        with suppress(OSError):
            os.chown(file, *owner)
            break
    with suppress(OSError):
        shutil.copystat(model, file)
        mode, given = stat.S_IMODE(wanted.st_mode), file.stat()
        if given.st_gid != wanted.st_gid:
            # What one group was allowed, another is only where everybody is.
            mode = mode & ~0o070 | (mode & 0o007) << 3
        if (given.st_uid, given.st_gid) != (wanted.st_uid, wanted.st_gid):
            file.chmod(mode & 0o777)


def sync_folder(folder: Path) -> None:
    """Let a rename reach the disk; not every file system can be asked to."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in `parent`, removed at the end whatever happens.

    Its name carries the process id, so that one left by a killed process is
    recognised and removed by the next.
    """
    for stale in parent.glob(".scratch-*-*"):
        if not _alive(stale.name.split("-")[1]):
            shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f".scratch-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return True
