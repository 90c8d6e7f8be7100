"""Load the model of a GGUF file for transformers, with its weights left in the file
where that is wanted.

Nothing of the weights is written to the disk; the tokenizer, which takes seconds to
make, is kept in the cache.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from lmtui import cache_dir
from lmtui.kernels.gguf_formats import FORMATS
from lmtui.kernels.gguf_matmul import GgufMatmulKernel
from lmtui.models import hardware, memory
from lmtui.models.blocks.build import Placement, Weights, build
from lmtui.models.config_check import require_small
from lmtui.models.digests import model_digest
from lmtui.models.errors import offline, quiet, wrap_load_errors
from lmtui.models.gguf.config import require_scaled
from lmtui.models.gguf.families import family_of, gguf_config
from lmtui.models.gguf.generation import generation_config
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.tokenizer import library_tokenizer_of, read_tokenizer
from lmtui.models.llama import cache
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.load import why_no_blocks
from lmtui.models.llama.mapped import SHORT, checked_kernel, formats_in, library_for
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.source import short_label
from lmtui.models.tokenizer_json import TokenizersTokenizer, library_tokenizer

_HEAD = 64  # attention is torch's here; the library for such heads is the usual one


def load_in_blocks(
    name: str, header: GgufHeader, on_progress: OnProgress
) -> LoadedModel:
    """Load the model of a file so that it multiplies the file's blocks, on the CPU.

    Raises:
        NotSupported: this machine can't.
        LmtuiError: the file can't be used.
    """
    family_of(header)
    if header.dtype in ("F32", "F64"):
        raise NotSupported(f"its weights are {header.dtype}, not quantised")
    if why := why_no_blocks():
        raise NotSupported(why)
    have = hardware.available_ram()
    memory.require_mapped(header.parameters, header.bytes, have)
    kernel, cpu = _kernel(name, header, on_progress), torch.device("cpu")
    placement = Placement(Weights.BLOCKS, kernel, torch.float32, cpu)
    loaded = _load(name, header, placement, on_progress)
    loaded.model.number_format = header.dtype
    return replace(loaded, precision="fast", in_blocks=True)


def load_unpacked(
    name: str,
    header: GgufHeader,
    device: torch.device,
    dtype: torch.dtype,
    on_progress: OnProgress,
    *,
    holds: bool,
) -> LoadedModel:
    """Load the model of a file so that it multiplies float32 or 16-bit weights: held in
    memory, or unpacked for each pass where they would take too much of it and need not
    be held."""
    family_of(header)
    name_of_dtype = str(dtype).removeprefix("torch.")
    kernel = None
    with suppress(NotSupported):  # slower, then
        kernel = None if why_no_blocks() else _kernel(name, header, on_progress)
    have, count = hardware.available_ram(), header.parameters
    holds |= device.type != "cpu" or dtype != torch.float32
    if kernel and not (holds or memory.fits_unpacked(count, header.dtype, have)):
        memory.require_mapped(header.parameters, header.bytes, have)
        placement = Placement(Weights.PER_PRODUCT, kernel, dtype, device)
        loaded = _load(name, header, placement, on_progress)
        return replace(loaded, in_blocks=True, unpacked=4 * count)
    have = min(have, hardware.available_memory(device))
    memory.require_memory(count, name_of_dtype, have, where=str(device))
    placement = Placement(Weights.IN_MEMORY, kernel, dtype, device)
    return _load(name, header, placement, on_progress)


def _kernel(name: str, header: GgufHeader, on_progress: OnProgress) -> GgufMatmulKernel:
    """Return the products with the blocks of a file, compiled first where necessary.

    Raises:
        NotSupported: they can't be compiled.
    """
    formats = [each for each in formats_in(header) if each in FORMATS]
    with ThreadPoolExecutor(1) as aside:
        compiling = aside.submit(library_for, _HEAD)
        if not wait([compiling], SHORT).done:
            words = f"compiling kernels for {short_label(name)}, once"
            on_progress(Progress(words))
        return checked_kernel(compiling.result(), formats)


def _load(
    name: str, header: GgufHeader, placement: Placement, on_progress: OnProgress
) -> LoadedModel:
    what = f"loading {short_label(name)}"
    fast = placement.weights is Weights.BLOCKS
    tokenizer, generation = _tokenizer(name, header, on_progress, fast=fast)
    on_progress(Progress(what))
    with wrap_load_errors(str(header.path)), quiet(), offline():
        # Imported here: it takes seconds, and errors should come first.
        from transformers import CONFIG_MAPPING

        said = gguf_config(header)
        config = CONFIG_MAPPING[said.pop("model_type")](**said)
        require_small(config, header.parameters, header.path)
        require_scaled(config, header)
        model = build(header, config, placement, what, on_progress)
    for setting, value in generation.items():
        setattr(model.generation_config, setting, value)
    return LoadedModel(
        model=model.to(placement.device),
        tokenizer=tokenizer,
        name=name,
        folder=header.path.parent,
        device=placement.device,
        dtype=placement.dtype,
        precision="exact",
        threads=torch.get_num_threads(),
    )


def _tokenizer(
    name: str, header: GgufHeader, on_progress: OnProgress, *, fast: bool
) -> tuple[Any, dict[str, Any]]:
    """Return the tokenizer and the settings of generation, from the cache once they are
    there. Where it need not be fast, the tokenizer is one of transformers: a training
    saves it, and decodes with it."""
    read = TokenizersTokenizer if fast else library_tokenizer
    folder = cache.folder_of(model_digest(header.path, on_progress), "stored")
    for _ in range(2):  # once more where the folder is damaged
        if not cache.is_complete(folder):
            on_progress(Progress(f"preparing {short_label(name)}, once"))
            try:
                cache.convert(name, header, folder, lambda config, scratch: None)
            except NotSupported as error:
                on_progress(Progress(str(error), warning=True))
                break
        try:
            settings = json.loads((folder / cache.GENERATION).read_bytes())
            return read(folder), settings
        except (OSError, ValueError, KeyError):
            cache_dir.discard(folder)
    made = read_tokenizer(header)
    return library_tokenizer_of(made), generation_config(header, made)
