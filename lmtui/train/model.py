"""The model that is trained: a base with an adapter beside its weights, the base's own
weights, or random ones in its shape.

Owns which weights change and which arithmetic changes them, and what a training of it
takes in memory before one is tried. The very model objects are trained that the engine
scores. Knows neither notes nor steps.
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
from lmtui.train.cpu_kernels import HALF, quicken, remake
from lmtui.train.loss import SummedLoss
from lmtui.train.request import TrainRequest
from lmtui.train.settings import TrainSettings

_LARGEST = 0.02  # standard deviation of first weights in common use
_MARGIN = 2.5  # nats below ln V that a token's product with itself stays


def random_model(config: Any, settings: TrainSettings) -> Any:
    """A model like that of `config`, in other sizes where they are given; the same
    weights for the same seed.

    Raises:
        LmtuiError: the width can't be divided among the heads.
    """
    from transformers import AutoModelForCausalLM

    shaped = resized(config, layers=settings.layers, width=settings.width)
    torch.manual_seed(settings.seed)
    with quiet():
        return AutoModelForCausalLM.from_config(shaped, dtype=torch.float32)


def resized(config: Any, *, layers: int | None, width: int | None) -> Any:
    """A copy of a configuration with other sizes; what depends on them follows.

    Raises:
        LmtuiError: the width can't be divided among the heads.
    """
    values = config.to_dict()
    changes: dict[str, Any] = {}
    if layers is not None:
        changes["num_hidden_layers"] = layers
        if kinds := getattr(config, "layer_types", None):
            # They repeat, in all families that have several.
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
    """The sizes that go with a width: heads of the same size, as many as there is room
    for, and the same share of the width inside the layers."""
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
    """The largest number that divides the heads and is at most such a share of them."""
    most = max(1, round(heads * share))
    return next(count for count in range(most, 0, -1) if heads % count == 0)


def _deviation(width: int, vocabulary: int) -> float:
    """How far the first weights are from 0.

    So little that every token is about as probable as any other: a state of unit
    size times a row of the head has a variance of width · σ², which adds half of it
    to the loss; and where the head is the embedding, the last token's product with
    itself, width · σ, has to stay below ln V, or the model begins by repeating it.
    """
    plain = math.log(vocabulary)
    return min(
        _LARGEST,
        math.sqrt(0.02 * plain / width),
        max(0.5, plain - _MARGIN) / width,
    )


_ADAM_BYTES = 12  # a trained weight: its gradient and two moments, in float32
_PROBES = (32, 64)  # tokens of two forward passes that show what a token takes
_SPARE = 0.9  # share of the free memory that is planned with


@dataclass(frozen=True)
class TrainableModel:
    """A model that is ready to be trained."""

    loaded: LoadedModel
    """Around the very model whose weights change."""
    model: Any
    """What is trained and saved: the model, or what wraps it with its adapter."""
    base: Base
    half: bool
    """Whether it is trained in bfloat16; weights that change stay in float32."""
    keep_all: Callable[[], None] = lambda: None
    """Ends that tensors are made again which the way back needs."""

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        """The weights that change, by name."""
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    @cached_property
    def summed_loss(self) -> SummedLoss:
        """Its loss."""
        return SummedLoss(self.loaded.model)

    @property
    def parameters(self) -> int:
        """Weights in all."""
        return sum(weight.numel() for weight in self.model.parameters())

    @property
    def trainable(self) -> int:
        """Weights that change."""
        return sum(weight.numel() for weight in self.weights.values())

    @property
    def dtype(self) -> str:
        """The arithmetic of the training."""
        dtype = HALF if self.half else self.loaded.dtype
        return str(dtype).removeprefix("torch.")

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Sum of -log P of the targets, in the arithmetic of the training."""
        with self._arithmetic():
            return self.summed_loss(ids, targets)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if not self.half:
            return contextlib.nullcontext()
        return torch.autocast(self.loaded.device.type, HALF)

    def engine(self) -> LocalEngine:
        """An engine around the model as it is now, in full precision; after a change
        of weights what it remembers is wrong, and another is needed."""
        self.model.eval()
        return LocalEngine(self.loaded)

    def checkpoint_activations(self) -> None:
        """Compute what each layer made once more on the way back, instead of keeping
        it: slower, in a fraction of the memory."""
        self.keep_all()  # recipes hold what is not to be kept
        with quiet():
            self.loaded.model.activation_checkpointing_enable(
                activation_checkpointing_kwargs={"use_reentrant": False}
            )


def open_trainee(
    request: TrainRequest, on_progress: OnProgress = ignore
) -> TrainableModel:
    """Load the base that a request names and make it ready.

    Raises:
        LmtuiError: it can't be had, or can't be trained as it is asked.
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
    return ready(loaded, base, settings, half=half)


def ready(
    loaded: LoadedModel, base: Base, settings: TrainSettings, *, half: bool
) -> TrainableModel:
    """A loaded model as one that can be trained; for an adapter it is changed in place.

    Raises:
        LmtuiError: the model can't be trained so.
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
    keep_all = remake(model)
    quicken(model)
    return TrainableModel(loaded, model.eval(), base, half, keep_all)


def computes_in_half(dtype: str, device: torch.device) -> bool:
    """Whether a training computes in bfloat16; `auto` is where that is faster.

    Raises:
        LmtuiError: it is no dtype that training computes in.
    """
    if dtype not in ("auto", "float32", "bfloat16"):
        hint = "Give one of: auto, float32, bfloat16."
        raise LmtuiError("this dtype can't be used for training", dtype, hint)
    return dtype == "bfloat16" or (
        dtype == "auto" and hardware.fast_at_bfloat16(device)
    )


def _stored_dtype(settings: TrainSettings, device: torch.device) -> str:
    """What the weights are kept in. A step is too small a change for half of the
    digits, so only weights that don't change may be as they are stored."""
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
    """No dropout anywhere: notes are few, and a resumed training has to come to the
    same weights."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            dropping = "drop" in name or (
                name == "p" and isinstance(module, nn.Dropout)
            )
            if dropping and isinstance(value, float):
                setattr(module, name, 0.0)


def save_memory_where_needed(trainee: TrainableModel, block: int) -> int | None:
    """Checkpoint activations if the training would not fit otherwise; the bytes that
    are missing even then, or None."""
    free = int(hardware.available_memory(trainee.loaded.device) * _SPARE)
    if bytes_to_come(trainee, block) <= free:
        return None
    trainee.checkpoint_activations()
    missing = bytes_to_come(trainee, block) - free
    return missing if missing > 0 else None


def bytes_to_come(trainee: TrainableModel, block: int) -> int:
    """What training takes beside the model that is loaded: gradients and moments, and
    what a block leaves behind for the way back. That is measured on short blocks; it
    grows with the length."""
    short, long = (kept_bytes(trainee, tokens) for tokens in _PROBES)
    a_token = (long - short) / (_PROBES[1] - _PROBES[0])
    return int(_ADAM_BYTES * trainee.trainable + long + (block - _PROBES[1]) * a_token)


def kept_bytes(trainee: TrainableModel, tokens: int) -> int:
    """Bytes that a forward pass over so many tokens keeps for the way back, without
    the weights."""
    ids = torch.ones(1, tokens, dtype=torch.long, device=trainee.loaded.device)
    with unchanged(trainee.model), _counted(trainee.model) as kept:
        trainee.model.train()
        trainee.loss(ids, ids)
    return sum(kept.values())


@contextlib.contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Leave no trace in the model or in chance."""
    training = model.training
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices):
        yield
    model.train(training)
    model.zero_grad(set_to_none=True)


@contextlib.contextmanager
def _counted(model: nn.Module) -> Iterator[dict[int, int]]:
    """The bytes of every storage that autograd keeps, by where it is."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept
