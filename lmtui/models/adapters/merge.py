"""LoRA adapters on transformers models: beside the weights, merged, or written merged.

W + scale · B A is summed in float32, once, at loading; a merged model runs as fast as
without the adapter. peft does it, with matrices checked against the model and a
configuration made here, never the adapter's own. Imports torch.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.models.adapters import lora_config
from lmtui.models.adapters.folders import Adapter
from lmtui.models.errors import offline, quiet, wrap_load_errors
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, Progress, ignore

_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


def apply_adapter(model: Any, adapter: Adapter) -> Any:
    """Return `model` with the adapter beside its matrices, as it was trained: a
    PeftModel. The model itself is changed."""
    # Imported here: it takes a while, and errors should come first.
    from peft import LoraConfig, PeftModel

    asked = lora_config.read_lora(adapter.path)
    with wrap_load_errors(str(adapter.path)), quiet(), offline():
        modules = _require_fit(model, adapter)
        config = LoraConfig(
            task_type="CAUSAL_LM",
            target_modules=modules,
            r=asked.r,
            lora_alpha=asked.lora_alpha,  # type: ignore[arg-type]
            rank_pattern=asked.rank_pattern,
            alpha_pattern=asked.alpha_pattern,
            use_rslora=asked.use_rslora,
            fan_in_fan_out=asked.fan_in_fan_out,
        )
        return PeftModel.from_pretrained(
            model,
            adapter.path,
            config=config,
            torch_device=str(model.device),
        ).eval()


def merged(model: Any, adapter: Adapter) -> Any:
    """Merge the adapter into `model` and return the plain model; `model` is changed."""
    from peft.tuners.lora import LoraLayer

    beside = apply_adapter(model, adapter)
    try:
        with quiet():
            for layer in beside.modules():
                if isinstance(layer, LoraLayer):
                    _merge_in_float32(layer)
            return beside.merge_and_unload().eval()
    except ValueError as error:  # peft's safe merge found a number that is not finite
        raise _not_finite(adapter) from error


def with_adapter(base: LoadedModel, adapter: Adapter) -> LoadedModel:
    """Return `base` with the adapter beside its matrices. The two share their weights:
    only the adapter's are new, and `base` itself is not changed."""
    weights = chain(base.model.parameters(), base.model.buffers())
    twin = copy.deepcopy(base.model, {id(weight): weight for weight in weights})
    apply_adapter(twin, adapter)
    if not all(bool(each.isfinite().all()) for each in _delta(twin)):
        raise _not_finite(adapter)
    return replace(base, model=twin.eval(), adapter=adapter.name)


def _delta(model: Any) -> list[Tensor]:
    return [weights for name, weights in model.named_parameters() if ".lora_" in name]


def write_merged(
    base: LoadedModel, adapter: Adapter, out: Path, on_progress: OnProgress = ignore
) -> None:
    """Merge `base`, in float32, and the adapter, and write the model into the new
    folder `out`, for any program, as private as the adapter. `base` is changed.

    Raises:
        LmtuiError: `out` can't be written, or the adapter doesn't fit.
    """
    parent = paths.ensure_users_folder(out.parent)
    need = sum(p.numel() * p.element_size() for p in base.model.parameters())
    cache_dir.require_space(parent, need)
    on_progress(Progress(f"merging {adapter.name}"))
    model = merged(base.model, adapter)
    try:
        with paths.scratch_folder(parent) as scratch, quiet():
            made = scratch / out.name
            paths.make_folder(made)
            model.save_pretrained(made)
            base.tokenizer.save_pretrained(made)
            paths.seal(made)
            os.rename(made, out)
    except OSError as failure:
        raise cache_dir.unwritten(parent, failure, need) from failure


def _require_fit(model: Any, adapter: Adapter) -> list[str]:
    """Return the modules that an adapter changes, each checked against the model's
    shape."""
    by_module: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in _shapes(adapter.path / lora_config.WEIGHTS).items():
        if (parts := _KEY.fullmatch(key)) is None:
            raise _misfit(adapter, f"it has {key}, which is no part of a plain LoRA")
        by_module.setdefault(parts[1], {})[parts[2]] = shape
    if not by_module:
        raise _misfit(adapter, "it has no weights")
    modules = dict(model.named_modules())
    for name, pair in by_module.items():
        if why := _obstacle(modules.get(name), pair, model):
            raise _misfit(adapter, f"{name}: {why}")
    return list(by_module)


def _shapes(file: Path) -> Mapping[str, tuple[int, ...]]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as weights:
        keys: list[str] = weights.keys()
        return {key: tuple(weights.get_slice(key).get_shape()) for key in keys}


def _obstacle(
    module: nn.Module | None, pair: Mapping[str, tuple[int, ...]], model: Any
) -> str:
    """Return why matrices of these shapes can't change a module; empty where they
    can."""
    if not isinstance(module, nn.Linear | Conv1D):
        return "the model has no such matrix"
    if module.weight is model.get_input_embeddings().weight:
        return "the model uses this matrix twice"
    rows, columns = module.weight.shape
    if isinstance(module, Conv1D):  # its matrix is [in, out]
        rows, columns = columns, rows
    first, second = pair.get("A", ()), pair.get("B", ())
    if len(first) != 2 or len(second) != 2 or first[0] != second[1]:
        return "its two matrices don't fit each other"
    if (second[0], first[1]) != (rows, columns):
        return f"it changes {second[0]}×{first[1]}, the model has {rows}×{columns}"
    return ""


def _misfit(adapter: Adapter, why: str) -> LmtuiError:
    return LmtuiError(
        "this adapter does not fit this model",
        f"{adapter.path}: {why[:300]}",
        "Name the model that it was made for with --model.",
    )


def _not_finite(adapter: Adapter) -> LmtuiError:
    return LmtuiError(
        "this adapter holds numbers that are not finite",
        str(adapter.path),
        "Its training failed; use another adapter.",
    )


def _merge_in_float32(layer: Any) -> None:
    # A change far smaller than the weight would lose half of its digits in 16 bits:
    # only the sum is rounded to the model's own dtype.
    base = layer.get_base_layer()
    dtype = base.weight.dtype
    base.float()
    layer.merge(safe_merge=True)
    base.to(dtype)
