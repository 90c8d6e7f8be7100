"""Conversion of GGUF files to dequantised copies for transformers, kept in the cache.

There is one folder for each SHA-256 and dtype, with safetensors and tokenizer.json.
Reading a GGUF file takes many seconds, its copy a fraction of one. Torch and
transformers take seconds to import, so that functions import them only when needed.
"""

from __future__ import annotations

import copy
import json
import mmap
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.models import digests
from lmtui.models.checkpoint import read_folder
from lmtui.models.config_check import require_small
from lmtui.models.errors import offline, quiet, refuse_incomplete, replaced
from lmtui.models.gguf.config import amend_config, require_scaled
from lmtui.models.gguf.generation import generation_config
from lmtui.models.gguf.header import (
    STRING,
    GgufArray,
    GgufHeader,
    GgufTensor,
    read_items,
)
from lmtui.models.gguf.tokenizer import (
    FIELDS_VERSION,
    GgufTokenizer,
    library_tokenizer_of,
    read_tokenizer,
    save_tokenizer,
)
from lmtui.models.progress import OnProgress, Progress

if TYPE_CHECKING:
    import torch

_Pair = Any  # a value of the header, or the items of an array: texts in one are bytes
_HIDDEN = ("gpt-oss.rope.scaling.", "gpt_oss.rope.scaling.")
"""Fields that transformers fails to read; `gguf/config` reads them."""
_ARRAY = 9
_KINDS = {bool: 7, int: 10, float: 12, str: STRING}
_OTHER_NAMES = {
    "gpt-oss": "gpt_oss",
    "minimax-m2": "minimax_m2",
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
}
"""Names in files, and those by which transformers lists what it reads."""
_NOT_RUN = {"general", "tokenizer", "mistral", "deci", "t5", "umt5"}
"""Entries of that list that are no architecture of a file, no causal model, or have no
model in transformers."""


@contextmanager
def folder_with_only(file: Path) -> Iterator[Path]:
    """Yield a temporary folder that holds nothing but a link to `file`."""
    with tempfile.TemporaryDirectory(prefix="lmtui-") as folder:
        os.symlink(file.resolve(), Path(folder) / file.name)
        yield Path(folder)


@contextmanager
def read_once(header: GgufHeader) -> Iterator[None]:
    """Let transformers take the header of this file from memory, and read no other
    file; and make its table of tensor names once.

    Its configuration and its tokenizer each parse the header anew, which takes seconds;
    their readers are replaced where transformers looks them up. Headers that are not
    all UTF-8, and versions of transformers that read elsewhere, keep the original
    readers.
    """
    here = _is_clean(header)
    try:
        import gguf
        import transformers.modeling_gguf_pytorch_utils as legacy
        from transformers.integrations import gguf as library
        from transformers.integrations.gguf import reader

        load = legacy.load_gguf_checkpoint
        # Otherwise it is made again for each module of a model.
        name_map = cache(gguf.get_tensor_name_map)
        here = here and library.read_gguf_metadata is reader.read_gguf_metadata
    except (ImportError, AttributeError):
        here = False
    if not here:
        yield
        return
    pairs = _pairs_of(header)

    def metadata(
        path: str, string_arrays: Collection[str] = ()
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        return library_metadata(header, pairs, string_arrays)

    @cache
    def checkpoint(path: str) -> dict[str, Any]:
        seen = {k: v for k, v in pairs.items() if not k.startswith(_HIDDEN)}
        with replaced(gguf, "GGUFReader", lambda path: FieldsReader(header, seen)):
            found: dict[str, Any] = load(path, return_tensors=False)
        return found

    def remembered(path: str, return_tensors: bool = False, **more: Any) -> Any:
        if return_tensors:
            whole = partial(_amended_reader, gguf.GGUFReader, pairs)
            with replaced(gguf, "GGUFReader", whole):
                return load(path, return_tensors=True, **more)
        # Callers take entries out of the configuration; none changes a list of tokens.
        known = checkpoint(path)
        return {**known, "config": copy.deepcopy(known["config"])}

    with ExitStack() as stack:
        stack.enter_context(replaced(gguf, "get_tensor_name_map", name_map))
        stack.enter_context(replaced(legacy, "load_gguf_checkpoint", remembered))
        for module in (reader, library):
            stack.enter_context(replaced(module, "read_gguf_metadata", metadata))
        yield


def _amended_reader(kind: Any, pairs: dict[str, _Pair], path: str) -> Any:
    """Return the `gguf` package's reader of a file, with numbers where `pairs` has
    numbers and the file lists of them."""
    reader = kind(path)
    for key in [key for key in reader.fields if key.startswith(_HIDDEN)]:
        del reader.fields[key]
    for key, field in reader.fields.items():
        if field.types[:1] == [_ARRAY] and not isinstance(pairs.get(key, []), list):
            reader.fields[key] = _field(pairs[key])
    return reader


def _is_clean(header: GgufHeader) -> bool:
    """Return whether all text in the header was UTF-8: U+FFFD replaces everything
    else."""
    names = (tensor.name for tensor in header.tensors)
    texts = (value for value in header.values.values() if isinstance(value, str))
    return not any("\ufffd" in text for text in (*header.pairs, *names, *texts))


def _pairs_of(header: GgufHeader) -> dict[str, _Pair]:
    """Return every pair in the order of the file, with the arrays read."""
    with (
        header.path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        return {
            key: read_items(value, data) if isinstance(value, GgufArray) else value
            for key, value in header.pairs.items()
        }


def library_metadata(
    header: GgufHeader, pairs: dict[str, _Pair], string_arrays: Collection[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what transformers' `read_gguf_metadata` returns: the pairs and the names
    of the tensors. An array of texts is only its length unless it is in
    `string_arrays`.

    Raises:
        ValueError: a text is not UTF-8, or the file has no architecture.
    """
    if "general.architecture" not in pairs:
        raise ValueError(f"{header.path} has no `general.architecture`")
    metadata = {}
    for key, value in pairs.items():
        array = header.pairs[key]
        if not isinstance(array, GgufArray):
            metadata[key] = value
        elif array.kind != STRING:
            metadata[key] = list(value)
        elif key in string_arrays:
            metadata[key] = [item.decode() for item in value]
        else:
            metadata[key] = array.count
    return metadata, tuple(tensor.name for tensor in header.tensors)


@dataclass(frozen=True, slots=True)
class GgufField:
    """A pair in the form of the `gguf` package: each item of `data` is an index into
    `parts`."""

    parts: list[Any]
    data: range
    types: list[int]


class FieldsReader:
    """A stand-in for the `gguf` package's reader, without the tensors' data."""

    def __init__(self, header: GgufHeader, pairs: dict[str, _Pair]) -> None:
        counts = {
            "GGUF.version": header.version,
            "GGUF.tensor_count": len(header.tensors),
            "GGUF.kv_count": len(pairs),
        }
        self.fields = {k: _field(v) for k, v in {**counts, **pairs}.items()}
        self.tensors: tuple[GgufTensor, ...] = header.tensors


def _field(value: _Pair) -> GgufField:
    if not isinstance(value, list):
        return GgufField([_part(value)], range(1), [_KINDS[type(value)]])
    first = value[:1]
    if first and isinstance(first[0], bytes):
        return GgufField(value, range(len(value)), [_ARRAY, STRING])
    kinds = [_KINDS[type(item)] for item in first]
    return GgufField([(item,) for item in value], range(len(value)), [_ARRAY, *kinds])


def _part(value: bool | int | float | str) -> Any:
    return value.encode() if isinstance(value, str) else (value,)


@dataclass(frozen=True, slots=True)
class Dequantised:
    """The result of dequantising a GGUF file: a cache folder, or else a model in
    memory."""

    folder: Path | None
    """The cache folder; None where it could not be written."""
    model: Any = None
    """The model, where the cache could not be written."""
    tokenizer: Any = None


def cache_root() -> Path:
    return cache_dir.root("gguf")


def cached_folder(file: Path, dtype: str, on_progress: OnProgress) -> Path | None:
    """Return the complete copy of `file` in `dtype` (`float32`, …), or None."""
    folder = _folder(digests.file_digest(file, on_progress), dtype)
    if not cache_dir.is_complete(folder, _provenance()):
        return None
    seen = cache_dir.identity(folder)
    try:
        whole = bool(read_folder(folder).weights)
    except LmtuiError:
        whole = False
    if not whole:
        cache_dir.discard(folder, seen)
    return folder if whole else None


def dequantise(
    header: GgufHeader, dtype: torch.dtype, on_progress: OnProgress
) -> Dequantised:
    """Read a GGUF file into `dtype` and cache the result. A full disk or an unwritable
    cache only costs a warning."""
    file, name = header.path, str(dtype).removeprefix("torch.")
    folder = _folder(digests.file_digest(file, on_progress), name)
    require_runnable(header)
    tokenizer = read_tokenizer(header)
    model = _read(header, dtype, on_progress)
    on_progress(Progress(f"saving {file.name} for the next start"))
    try:
        _store(model, tokenizer, folder, header)
    except Exception as error:  # whatever the error is, the model itself is fine
        on_progress(Progress(_cannot_store(file, error), warning=True, unkept=True))
        for name, value in generation_config(header, tokenizer).items():
            setattr(model.generation_config, name, value)
        return Dequantised(None, model, library_tokenizer_of(tokenizer))
    return Dequantised(folder)


def _folder(digest: str, dtype: str) -> Path:
    return cache_root() / f"{digest}-{dtype}"


def _provenance() -> dict[str, str]:
    """Return what decides the content of a copy: the version of transformers, whose
    reading of GGUF changes now and then, and that of our reading. A copy made by
    another version is made again."""
    import importlib.metadata

    library = importlib.metadata.version("transformers")
    return {"transformers": library, "gguf": FIELDS_VERSION}


def _read(header: GgufHeader, dtype: torch.dtype, on_progress: OnProgress) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

    file = header.path
    what = f"dequantising {file.name}, once"
    on_progress(Progress(what))
    with (
        folder_with_only(file) as folder,
        read_once(header),
        quiet(),
        offline(),
        _bars(what, on_progress),
    ):
        config = AutoConfig.from_pretrained(
            folder, gguf_file=file.name, local_files_only=True, trust_remote_code=False
        )
        require_small(config, header.parameters, file)
        amend_config(config, header)
        require_scaled(config, header)
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            output_loading_info=True,
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
        )
    refuse_incomplete(info, file)
    return model.eval()


@contextmanager
def _bars(what: str, on_progress: OnProgress) -> Iterator[None]:
    """Report the progress bar that transformers draws while it dequantises to
    `on_progress`.

    No option turns that bar off, so that it is replaced where transformers looks it up.
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


def _store(
    model: Any, tokenizer: GgufTokenizer, folder: Path, header: GgufHeader
) -> None:
    root = paths.ensure_folder(folder.parent)
    need = sum(p.numel() * p.element_size() for p in model.parameters())
    cache_dir.require_space(root, need)
    with paths.scratch_folder(root) as scratch, quiet():
        model.save_pretrained(scratch)
        save_tokenizer(tokenizer, scratch)
        # transformers refuses to write settings that go with sampling only.
        said = json.dumps(generation_config(header, tokenizer), indent=1)
        (scratch / "generation_config.json").write_text(said)
        source = header.path.name
        cache_dir.commit_dir(scratch, folder, source=source, made_by=_provenance())


def _cannot_store(file: Path, error: Exception) -> str:
    why = "the disk is full" if cache_dir.is_disk_full(error) else str(error)
    return f"{file.name} can't be kept for a faster next start: {why}"


def runnable() -> list[str]:
    """Return the architectures that transformers reads, by their names in files."""
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    listed = {*GGUF_CONFIG_ARCHS, *GGUF_SUPPORTED_ARCHITECTURES} - _NOT_RUN
    in_files = {theirs: ours for ours, theirs in _OTHER_NAMES.items()}
    return sorted(in_files.get(name, name) for name in listed)


def require_runnable(header: GgufHeader) -> None:
    known = runnable()
    if header.architecture not in known:
        raise LmtuiError(
            "this kind of model is not supported",
            f"{header.path}: its architecture is {header.architecture}",
            f"GGUF files of these run: {', '.join(known)}. For others, try the model's "
            "folder from the Hub.",
        )
