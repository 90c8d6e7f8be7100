"""Models of the Hugging Face Hub: search of the local caches, and download.

A model is a repository in safetensors, or one GGUF file of a repository. Local caches
come first, without any network. A download goes to lmtui's own folder where LMTUI_HOME
is set, else to the cache shared with other programs. Functions import huggingface_hub,
which takes a third of a second.
"""

from __future__ import annotations

import fnmatch
import os
import queue
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from lmtui import cache_dir, paths
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models import digests
from lmtui.models.checkpoint import has_tokenizer, pickles_only, read_folder
from lmtui.models.progress import OnProgress, Progress, counted, ignore

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

# seconds until the Hub counts as out of reach, name resolution included
_PATIENCE = 2.2
_SILENCE = 10.0  # seconds without a byte until a connection counts as lost
_LOCKED = 0.2  # seconds to wait for another program's download
_CHUNK = 1 << 18  # bytes
# Small files first: a folder with complete weights then has everything else.
_SMALL = ["*.json", "*.jinja", "*.txt", "tokenizer.model", "*.tiktoken"]
_WEIGHTS = "model*.safetensors"
_BESIDES = ["*/*", "*.msgpack", "*.onnx"]

_TAGS = ("Q4_K_M", "Q8_0", "")
"""The quantisations of a GGUF file that are looked for where none is named: a good one
of four bits, the nearest to the original, any."""
_NO_MODEL = re.compile(r"mmproj|imatrix|mtp-|eagle3-|dflash-|dspark-")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model on this machine."""

    name: str
    """The value for `--model`; for a copy, the name of the GGUF file."""
    kind: Literal["default", "hub", "packed", "own"]
    path: Path
    """The file or the folder; of a repository, the one that holds all snapshots."""
    bytes: int
    """The size on disk."""
    complete: bool = True
    """Whether it can be used as it is."""


def download_folder() -> Path:
    """Return the folder for downloads: lmtui's own under LMTUI_HOME, else the shared
    one."""
    return paths.models_folder() / "hub" if paths.home() else _shared()


def caches() -> tuple[Path, ...]:
    """Return the caches to search, lmtui's own first."""
    return tuple(dict.fromkeys((download_folder(), _shared())))


def find_local(hub_id: str, file: str = "") -> Path | None:
    """Return where a model of the Hub is on this machine, or None: a complete snapshot
    of `hub_id`, or the GGUF file of it that `choose_file` finds in the cache."""
    for cache in caches():
        folder = cache / _folder_name(hub_id)
        if not file and (snapshot := _complete(folder)):
            return snapshot
        here = _gguf_files(folder)
        if chosen := choose_file(here, file):
            return here[chosen]
    return None


def choose_file(names: Iterable[str], wanted: str = "") -> str | None:
    """Return the GGUF file among the files of a repository that `wanted` means, or
    None: a name, a quantisation such as `q4_k_m`, or nothing for the usual ones. Files
    beside a model (vision, drafts) and files in parts are none; the rest as
    llama.cpp's `-hf` chooses."""
    files = [name for name in names if _is_gguf_model(name)]
    if wanted.endswith(".gguf"):
        return wanted if wanted in files else None
    for tag in (wanted,) if wanted else _TAGS:
        in_name = re.compile(re.escape(tag) + "[.-]", re.IGNORECASE)
        if chosen := next(filter(in_name.search, files), None):
            return chosen
    return None


def _is_gguf_model(name: str) -> bool:
    file = PurePath(name).name
    aside = _NO_MODEL.search(file) or _PART.search(file)
    return file.endswith(".gguf") and not aside


def _gguf_files(folder: Path) -> dict[str, Path]:
    """Return the GGUF files in the snapshots of a repository's folder by their names in
    the repository. A snapshot links to blobs, and only to whole ones."""
    found: dict[str, Path] = {}
    for snapshot in _snapshots(folder):
        for path in sorted(snapshot.rglob("*.gguf")):
            if path.is_file():
                found.setdefault(path.relative_to(snapshot).as_posix(), path)
    return found


def find_tokenizer(hub_id: str) -> Path | None:
    """Return a snapshot of `hub_id` on this machine that has a tokenizer, with or
    without weights; or None."""
    folders = (cache / _folder_name(hub_id) for cache in caches())
    snapshots = (path for folder in folders for path in _snapshots(folder))
    return next(filter(has_tokenizer, snapshots), None)


def fetch_tokenizer(hub_id: str, on_progress: OnProgress = ignore) -> Path:
    """Fetch the small files of `hub_id`, and return the folder they are in."""
    on_progress(Progress(f"fetching the tokenizer of {hub_id}"))
    target = _require_reachable(hub_id)
    with _explained(hub_id, target):
        folder = _fetch_small(hub_id, target)
    if not has_tokenizer(folder):
        raise LmtuiError("this model has no tokenizer", hub_id)
    return folder


def local_models() -> Iterator[StoredModel]:
    """Yield every language model of the Hub with files here, complete or not."""
    for cache in caches():
        for folder in sorted(cache.glob("models--*--*")):
            hub_id = folder.name.removeprefix("models--").replace("--", "/", 1)
            files = filter(
                lambda item: _is_gguf_model(item[0]), _gguf_files(folder).items()
            )
            models = [
                StoredModel(f"{hub_id}:{name}", "hub", path, path.stat().st_size)
                for name, path in files
            ]
            yield from models
            complete = _complete(folder) is not None
            if complete or not (models or _is_something_else(folder)):
                size = _snapshot_size(folder)
                yield StoredModel(hub_id, "hub", folder, size, complete)


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


def remove_file(file: Path) -> None:
    """Remove a GGUF file of a cache and what it links to; the repository's folder, too,
    once no file of it is left."""
    folder = next(above for above in file.parents if above.parent in caches())
    try:
        blob = file.resolve()
        file.unlink()
        if blob.is_relative_to(folder.resolve()):
            blob.unlink(missing_ok=True)
    except OSError as error:
        raise paths.unwritable(file, error) from error
    if not any(path.is_file() for path in folder.glob("snapshots/**/*")):
        remove_folder(folder, caches())


def _shared() -> Path:
    # Imported here: huggingface_hub takes a third of a second.
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).absolute()


def _folder_name(hub_id: str) -> str:
    return "models--" + hub_id.replace("/", "--")


def _complete(folder: Path) -> Path | None:
    """Return the first complete snapshot of a repository's folder."""
    return next((path for path in _snapshots(folder) if _is_complete(path)), None)


def _snapshots(folder: Path) -> list[Path]:
    """Return the snapshots of a repository's folder: the one that `main` names, then
    from the newest to the oldest."""
    try:
        main = (folder / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        main = ""
    try:
        return sorted(
            (folder / "snapshots").iterdir(),
            key=lambda path: (path.name == main, path.stat().st_mtime),
            reverse=True,
        )
    except OSError:
        return []


def _is_complete(snapshot: Path) -> bool:
    try:
        return has_tokenizer(snapshot) and bool(read_folder(snapshot).weights)
    except (LmtuiError, OSError):
        return False


def _is_something_else(folder: Path) -> bool:
    """Return whether the folder has neither a snapshot with a config.json nor a file
    whose download was interrupted: a data set, or nothing."""
    of_models = (
        *folder.glob("snapshots/*/config.json"),
        *folder.glob("blobs/*.incomplete"),
    )
    return not of_models


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


def download(hub_id: str, on_progress: OnProgress = ignore, *, file: str = "") -> Path:
    """Download what is not here of a model: the files of `hub_id` in safetensors, or
    the GGUF file that `choose_file` finds; return the folder or the file."""
    from huggingface_hub import HfApi

    target = _require_reachable(hub_id)
    with _explained(hub_id, target):
        # 1) the files that hold the model
        about = HfApi().model_info(hub_id, files_metadata=True, timeout=10)
        files = {each.rfilename: each for each in about.siblings or []}
        top = [] if file else [name for name in files if "/" not in name]
        weights = fnmatch.filter(top, _WEIGHTS)
        chosen = None if weights else choose_file(files, file)
        if not (weights or chosen):
            raise _no_weights(hub_id, file, list(files))
        wanted = [files[name] for name in weights or [str(chosen)]]
        # 2) what of them is here
        total = sum(each.size or 0 for each in wanted)
        blobs = [_blob(hub_id, each, target) for each in wanted]
        cache_dir.require_space(target, total - _bytes_of(*blobs))
        # 3) the small files, then the weights
        tell = counted(f"fetching {chosen or hub_id}", total, on_progress)
        tell(_bytes_of(*blobs))
        if weights:
            _fetch_small(hub_id, target)
        for each, blob in zip(wanted, blobs, strict=True):
            place = _fetch(
                hub_id, each, blob, lambda: tell(_bytes_of(*blobs)), on_progress
            )
        if paths.home():
            paths.make_all_private(target)
    if chosen:
        return place
    read_folder(place.parent)
    return place.parent


def _fetch(
    hub_id: str,
    file: RepoSibling,
    blob: Path,
    report: Callable[[], None],
    on_progress: OnProgress,
) -> Path:
    """Download a file of a repository, after what an interrupted download has left, and
    check it; return its place in the snapshot.

    huggingface_hub's own download begins anew each time, checks the size alone, and
    can't be cancelled.
    """
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.utils import WeakFileLock

    cache = blob.parents[2]
    if not blob.exists():
        lock = cache / ".locks" / blob.parents[1].name / f"{blob.name}.lock"
        for folder in (lock.parent, blob.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock, timeout=_LOCKED):
            part = _part_of(blob)
            url = hf_hub_url(hub_id, file.rfilename)
            while (before := _size(part)) < (file.size or 0):
                _append(url, part, file.size or 0, report)
                if _size(part) <= before:
                    break
            try:
                what = f"the {file.rfilename} of the Hub"
                digests.require(part, blob.name, what, on_progress)
            except LmtuiError:
                part.unlink()
                raise
            os.replace(part, blob)
            digests.remember(blob, blob.name)
    place: str = hf_hub_download(hub_id, file.rfilename, cache_dir=cache)
    return Path(place)


def _append(url: str, part: Path, size: int, report: Callable[[], None]) -> None:
    """Add to `part` what it lacks of the file at `url`. A connection that is lost after
    some bytes is no error."""
    import httpx2
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    before = _size(part)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    headers["Range"] = f"bytes={before}-"
    how: dict[str, Any] = {"follow_redirects": True, "timeout": _SILENCE}
    try:
        with httpx2.stream("GET", url, headers=headers, **how) as answer:
            hf_raise_for_status(answer)
            is_rest = answer.status_code == HTTPStatus.PARTIAL_CONTENT
            with part.open("ab" if is_rest else "wb") as out:
                for chunk in answer.iter_bytes(_CHUNK):
                    out.write(chunk)
                    report()
                    if out.tell() > size:
                        return
    except httpx2.TransportError:
        if _size(part) <= before:
            raise


def _blob(hub_id: str, file: RepoSibling, cache: Path) -> Path:
    """Return where the cache keeps a file, under its SHA-256."""
    if file.lfs is None or not _SHA256.fullmatch(file.lfs.sha256):
        raise LmtuiError(
            "the Hub states no SHA-256 of this file",
            f"{hub_id}: {file.rfilename}",
            "Fetch it with `hf download` and give its path.",
        )
    return cache / _folder_name(hub_id) / "blobs" / str(file.lfs.sha256)


def _part_of(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _bytes_of(*blobs: Path) -> int:
    """Return how many bytes of the blobs are here."""
    return sum(_size(blob) + _size(_part_of(blob)) for blob in blobs)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _require_reachable(hub_id: str) -> Path:
    """Return the folder to download to, once the Hub has answered."""
    from huggingface_hub import is_offline_mode

    if is_offline_mode() or not is_reachable():
        raise _out_of_reach(hub_id, offline=is_offline_mode())
    target = download_folder()
    if paths.home():
        paths.ensure_folder(target)
    return target


def _fetch_small(hub_id: str, target: Path) -> Path:
    """Download the small files of a repository; return their folder."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    folder = snapshot_download(
        hub_id,
        cache_dir=target,
        allow_patterns=_SMALL,
        ignore_patterns=_BESIDES,
    )
    return Path(folder)


@contextmanager
def _explained(hub_id: str, target: Path) -> Iterator[None]:
    """Turn huggingface_hub's errors into LmtuiErrors."""
    try:
        yield
    except (LmtuiError, Cancelled):
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
    if isinstance(error, TimeoutError):  # of the lock
        return LmtuiError(
            "another program is fetching this model",
            hub_id,
            "Try again once it has ended.",
        )
    words = " ".join(str(error).split())[:300] or type(error).__name__
    return LmtuiError(
        "the model could not be fetched from the Hub",
        f"{hub_id}: {words}",
        "Try again; what has been downloaded is kept.",
    )


def _no_weights(hub_id: str, wanted: str, names: list[str]) -> LmtuiError:
    """Return the error for a repository of these files without the one that is
    wanted."""
    whole = {_PART.sub(".gguf", name) for name in names if _PART.search(name)}
    if choose_file(whole, _PART.sub(".gguf", wanted)):
        return LmtuiError(
            "a GGUF file in several parts can't be read",
            f"{hub_id}:{wanted}" if wanted else hub_id,
            "Use a smaller quantisation, or join the parts with llama-gguf-split.",
        )
    if files := [name for name in names if _is_gguf_model(name)]:
        return LmtuiError(
            "this Hub repository has no such GGUF file",
            f"{hub_id}:{wanted}",
            f"It has {', '.join(files)}.",
        )
    if any(name.endswith((".bin", ".pt", ".pth")) for name in names):
        return pickles_only(hub_id)
    return LmtuiError(
        "this Hub repository holds no language model",
        hub_id,
        "Use one with model.safetensors or a .gguf file.",
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
