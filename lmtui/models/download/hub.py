"""Models of the Hugging Face Hub: search of the local caches, and download.

Local caches come first, without any network. A download goes to lmtui's own folder
where LMTUI_HOME is set, else to the cache shared with other programs. Functions import
huggingface_hub, which takes a third of a second.
"""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.models.checkpoint import has_tokenizer, pickles_only, read_folder
from lmtui.models.progress import OnProgress, Progress, counted, ignore

# seconds until the Hub counts as out of reach, name resolution included
_PATIENCE = 2.2
# Small files first: a folder with complete weights then has everything else.
_SMALL = ["*.json", "*.jinja", "*.txt", "tokenizer.model", "*.tiktoken"]
_WEIGHTS = ["model*.safetensors"]
_BESIDES = ["*/*", "*.msgpack", "*.onnx"]


@dataclass(frozen=True, slots=True)
class LocalModel:
    hub_id: str
    folder: Path
    """The folder that holds all its snapshots."""
    bytes: int
    """The size on disk."""
    snapshot: Path | None
    """The complete snapshot that would be used; None where there is none."""


def download_folder() -> Path:
    """Return the folder for downloads: lmtui's own under LMTUI_HOME, else the shared
    one."""
    return paths.models_folder() / "hub" if paths.home() else _shared()


def caches() -> tuple[Path, ...]:
    """Return the caches to search, lmtui's own first."""
    return tuple(dict.fromkeys((download_folder(), _shared())))


def find_local(hub_id: str) -> Path | None:
    """Return a complete snapshot of `hub_id` on this machine, or None."""
    for cache in caches():
        snapshot = _complete(cache / _folder_name(hub_id))
        if snapshot is not None:
            return snapshot
    return None


def find_tokenizer(hub_id: str) -> Path | None:
    """Return a snapshot of `hub_id` on this machine that has a tokenizer, with or
    without weights; or None."""
    for cache in caches():
        snapshots = (cache / _folder_name(hub_id) / "snapshots").glob("*")
        complete = [snapshot for snapshot in snapshots if has_tokenizer(snapshot)]
        if complete:
            return max(complete, key=lambda path: path.stat().st_mtime)
    return None


def fetch_tokenizer(hub_id: str, on_progress: OnProgress = ignore) -> Path:
    """Fetch the small files of `hub_id`, and return the folder they are in."""
    from huggingface_hub import snapshot_download

    on_progress(Progress(f"fetching the tokenizer of {hub_id}"))
    target = _require_reachable(hub_id)
    with _explained(hub_id, target):
        folder = snapshot_download(
            hub_id,
            cache_dir=target,
            allow_patterns=_SMALL,
            ignore_patterns=_BESIDES,
            tqdm_class=_bar(lambda _: None),
        )
    if not has_tokenizer(Path(folder)):
        raise LmtuiError("this model has no tokenizer", hub_id)
    return Path(folder)


def local_models() -> Iterator[LocalModel]:
    """Yield every language model of the Hub with files here, complete or not."""
    for cache in caches():
        for folder in sorted(cache.glob("models--*--*")):
            snapshot = _complete(folder)
            if snapshot is not None or not _is_something_else(folder):
                hub_id = folder.name.removeprefix("models--").replace("--", "/", 1)
                yield LocalModel(hub_id, folder, _snapshot_size(folder), snapshot)


def bytes_of(hub_id: str) -> int:
    """Return how many bytes of `hub_id` are in the download folder already."""
    return _snapshot_size(download_folder() / _folder_name(hub_id))


def remove_folder(folder: Path, roots: tuple[Path, ...]) -> None:
    """Remove `folder`, which has to lie directly in one of `roots`; of a link, only the
    link."""
    if folder.parent not in roots or folder.name in ("", ".", ".."):
        raise LmtuiError(
            "only files in lmtui's own folders are removed",
            str(folder),
            "Remove it yourself if you are sure.",
        )
    try:
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise paths.unwritable(folder, error) from error


def _shared() -> Path:
    # Imported here: huggingface_hub takes a third of a second.
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).absolute()


def _folder_name(hub_id: str) -> str:
    return "models--" + hub_id.replace("/", "--")


def _complete(folder: Path) -> Path | None:
    """Return the snapshot that `main` names if it is complete, else the newest complete
    one."""
    try:
        main = (folder / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        main = ""
    try:
        snapshots = sorted(
            (folder / "snapshots").iterdir(),
            key=lambda path: (path.name == main, path.stat().st_mtime),
            reverse=True,
        )
    except OSError:
        return None
    return next((path for path in snapshots if _is_complete(path)), None)


def _is_complete(snapshot: Path) -> bool:
    try:
        return has_tokenizer(snapshot) and bool(read_folder(snapshot).weights)
    except (LmtuiError, OSError):
        return False


def _is_something_else(folder: Path) -> bool:
    """Return whether the folder has no snapshot with a config.json: a data set, or
    nothing."""
    snapshots = [path for path in folder.glob("snapshots/*") if path.is_dir()]
    return not any((path / "config.json").exists() for path in snapshots)


def _snapshot_size(folder: Path) -> int:
    """Return the size of the blobs in bytes; snapshots only link to them."""
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
        except OSError:
            continue
    return total


def is_reachable() -> bool:
    """Return whether the Hub answers soon, through any proxy."""
    # Imported before the clock runs: from a cold disk, that can take longer.
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    answer: queue.Queue[bool] = queue.Queue()

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
        except Exception:  # any error means that there was no answer
            answer.put(False)
        else:
            answer.put(True)

    # A daemon thread: name resolution can't be interrupted, only abandoned.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.get(timeout=_PATIENCE)
    except queue.Empty:
        return False


def download(hub_id: str, on_progress: OnProgress = ignore) -> Path:
    """Download what is not here of the model `hub_id`; return its folder."""
    target = _require_reachable(hub_id)
    with _explained(hub_id, target):
        total = _size(hub_id)
        cache_dir.require_space(target, total - bytes_of(hub_id))
        folder = _fetch(hub_id, target, total, on_progress)
        if paths.home():
            paths.make_all_private(target)
    read_folder(folder)
    return folder


def _require_reachable(hub_id: str) -> Path:
    """Return the folder to download to, once the Hub has answered."""
    from huggingface_hub import is_offline_mode

    if is_offline_mode() or not is_reachable():
        raise _out_of_reach(hub_id, offline=is_offline_mode())
    target = download_folder()
    if paths.home():
        paths.ensure_folder(target)
    return target


def _size(hub_id: str) -> int:
    """Return the size of the weights in bytes; fail where they are not safetensors."""
    from huggingface_hub import HfApi

    files = HfApi().model_info(hub_id, files_metadata=True, timeout=10).siblings or []
    sizes = {file.rfilename: file.size or 0 for file in files}
    weights = [name for name in sizes if name.endswith(".safetensors")]
    if not weights:
        raise _no_weights(hub_id, list(sizes))
    return sum(sizes[n] for n in weights if n.startswith("model") and "/" not in n)


def _fetch(hub_id: str, target: Path, total: int, on_progress: OnProgress) -> Path:
    from huggingface_hub import snapshot_download

    report = counted(f"fetching {hub_id}", total, on_progress)
    report(0)
    for patterns in (_SMALL, _WEIGHTS):
        folder = snapshot_download(
            hub_id,
            cache_dir=target,
            allow_patterns=patterns,
            ignore_patterns=_BESIDES,
            tqdm_class=_bar(report),
        )
    return Path(folder)


def _bar(report: Callable[[int], None]) -> type[Any]:
    """Return a class in place of huggingface_hub's progress bar, which reports the
    bytes and draws nothing."""
    from huggingface_hub.utils import tqdm

    class Reporting(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.counts_bytes = kwargs.get("unit") == "B"
            self.reported = 0
            kwargs["disable"] = True
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> None:
            if self.counts_bytes:
                self.reported += int(n or 0)
                report(self.reported)

    return Reporting


@contextmanager
def _explained(hub_id: str, target: Path) -> Iterator[None]:
    """Turn huggingface_hub's errors into LmtuiErrors."""
    try:
        yield
    except LmtuiError:
        raise
    except Exception as error:
        raise _explain(error, hub_id, target) from error


def _explain(error: Exception, hub_id: str, target: Path) -> LmtuiError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return LmtuiError(
            "this model requires that you agree to its terms",
            hub_id,
            "Agree on its page on the Hub, then log in with `hf auth login`.",
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return LmtuiError(
            "the Hub has no such model, or it is private",
            hub_id,
            "Check the spelling, or log in with `hf auth login`. A folder needs a "
            "path that exists.",
        )
    if cache_dir.is_disk_full(error):
        return cache_dir.disk_full(target)
    words = " ".join(str(error).split())[:300] or type(error).__name__
    return LmtuiError(
        "the model could not be fetched from the Hub",
        f"{hub_id}: {words}",
        "Try again; what has been downloaded is kept.",
    )


def _no_weights(hub_id: str, names: list[str]) -> LmtuiError:
    if any(name.endswith((".bin", ".pt", ".pth")) for name in names):
        return pickles_only(hub_id)
    gguf = any(name.endswith(".gguf") for name in names)
    return LmtuiError(
        "this Hub repository has no safetensors files",
        hub_id,
        f"Fetch one of its .gguf files with `hf download {hub_id} FILE` and name it."
        if gguf
        else "Use a repository that holds a model in safetensors.",
    )


def _out_of_reach(hub_id: str, *, offline: bool) -> LmtuiError:
    if offline:
        return LmtuiError(
            "this model is not on this machine and HF_HUB_OFFLINE forbids fetching it",
            hub_id,
            "Unset HF_HUB_OFFLINE, or use a model that `lmtui models list` shows here.",
        )
    return LmtuiError(
        "this model is not on this machine and the Hub can't be reached",
        hub_id,
        "Connect once to fetch it, or use a model that `lmtui models list` shows "
        "here. A folder needs a path that exists.",
    )
