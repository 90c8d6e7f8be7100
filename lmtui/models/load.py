"""Load a model: find its source, check its files and the memory, and read it.

Torch and transformers take seconds to import, so that functions import them when
needed: most errors come before.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtui.errors import LmtuiError
from lmtui.models import hardware, memory, source
from lmtui.models.adapters import folders
from lmtui.models.adapters.folders import Adapter
from lmtui.models.checkpoint import ModelFolder, has_tokenizer
from lmtui.models.config_check import read_model, refuse_leftover, require_small
from lmtui.models.download import default_model, hub
from lmtui.models.errors import (
    offline,
    quiet,
    refuse_incomplete,
    refuse_other_kinds,
    without_labels,
    wrap_load_errors,
)
from lmtui.models.gguf.config_check import read_gguf_model, require_whole
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.loaded_model import LoadedModel, LoadOptions
from lmtui.models.model_info import facts_of
from lmtui.models.progress import OnProgress, Progress, ignore
from lmtui.models.source import Quantize, short_label
from lmtui.models.tokenizer_json import library_tokenizer

if TYPE_CHECKING:
    import torch


def load(
    spec: str | None = None,
    *,
    adapter: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    quantize: Quantize = "none",
    threads: int | None = None,
    on_progress: OnProgress = ignore,
) -> LoadedModel:
    """Load the model that `spec` names, with an adapter. None is the adapter's base
    model, or else the default model.

    Downloads it first where necessary. While it loads, no library uses the network,
    prints, or runs code that came with a model.

    Raises:
        LmtuiError: there is no such model or adapter, they don't belong together, or
            can't be fetched or used here.
    """
    how = LoadOptions(device, dtype, quantize, threads, on_progress)
    return _load_wanted(spec, adapter, how)


def load_pair(
    spec: str | None, *, adapter: str | None, other: str, how: LoadOptions
) -> tuple[LoadedModel, LoadedModel]:
    """Load a model, with `adapter` or without one, and the same model with `other`.
    They share the weights, unless an adapter is a whole model."""
    own = folders.find(adapter) if adapter else None
    added = folders.find(other)
    if added.is_whole or (own and own.is_whole):
        plain = spec if spec or own else folders.name_of_base(added)
        return _load_wanted(plain, adapter, how), _load_wanted(spec, other, how)
    base = _load_base(own or added, spec, how)
    if own:
        meant = source.resolve(spec) if spec else folders.model_for(own)
        _locate_base(added, meant, how.on_progress)
    if base.is_mapped:
        from lmtui.models.llama.load import with_adapter

        halves = [with_adapter(base, e, how) if e else base for e in (own, added)]
        match halves:
            case [LoadedModel() as first, LoadedModel() as second]:
                return first, second
        why = next(halve for halve in halves if isinstance(halve, str))
        base = _load_held(own or added, spec, how, why)
    return _beside(base, own, how) if own else base, _beside(base, added, how)


def _beside(base: LoadedModel, adapter: Adapter, how: LoadOptions) -> LoadedModel:
    from lmtui.models.adapters import merge

    how.on_progress(Progress(f"adding {adapter.name}"))
    beside = merge.with_adapter(base, adapter)
    _warn_unproven(adapter, base, how)
    return beside


def _load_wanted(
    spec: str | None, adapter: str | None, how: LoadOptions
) -> LoadedModel:
    if adapter is None:
        model_source = source.resolve(spec)
        return _load(model_source.name, locate(model_source, how.on_progress), how)
    fitted = folders.find(adapter)
    if fitted.is_whole:
        return replace(_load_whole(fitted, spec, how), adapter=fitted.name)
    base = _load_base(fitted, spec, how)
    if base.is_mapped:
        from lmtui.models.llama.load import with_adapter

        beside = with_adapter(base, fitted, how)
        if isinstance(beside, LoadedModel):
            return beside
        base = _load_held(fitted, spec, how, beside)
    # Imported here: it needs torch, and most errors come before.
    from lmtui.models.adapters import merge

    how.on_progress(Progress(f"adding {fitted.name}"))
    model = merge.merged(base.model, fitted)
    _warn_unproven(fitted, base, how)
    return replace(base, model=model, adapter=fitted.name)


def _load_held(
    adapter: Adapter, spec: str | None, how: LoadOptions, why: str
) -> LoadedModel:
    """Load the base model of an adapter that can't stand beside its blocks, and `why`
    not, with its weights in memory."""
    held = replace(how, dtype="float32", quantize="none")
    return replace(_load_base(adapter, spec, held), why=why)


def load_base(
    adapter: Adapter, spec: str | None = None, *, on_progress: OnProgress = ignore
) -> LoadedModel:
    """Load the base model of an adapter, in float32 on the CPU. Where `spec` names a
    model, it has to be that one."""
    return _load_base(
        adapter, spec, LoadOptions("cpu", "float32", "none", None, on_progress)
    )


def _load_base(adapter: Adapter, spec: str | None, how: LoadOptions) -> LoadedModel:
    model_source = folders.model_for(adapter) if spec is None else source.resolve(spec)
    base = _load(
        model_source.name, _locate_base(adapter, model_source, how.on_progress), how
    )
    if adapter.card is None and (template := folders.template_of(adapter.path)):
        base.tokenizer.chat_template = template
    return base


def _load_whole(adapter: Adapter, spec: str | None, how: LoadOptions) -> LoadedModel:
    """Load an adapter that is a whole model, under the name of its base model."""
    if spec is None:
        return _load(folders.name_of_base(adapter), adapter.path, how)
    model_source = source.resolve(spec)
    _locate_base(adapter, model_source, how.on_progress)
    return _load(model_source.name, adapter.path, how)


def _locate_base(
    adapter: Adapter, model_source: source.ModelSource, on_progress: OnProgress
) -> Path:
    folders.require_name(adapter, model_source)
    path = locate(model_source, on_progress)
    folders.require_base(adapter, model_source, path, on_progress)
    return path


def _warn_unproven(adapter: Adapter, base: LoadedModel, how: LoadOptions) -> None:
    if adapter.card is None:
        words = (
            f"nothing in {adapter.path} says that it was made for {base.name}; all "
            "that is known is that its shapes fit"
        )
        how.on_progress(Progress(words, warning=True))


def _load(name: str, path: Path, how: LoadOptions) -> LoadedModel:
    count = _start_torch(how.threads)
    if how.quantize == "none":
        return _load_exact(name, path, how, count)
    from lmtui.models.llama.load import load_quantized

    quantized = load_quantized(name, path, how)
    if isinstance(quantized, LoadedModel):
        return quantized
    dtype = how.dtype if quantized.dtype == "auto" else quantized.dtype
    exact = _load_exact(name, path, replace(how, dtype=dtype), count)
    return replace(exact, why=quantized.words or exact.why)


def _load_exact(name: str, path: Path, how: LoadOptions, count: int) -> LoadedModel:
    looked = read_gguf_model(path) if path.is_file() else read_model(path)
    device = hardware.choose_device(how.device)
    dtype = hardware.choose_dtype(how.dtype, device, looked.dtype)
    precision = hardware.precision_of(dtype, device, looked.dtype)
    if isinstance(looked, GgufHeader):
        require_whole(looked)
        from lmtui.models.blocks.load import load_unpacked

        asked = how.dtype != "auto"
        loaded = load_unpacked(
            name, looked, device, dtype, how.on_progress, holds=asked
        )
        return replace(loaded, precision=precision)
    _require_loadable(looked, device, dtype)
    how.on_progress(Progress(f"loading {short_label(name)}"))
    model, tokenizer = _load_folder(looked, dtype)
    with wrap_load_errors(str(path)):
        facts_of(model)  # these can be nonsense, too, and raise
    return LoadedModel(
        model=model.to(device).eval(),
        tokenizer=tokenizer,
        name=name,
        folder=path,
        device=device,
        dtype=dtype,
        precision=precision,
        threads=count,
    )


def locate(model_source: source.ModelSource, on_progress: OnProgress = ignore) -> Path:
    """Return the folder or `.gguf` file of a model, downloaded if it is not here."""
    if isinstance(model_source, source.DefaultModel):
        return default_model.default_model(on_progress)
    if isinstance(model_source, source.HubModel):
        hub_id, file = model_source.hub_id, model_source.file
        here = hub.find_local(hub_id, file)
        return here or hub.download(hub_id, on_progress, file=file)
    return model_source.path


def _start_torch(threads: int | None) -> int:
    """Set the number of threads, before torch's first operation."""
    count = hardware.default_threads() if threads is None else threads
    hardware.require_threads(count)
    import torch

    torch.set_num_threads(count)
    return count


def _require_loadable(
    files: ModelFolder, device: torch.device, dtype: torch.dtype
) -> None:
    if not has_tokenizer(files.path):
        raise _no_tokenizer(files.path)
    refuse_other_kinds(files.config, files.path)
    name_of_dtype = str(dtype).removeprefix("torch.")
    have = hardware.available_memory(device)
    memory.require_memory(files.parameters, name_of_dtype, have, where=str(device))


def _load_folder(files: ModelFolder, dtype: torch.dtype) -> tuple[Any, Any]:
    folder = files.path
    from transformers import AutoConfig, AutoModelForCausalLM

    with wrap_load_errors(str(folder)), quiet(), offline(), without_labels():
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        # A model's files may not choose the code that runs it.
        config._attn_implementation = config._experts_implementation = None
        require_small(config, files.parameters, folder)
        tokenizer = library_tokenizer(folder)
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    refuse_incomplete(info, folder)
    refuse_leftover(files, info.get("unexpected_keys") or ())
    return model, _require_fast_tokenizer(tokenizer, folder)


def _require_fast_tokenizer(tokenizer: Any, path: Path) -> Any:
    if tokenizer is None:
        raise _no_tokenizer(path)
    if not getattr(tokenizer, "is_fast", False):
        raise LmtuiError(
            "this model has only a slow tokenizer",
            f"{path}: {type(tokenizer).__name__} can't tell where its tokens begin",
            "Use a version of the model with a tokenizer.json.",
        )
    return tokenizer


def _no_tokenizer(folder: Path) -> LmtuiError:
    return LmtuiError(
        "this model has no tokenizer",
        str(folder),
        "Copy tokenizer.json and tokenizer_config.json of the model beside it.",
    )
