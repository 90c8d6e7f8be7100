"""Folders of the program's files, atomic writes into them, and their permissions.

Everything in them is readable for the user alone. Importing this module, or asking for
a folder, creates nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

import platformdirs

from lmtui.errors import LmtuiError

APP = "lmtui"


def home() -> Path | None:
    """Return the folder that `LMTUI_HOME` names, or None for the platform's folders."""
    value = os.environ.get("LMTUI_HOME")
    return expanded(value) if value else None


def expanded(name: str | Path) -> Path:
    """Return a path that the user named as an absolute one, `~` expanded."""
    # Not Path.expanduser, which raises for an unknown user.
    return Path(os.path.expanduser(name)).absolute()


def _folder(name: str, platform_folder: Callable[[str], Path]) -> Path:
    root = home()
    return root / name if root else platform_folder(APP)


def _beside_data(name: str) -> Path:
    return (home() or platformdirs.user_data_path(APP)) / name


def config_file() -> Path:
    """Return the path of `config.toml`, which need not exist."""
    root = home()
    return (root or platformdirs.user_config_path(APP)) / "config.toml"


def themes_folder() -> Path:
    """Return the folder of the user's own themes, which need not exist."""
    return config_file().parent / "themes"


def models_folder() -> Path:
    """Return the folder of downloaded models; no cache, since cleaners may empty
    that."""
    return _beside_data("models")


def adapters_folder() -> Path:
    """Return the folder of adapters, one folder each."""
    return _beside_data("adapters")


def runs_folder() -> Path:
    """Return the folder of training runs; beside the adapters, so that a rename moves a
    result there."""
    return _beside_data("runs")


def data_folder() -> Path:
    """Return the folder of the user's data, such as conversations."""
    return _folder("data", platformdirs.user_data_path)


def chats_file() -> Path:
    return data_folder() / "chats.db"


def cache_folder() -> Path:
    """Return the folder of files that can be made again: converted models, file
    digests."""
    return _folder("cache", platformdirs.user_cache_path)


def state_folder() -> Path:
    """Return the folder of state that outlasts a run, such as recent files."""
    return _folder("state", platformdirs.user_state_path)


def log_folder() -> Path:
    return _folder("logs", platformdirs.user_log_path)


def ensure_folder(folder: Path) -> Path:
    """Create a folder of the program with its parents, each readable for the user
    alone.

    This also applies to the program's own folders made by an older version. The folder
    that `LMTUI_HOME` names keeps its mode, as does that of the models, which may hold
    files of the user's own.

    Raises:
        LmtuiError: it can't be created or written to.
    """
    for part in _within_ours(folder):
        make_private(part)
    try:
        make_folder(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    return _usable(folder)


def ensure_users_folder(folder: Path) -> Path:
    """Create a folder that the user named, with its parents, with the permissions of
    the umask.

    Raises:
        LmtuiError: it can't be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return _usable(folder)


def new_path(out: Path) -> Path:
    """Return a path that the user named as an absolute one.

    Raises:
        LmtuiError: it exists.
    """
    out = expanded(out)
    if os.path.lexists(out):
        raise LmtuiError("this path already exists", str(out), "Give another path.")
    return out


def make_folder(folder: Path) -> None:
    """Create a folder with its parents, each readable for the user alone.

    Raises:
        OSError: it can't be created.
    """
    if folder.is_dir():
        return
    try:
        folder.mkdir(0o700)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_folder(folder.parent)
        folder.mkdir(0o700, exist_ok=True)
    except FileExistsError:  # another process has made it meanwhile
        if not folder.is_dir():
            raise
    folder.chmod(0o700)  # the umask may have removed permissions


def _usable(folder: Path) -> Path:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise unwritable(folder)
    return folder


def _within_ours(folder: Path) -> list[Path]:
    """Return the folders on the way to `folder` that only the program makes, the
    outermost first; the list ends before the first link."""
    if folder.is_relative_to(models_folder()):
        return []
    ours = (
        *(data_folder(), cache_folder(), state_folder(), log_folder()),
        *(adapters_folder(), runs_folder()),
    )
    way = [*reversed(folder.parents), folder]
    inside = (part for part in way if any(part.is_relative_to(each) for each in ours))
    return list(takewhile(lambda part: not part.is_symlink(), inside))


def make_private(path: Path) -> None:
    """Remove other users' permissions from a file or a folder. A link is not followed,
    and files of another user stay as they are."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(OSError):
        if _excess(path.lstat()):  # only opened where needed: it may be locked
            handle = os.open(path, flags)
            try:
                found = os.fstat(handle)
                os.fchmod(handle, stat.S_IMODE(found.st_mode) & ~_excess(found))
            finally:
                os.close(handle)


def make_all_private(folder: Path) -> None:
    """Make a folder private with everything in it, and the program's own folders above
    it."""
    for part in _within_ours(folder.parent):
        make_private(part)
    if folder.is_symlink():
        return
    make_private(folder)
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            make_private(Path(where, name))


def _excess(info: os.stat_result) -> int:
    """Return the mode bits that a file or folder of the program should not have: all of
    group and others, and execution of a file."""
    if info.st_uid != os.geteuid():
        return 0
    if stat.S_ISDIR(info.st_mode):
        return info.st_mode & 0o077
    return info.st_mode & 0o177 if stat.S_ISREG(info.st_mode) else 0


def open_private(path: str | Path, flags: int) -> int:
    """Open a file of the program for the user alone; an `opener` for files that are
    written in place. The target of a link keeps its mode."""
    handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
    with suppress(OSError):
        if not os.path.islink(path) and stat.S_ISREG(os.fstat(handle).st_mode):
            os.fchmod(handle, 0o600)
    return handle


def unwritable(folder: Path, error: OSError | None = None) -> LmtuiError:
    reason = f" ({error.strerror})" if error and error.strerror else ""
    return LmtuiError(
        "this folder can't be written to",
        f"{folder}{reason}",
        "Make it writable, free some space, or set LMTUI_HOME to another folder.",
    )


def write_atomically(
    target: Path, data: bytes, *, like: Path | None = None, private: bool = True
) -> None:
    """Replace `target` by `data`, completely or not at all, through a synced temporary
    file.

    The new file is readable for the user alone; with `private=False` it has the
    permissions of the umask. With `like` it takes owner, permissions and attributes of
    that file, as far as the system allows.
    """
    # Shortened, because a long name leaves no room for the suffix.
    temporary = target.parent / f".{target.name[:40]}.{os.urandom(4).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600 if private or like else 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            if like:
                _take_after(like, temporary)
            elif private:
                # the umask may have removed permissions
                os.fchmod(file.fileno(), 0o600)
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
    """Copy owner, permissions and attributes of `model` to `file`, as far as
    allowed."""
    wanted = model.stat()
    for owner in ((wanted.st_uid, wanted.st_gid), (-1, wanted.st_gid)):
        with suppress(OSError):
            os.chown(file, *owner)
            break
    with suppress(OSError):
        shutil.copystat(model, file)
        mode, given = stat.S_IMODE(wanted.st_mode), file.stat()
        if given.st_gid != wanted.st_gid:
            # Another group gets its permissions only where all users have them.
            mode = mode & ~0o070 | (mode & 0o007) << 3
        if (given.st_uid, given.st_gid) != (wanted.st_uid, wanted.st_gid):
            file.chmod(mode & 0o777)


def seal(folder: Path) -> None:
    """Make a new folder private and write its files to the disk, before it gets its
    name.

    Raises:
        OSError: a file can't be written.
    """
    make_all_private(folder)  # also the files that libraries wrote
    for file in folder.iterdir():
        sync_file(file)
    sync_folder(folder)


def sync_file(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def sync_folder(folder: Path) -> None:
    """Sync a folder after a rename, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Let only one process at a time change what is in `folder`."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a temporary folder in `parent`, removed at the end in any case.

    Its name has the process id: the folders of killed processes are removed by the next
    call.
    """
    import psutil  # imported here: few runs need it

    for stale in parent.glob(".scratch-*-*"):
        if not psutil.pid_exists(int(stale.name.split("-")[1])):
            shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f".scratch-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
