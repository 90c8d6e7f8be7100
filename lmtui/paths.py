"""Where the program keeps its files.

Owns the folders and the two ways of writing into them that can't leave half a
file. Nothing is created by importing this module or by asking for a folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def write_atomically(target: Path, data: bytes) -> None:
    """Replace `target` by `data`, whole or not at all, through a synced temporary."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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
