"""The model to train: a base with a LoRA, the base's weights, or random weights.

Decides which weights change, in which dtype the training computes, and how much memory
it needs. The model object that is trained is the one the engine scores. Knows neither
notes nor steps.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from lmtui.engine.engine import LocalEngine
from lmtui.errors import LmtuiError
from lmtui.models import hardware, source
from lmtui.models.adapters import folders
from lmtui.models.adapters.card import Base
from lmtui.models.errors import offline, quiet
from lmtui.models.load import load, locate
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, ignore
from lmtui.train.cpu_kernels import HALF, accelerate_linears, enable_recompute
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

    The same seed gives the same weights.

    Raises:
        LmtuiError: the width can't be divided among the heads.
    """
    from transformers import AutoModelForCausalLM

    shaped = resized(config, layers=settings.layers, width=settings.width)
    torch.manual_seed(settings.seed)
    with quiet():
        return AutoModelForCausalLM.from_config(shaped, dtype=torch.float32)


def resized(config: Any, *, layers: int | None, width: int | None) -> Any:
    """Return a copy of a configuration in other sizes; dependent sizes follow.

    Raises:
        LmtuiError: the width can't be divided among the heads.
    """
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
    model: Any
    """The model that is trained and saved, or peft's wrapper around it with the
    LoRA."""
    base: Base
    half: bool
    """Whether it computes in bfloat16; trained weights stay in float32."""
    disable_recompute: Callable[[], None] = lambda: None
    """Undoes `cpu_kernels.enable_recompute`: activations are kept for backward
    again."""

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    @cached_property
    def summed_loss(self) -> SummedLoss:
        return SummedLoss(self.loaded.model)

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.model.parameters())

    @property
    def trainable(self) -> int:
        return sum(weight.numel() for weight in self.weights.values())

    @property
    def dtype(self) -> str:
        """The dtype that the training computes in."""
        dtype = HALF if self.half else self.loaded.dtype
        return str(dtype).removeprefix("torch.")

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of -log P of the targets; both are [batch, n].

        It is computed in the training's dtype.
        """
        with self._arithmetic():
            return self.summed_loss(ids, targets)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if not self.half:
            return contextlib.nullcontext()
        return torch.autocast(self.loaded.device.type, HALF)

    def engine(self) -> LocalEngine:
        """Return an engine around the model as it is now, in the loaded dtype.

        After a change of weights its KV cache is invalid: make a new engine.
        """
        self.model.eval()
        return LocalEngine(self.loaded)

    def checkpoint_activations(self) -> None:
        """Recompute activations in backward instead of keeping them.

        This is slower and takes a fraction of the memory.
        """
        self.disable_recompute()  # recipes would hold what is to be freed
        with quiet():
            self.loaded.model.activation_checkpointing_enable(
                activation_checkpointing_kwargs={"use_reentrant": False}
            )


def open_trainee(
    request: TrainRequest, on_progress: OnProgress = ignore
) -> TrainableModel:
    """Load the base that a request names and prepare it for training.

    Raises:
        LmtuiError: the base can't be loaded, or can't be trained as requested.
    """
    settings = request.settings
    found = source.resolve(request.base)
    place = locate(found, on_progress)
    base = folders.base_of(found, place, on_progress)
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
    """Prepare a loaded model for training; for a LoRA it is changed in place.

    Raises:
        LmtuiError: the model can't take an adapter, or can't have this width.
    """
    torch.manual_seed(settings.seed)
    if settings.method == "scratch":
        fresh = random_model(loaded.model.config, settings).to(loaded.device)
        loaded = replace(loaded, model=fresh.eval())
    model: Any = loaded.model
    if settings.method == "lora":
        model = _adapted(model, settings)
    else:
        model.requires_grad_(True)
    _drop_nothing(model)
    if loaded.device.type != "cpu":
        return TrainableModel(loaded, model.eval(), base, half)
    keep_all = enable_recompute(model)
    accelerate_linears(model)
    return TrainableModel(loaded, model.eval(), base, half, keep_all)


def computes_in_half(dtype: str, device: torch.device) -> bool:
    """Return whether a training computes in bfloat16; `auto` does where that is faster.

    Raises:
        LmtuiError: training can't compute in this dtype.
    """
    if dtype not in ("auto", "float32", "bfloat16"):
        hint = "Give one of: auto, float32, bfloat16."
        raise LmtuiError("this dtype can't be used for training", dtype, hint)
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


def _adapted(model: Any, settings: TrainSettings) -> Any:
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


def _drop_nothing(model: nn.Module) -> None:
    """Turn off all dropout, so that a resumed training comes to the same weights."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            dropping = "drop" in name or (
                name == "p" and isinstance(module, nn.Dropout)
            )
            if dropping and isinstance(value, float):
                setattr(module, name, 0.0)


def save_memory_where_needed(trainee: TrainableModel, block: int) -> int | None:
    """Turn on activation checkpointing if the training would not fit otherwise.

    Returns the bytes that are missing even then, or None.
    """
    free = int(hardware.available_memory(trainee.loaded.device) * _SPARE)
    if training_bytes(trainee, block) <= free:
        return None
    trainee.checkpoint_activations()
    missing = training_bytes(trainee, block) - free
    return missing if missing > 0 else None


def training_bytes(trainee: TrainableModel, block: int) -> int:
    """Return the bytes that training needs beyond the loaded model.

    They are gradients, moments and the activations of one block. The last are measured
    on two short blocks and extrapolated linearly.
    """
    short, long = (activation_bytes(trainee, tokens) for tokens in _PROBES)
    a_token = (long - short) / (_PROBES[1] - _PROBES[0])
    return int(_ADAM_BYTES * trainee.trainable + long + (block - _PROBES[1]) * a_token)


def activation_bytes(trainee: TrainableModel, tokens: int) -> int:
    """Return the bytes that a forward pass over `tokens` keeps for backward.

    Weights are not counted.
    """
    ids = torch.ones(1, tokens, dtype=torch.long, device=trainee.loaded.device)
    with restored(trainee.model), _counted(trainee.model) as kept:
        trainee.model.train()
        trainee.loss(ids, ids)
    return sum(kept.values())


@contextlib.contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Restore the model's mode, gradients and the random generators at the end."""
    training = model.training
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices):
        yield
    model.train(training)
    model.zero_grad(set_to_none=True)


@contextlib.contextmanager
def _counted(model: nn.Module) -> Iterator[dict[int, int]]:
    """Yield the bytes of each storage that autograd keeps, by its address."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept
