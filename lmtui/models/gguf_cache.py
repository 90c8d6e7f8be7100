"""GGUF files as ordinary models, kept for the next start.

Owns the dequantised copies: one folder for each file's SHA-256 and dtype, with
safetensors and tokenizer.json, complete or absent. Reading a GGUF file takes many
seconds, its copy a fraction of one. Torch and transformers are imported inside
the functions: they take seconds, and a cache that is complete needs neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models import digests, disk, sealed
from lmtui.models.folder import read_folder
from lmtui.models.folder_sizes import require_small
from lmtui.models.foreign import refuse_incomplete
from lmtui.models.gguf_alone import alone
from lmtui.models.gguf_header import GgufHeader
from lmtui.models.gguf_reading import read_once
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.quiet import offline, quiet

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Dequantised:
    """What became of a GGUF file: a folder, or a model in memory without one."""

    folder: Path | None
    """Where it is kept; None when it could not be."""
    model: Any = None
    """The model, when it was made just now and could not be kept."""
    tokenizer: Any = None


def cache_root() -> Path:
    """Where the copies are."""
    return sealed.root("gguf")


def cached_folder(file: Path, dtype: str, on_progress: OnProgress) -> Path | None:
    """The complete copy of `file` in `dtype` (`float32`, …), or None.

    Raises:
        LmtuiError: the file can't be read.
    """
    folder = _folder(digests.file_digest(file, on_progress), dtype)
    if not sealed.is_complete(folder, _made_by()):
        return None
    seen = sealed.identity(folder)
    try:
        whole = bool(read_folder(folder).weights)
    except LmtuiError:
        whole = False
    if not whole:
        sealed.discard(folder, seen)
    return folder if whole else None


def dequantise(
    header: GgufHeader, dtype: torch.dtype, on_progress: OnProgress
) -> Dequantised:
    """Read a file into `dtype` and keep the result, if it can be kept.

    A full disk or an unwritable cache costs a warning, not the model.

    Raises:
        LmtuiError: transformers can't read this file.
    """
    file, name = header.path, str(dtype).removeprefix("torch.")
    folder = _folder(digests.file_digest(file, on_progress), name)
    model, tokenizer = _read(header, dtype, on_progress)
    on_progress(Progress(f"keeping {file.name} for the next start"))
    try:
        _keep(model, tokenizer, folder, file.name)
    except Exception as error:  # whatever it was, the model itself is fine
        on_progress(Progress(_not_kept(file, error), warning=True, unkept=True))
        return Dequantised(None, model, tokenizer)
    return Dequantised(folder)


def _folder(digest: str, dtype: str) -> Path:
    return cache_root() / f"{digest}-{dtype}"


def _made_by() -> dict[str, str]:
    """Its reading of GGUF changes now and then; a copy of another one is remade."""
    import importlib.metadata

    return {"transformers": importlib.metadata.version("transformers")}


def _read(
    header: GgufHeader, dtype: torch.dtype, on_progress: OnProgress
) -> tuple[Any, Any]:
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoTokenizer,
        GgufConfig,
    )

    file = header.path
    what = f"dequantising {file.name}, once"
    on_progress(Progress(what))
    with (
        alone(file) as folder,
        read_once(header),
        quiet(),
        offline(),
        _bars(what, on_progress),
    ):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, gguf_file=file.name, local_files_only=True, trust_remote_code=False
        )
        config = AutoConfig.from_pretrained(
            folder, gguf_file=file.name, local_files_only=True, trust_remote_code=False
        )
        require_small(config, header.parameters, file)
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            output_loading_info=True,
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
        )
    refuse_incomplete(info, file)
    return model.eval(), tokenizer


@contextmanager
def _bars(what: str, on_progress: OnProgress) -> Iterator[None]:
    """Turn the bar that transformers draws while it dequantises into reports.

    That bar obeys no switch, so it is replaced where it is looked up.
    """
    import transformers.modeling_gguf_pytorch_utils as reader

    def counted(items: Iterable[Any], *_: object, **__: object) -> Iterator[Any]:
        everything = list(items)
        for done, item in enumerate(everything):
            on_progress(Progress(what, done, len(everything), unit="tensors"))
            yield item

    before = getattr(reader, "tqdm", None)
    reader.tqdm = counted
    try:
        yield
    finally:
        reader.tqdm = before


def _keep(model: Any, tokenizer: Any, folder: Path, source: str) -> None:
    root = paths.ensure_folder(folder.parent)
    need = sum(p.numel() * p.element_size() for p in model.parameters())
    disk.require_space(root, need)
    with paths.scratch_folder(root) as scratch, quiet():
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        sealed.seal(scratch, folder, source=source, made_by=_made_by())


def _not_kept(file: Path, error: Exception) -> str:
    why = "the disk is full" if disk.is_disk_full(error) else str(error)
    return f"{file.name} can't be kept for a faster next start: {why}"
