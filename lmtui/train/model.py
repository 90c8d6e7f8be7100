"""The model to train: a base with a LoRA, the base's weights, or random weights.

Decides which weights change, in which dtype the training computes, and how much memory
it needs. The model object that is trained is the one the engine scores. Knows neither
notes nor steps.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from lmtui.engine.engine import LocalEngine
from lmtui.errors import LmtuiError
from lmtui.models import accelerator, hardware, source
from lmtui.models.adapters import folders
from lmtui.models.adapters.card import Base
from lmtui.models.errors import offline, quiet
from lmtui.models.load import load, locate
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, ignore
from lmtui.train.loss import SummedLoss
from lmtui.train.request import TrainRequest
from lmtui.train.settings import TrainSettings

_LARGEST = 0.02  # usual standard deviation of initial weights
_MARGIN = 2.5  # nats by which a token's product with itself stays below ln V

_ADAM_BYTES = 12  # for each trained weight: gradient and two moments, in float32
_PROBES = (32, 64)  # tokens of two forward passes that measure the memory of a token
_SPARE = 0.9  # share of the free memory that a training may use


def random_model(config: Any, settings: TrainSettings) -> Any:
    """Return a model of `config`'s kind with random weights, in other sizes if given.

    The same seed gives the same weights."""
    from transformers import AutoModelForCausalLM

    shaped = resized(config, layers=settings.layers, width=settings.width)
    torch.manual_seed(settings.seed)
    with quiet():
        return AutoModelForCausalLM.from_config(shaped, dtype=torch.float32)


def resized(config: Any, *, layers: int | None, width: int | None) -> Any:
    """Return a copy of a configuration in other sizes; dependent sizes follow."""
    values = config.to_dict()
    changes: dict[str, Any] = {}
    if layers is not None:
        changes["num_hidden_layers"] = layers
        if kinds := getattr(config, "layer_types", None):
            # Layer types repeat periodically in all families that have several.
            changes["layer_types"] = [kinds[i % len(kinds)] for i in range(layers)]
    if width is not None:
        changes |= _widths(config, width)
    named = getattr(config, "attribute_map", {})
    values |= {named.get(name, name): value for name, value in changes.items()}
    values["initializer_range"] = _deviation(
        width or config.hidden_size, config.vocab_size
    )
    return type(config).from_dict(values)


def _widths(config: Any, width: int) -> dict[str, Any]:
    """Return the sizes that follow from a width.

    Heads keep their size, so their number changes; the MLP keeps its share of the
    width.
    """
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    if width % size:
        raise LmtuiError(
            "a model of this width can't be made",
            f"{width} is not a multiple of {size}, the width of a head",
            f"Give --width {max(1, round(width / size)) * size}.",
        )
    changes: dict[str, Any] = {
        "hidden_size": width,
        "num_attention_heads": width // size,
    }
    if groups := getattr(config, "num_key_value_heads", None):
        changes["num_key_value_heads"] = _divisor(width // size, groups / heads)
    if inner := getattr(config, "intermediate_size", None):
        changes["intermediate_size"] = max(1, round(inner * width / config.hidden_size))
    return changes


def _divisor(heads: int, share: float) -> int:
    """Return the largest divisor of `heads` that is at most this share of them."""
    most = max(1, round(heads * share))
    return next(count for count in range(most, 0, -1) if heads % count == 0)


def _deviation(width: int, vocabulary: int) -> float:
    """Return the standard deviation of the initial weights.

    It is so small that the first predictions are nearly uniform. A hidden state of unit
    size times a row of the head has a variance of width · σ², half of which is added to
    the loss. Where head and embedding are tied, the last token's product with itself,
    width · σ, must stay below ln V, or the model begins by repeating that token.
    """
    plain = math.log(vocabulary)
    return min(
        _LARGEST,
        math.sqrt(0.02 * plain / width),
        max(0.5, plain - _MARGIN) / width,
    )


@dataclass(frozen=True)
class TrainableModel:
    loaded: LoadedModel
    """The loaded model; its `model` is the object whose weights change."""
    module: Any
    """The module that is trained and saved: that model, or peft's wrapper around it
    with the LoRA."""
    base: Base
    half: bool
    """Whether it computes in bfloat16; trained weights stay in float32."""

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        named = self.module.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    @cached_property
    def summed_loss(self) -> SummedLoss:
        return SummedLoss(self.loaded.model)

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.module.parameters())

    @property
    def trainable(self) -> int:
        return sum(weight.numel() for weight in self.weights.values())

    @property
    def dtype(self) -> str:
        dtype = torch.bfloat16 if self.half else self.loaded.dtype
        return str(dtype).removeprefix("torch.")

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of -log P of the targets; both are [batch, n].

        It is computed in the training's dtype.
        """
        device = self.loaded.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.half):
            return self.summed_loss(ids, targets)

    def engine(self) -> LocalEngine:
        """Return an engine around the model as it is now, in the loaded dtype.

        After a change of weights its KV cache is invalid: make a new engine.
        """
        self.module.eval()
        return LocalEngine(self.loaded)

    def checkpoint_activations(self) -> None:
        """Recompute activations in backward instead of keeping them.

        This is slower and takes a fraction of the memory.
        """
        with quiet():
            self.loaded.model.activation_checkpointing_enable(
                activation_checkpointing_kwargs={"use_reentrant": False}
            )


def open_model(
    request: TrainRequest, on_progress: OnProgress = ignore
) -> TrainableModel:
    settings = request.settings
    named = source.resolve(request.base)
    base = folders.base_of(named, locate(named, on_progress), on_progress)
    device = hardware.choose_device(request.device)
    half = computes_in_half(settings.dtype, device)
    loaded = load(
        request.base,
        device=request.device,
        dtype=_stored_dtype(settings, device),
        threads=request.threads,
        on_progress=on_progress,
    )
    return prepare_for_training(loaded, base, settings, half=half)


def prepare_for_training(
    loaded: LoadedModel, base: Base, settings: TrainSettings, *, half: bool
) -> TrainableModel:
    """Prepare a loaded model for training; for a LoRA it is changed in place."""
    torch.manual_seed(settings.seed)
    if settings.method == "scratch":
        fresh = random_model(loaded.model.config, settings).to(loaded.device)
        loaded = replace(loaded, model=fresh.eval())
    module: Any = loaded.model
    if settings.method == "lora":
        module = _with_lora(module, settings)
    else:
        module.requires_grad_(True)
    _disable_dropout(module)
    return TrainableModel(loaded, module.eval(), base, half)


def computes_in_half(dtype: str, device: torch.device) -> bool:
    """Return whether a training computes in bfloat16; `auto` does where that is
    faster."""
    return dtype == "bfloat16" or (
        dtype == "auto" and hardware.fast_at_bfloat16(device)
    )


def _stored_dtype(settings: TrainSettings, device: torch.device) -> str:
    """Return the dtype that the weights are stored in.

    The change of one step is too small for bfloat16, so only frozen weights may keep
    their own dtype; trained ones are float32.
    """
    frozen = settings.method == "lora" and settings.dtype != "float32"
    return "auto" if frozen and device.type == "cuda" else "float32"


def _with_lora(model: Any, settings: TrainSettings) -> Any:
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        with quiet(), offline():
            return get_peft_model(model, config)
    except ValueError as error:
        raise LmtuiError(
            "this model can't take an adapter",
            str(error),
            "Train all its weights: --full.",
        ) from error


def _disable_dropout(model: nn.Module) -> None:
    """Turn off all dropout, so that a resumed training comes to the same weights."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            is_dropout = "drop" in name or (
                name == "p" and isinstance(module, nn.Dropout)
            )
            if is_dropout and isinstance(value, float):
                setattr(module, name, 0.0)


def fit_memory(model: TrainableModel, block: int) -> tuple[int, int]:
    """Turn on activation checkpointing if the training would not fit otherwise.

    Returns the bytes that the training needs beyond the loaded model, and how many of
    them are missing even then.
    """
    free = int(hardware.available_memory(model.loaded.device) * _SPARE)
    need = training_bytes(model, block)
    if need > free:
        model.checkpoint_activations()
        need = training_bytes(model, block)
    return need, max(0, need - free)


def training_bytes(model: TrainableModel, block: int) -> int:
    """Return the bytes that training needs beyond the loaded model.

    They are gradients, moments and the activations of one block. The last are measured
    on two short blocks and extrapolated linearly.
    """
    short, long = (activation_bytes(model, tokens) for tokens in _PROBES)
    a_token = (long - short) / (_PROBES[1] - _PROBES[0])
    return int(_ADAM_BYTES * model.trainable + long + (block - _PROBES[1]) * a_token)


def activation_bytes(model: TrainableModel, tokens: int) -> int:
    """Return the bytes that a forward pass over `tokens` keeps for backward.

    Weights are not counted.
    """
    ids = torch.ones(1, tokens, dtype=torch.long, device=model.loaded.device)
    with restored(model.module), _saved_bytes(model.module) as sizes:
        model.module.train()
        model.loss(ids, ids)
    return sum(sizes.values())


@contextlib.contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Restore the model's mode, gradients and the random generators at the end."""
    training = model.training
    device = next(model.parameters()).device
    with accelerator.fork_rng(device):
        yield
    model.train(training)
    model.zero_grad(set_to_none=True)


@contextlib.contextmanager
def _saved_bytes(model: nn.Module) -> Iterator[dict[int, int]]:
    """Yield the bytes of each storage that autograd keeps, by its address."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes
