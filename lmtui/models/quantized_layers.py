"""Packed weights inside the library's own layers, for models of any other shape.

Owns which matrices of a model are packed: those of its layers, whose sizes the kernel
takes, and the head, in half precision. Those that are given the same input are one
matrix; which they are is seen in a pass, and known of no architecture. Knows no file:
what is rounded are the weights of a model that was loaded.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lmtui.models.llama import int4
from lmtui.models.llama.int4 import (
    GROUP,
    ROWS,
    GroupQuantized,
    Int4Linear,
    quantise,
    stacked,
)

_NEAR = 1e-5  # of a value: what is the same but for its rounding


class RMSNorm(nn.Module):
    """RMSNorm (Zhang & Sennrich 2019): x / √(mean x² + ε) · w, all in float32."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        """`weight` is w [D]."""
        super().__init__()
        width = len(weight)
        self._weight = weight * math.sqrt(width)
        self._least = torch.tensor(math.sqrt(epsilon * width))

    def forward(self, states: Tensor) -> Tensor:
        """The states [..., D] after the norm."""
        root = torch.linalg.vector_norm(states, dim=-1, keepdim=True)  # √Σx²
        return states.div(root.hypot_(self._least)).mul_(self._weight)


@torch.no_grad()
def few_norm(module: Any) -> RMSNorm | None:
    """What answers the same as a norm; None where the module is something else."""
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not type(module).__name__.endswith("RMSNorm") or not isinstance(epsilon, float):
        return None
    if not isinstance(weight, Tensor) or weight.dtype != torch.float32:
        return None
    if len(inspect.signature(module.forward).parameters) != 1 or weight.dim() != 1:
        return None
    states = torch.linspace(-3, 4, len(weight)).cos()
    found = RMSNorm(module(torch.ones_like(states)) * math.sqrt(1 + epsilon), epsilon)
    tried = [states * scale for scale in (1, 1000, 3 * math.sqrt(epsilon))]
    same = (
        torch.allclose(found(each), module(each), rtol=_NEAR, atol=_NEAR)
        for each in tried
    )
    return found if all(same) else None


_SAME = 1e-3  # of a step: a matrix that is that near to 16 steps had no more


class PackedLinear(nn.Module):
    """In place of a linear layer: its product in bfloat16, its bias in float32."""

    def __init__(self, packed: Int4Linear, bias: Tensor | None, weights: int) -> None:
        """`weights` is how many the layer had."""
        super().__init__()
        self._packed = packed
        self._bias = bias
        self.packed_weights = weights

    def forward(self, inputs: Tensor) -> Tensor:
        """The product of inputs [..., K]: [..., N], in their dtype."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        product = self._packed.times(flat.bfloat16()).to(inputs.dtype)
        if self._bias is not None:
            product += self._bias
        return product.view(*inputs.shape[:-1], -1)


class FusedLinears:
    """Linear layers of the same input as one: whichever of them is called first makes
    the products of all, which the others take."""

    def __init__(self, whole: PackedLinear, sizes: Sequence[int]) -> None:
        """`sizes` are the outputs of each."""
        self._whole = whole
        self._sizes = list(sizes)
        self._inputs: Tensor | None = None
        self._products: dict[int, Tensor] = {}  # those that were not taken yet

    def product(self, part: int, inputs: Tensor) -> Tensor:
        """What one of the layers makes of inputs [..., K]: [..., N]."""
        # While a product is kept, its inputs are: nothing else can be taken for them.
        if inputs is not self._inputs or part not in self._products:
            whole = self._whole.forward(inputs)  # what calls a module takes as long
            self._products = dict(enumerate(whole.split_with_sizes(self._sizes, -1)))
            self._inputs = inputs
        found = self._products.pop(part)
        if not self._products:
            self._inputs = None
        return found.contiguous()


class FusedLinearPart(nn.Module):
    """In place of a linear layer beside others that are given the same input."""

    def __init__(self, together: FusedLinears, part: int, weights: int) -> None:
        """`weights` is how many the layer had."""
        super().__init__()
        self._together = together
        self._part = part
        self.packed_weights = weights

    def forward(self, inputs: Tensor) -> Tensor:
        """The product of inputs [..., K]: [..., N], in their dtype."""
        return self._together.product(self._part, inputs)


class HalfHead(nn.Module):
    """In place of the head: weights of half precision, logits in float32."""

    def __init__(self, head: nn.Linear, *, tied: bool) -> None:
        """`tied` says that the weights are those of the embedding, which stays."""
        super().__init__()
        self._multiply = int4.half_product(head.weight.detach())
        self._bias = None if head.bias is None else head.bias.detach().float()
        self.packed_weights = 0 if tied else head.weight.numel()

    def forward(self, states: Tensor) -> Tensor:
        """Logits [..., V] of states [..., K]."""
        flat = states.reshape(-1, states.shape[-1])
        logits = self._multiply(flat.float())
        if self._bias is not None:
            logits += self._bias
        return logits.view(*states.shape[:-1], -1)


def pack_layers(model: Any, bits: int, *, dense: bool) -> int:
    """Replace the matrices of a model's layers by such of at most so many bits, where
    the kernel takes them, and what else runs faster; the bits of most of the matrices,
    0 where there were none."""
    head = model.get_output_embeddings()
    fitting = [m for m in model.modules() if m is not head and _fits(m)]
    if not fitting:
        return 0
    groups = _of_one_input(model, fitting)
    del fitting  # so that a layer goes as soon as another has taken its place
    counts = {4: 0, 8: 0}
    while groups:
        rounded = {layer: _rounded(layer, bits) for layer in groups.pop()}
        for each in counts:  # to be read with more bits than it has takes longer
            alike = {m: matrix for m, matrix in rounded.items() if matrix.bits == each}
            counts[each] += sum(matrix.q.numel() for matrix in alike.values())
            _replace(model, _packed(alike, dense=dense))
    if type(head) is nn.Linear and int4.has_fast_half():
        tied = head.weight is model.get_input_embeddings().weight
        _replace(model, {head: HalfHead(head, tied=tied)})
    norms: dict[nn.Module, nn.Module] = {
        module: norm for module in model.modules() if (norm := few_norm(module))
    }
    _replace(model, norms)
    return 8 if counts[8] > counts[4] else 4


def _fits(module: Any) -> bool:
    """Whether a module is a linear layer that can be packed."""
    if type(module) not in (nn.Linear, Conv1D):
        return False
    rows, columns = _matrix(module).shape
    return rows % ROWS == 0 and columns % GROUP == 0


def _matrix(layer: Any) -> Tensor:
    """[N, K]."""
    weights: Tensor = layer.weight.detach()
    return weights.t() if isinstance(layer, Conv1D) else weights  # it has [in, out]


def _rounded(layer: Any, bits: int) -> GroupQuantized:
    """In 4 bits where that is what is wanted, or where nothing is lost by it."""
    weights = _matrix(layer).float().contiguous()
    few = quantise(weights, 4)
    if bits == 4:
        return few
    steps = few.scale.repeat_interleave(GROUP, 1)
    off = (few.floats() - weights).abs() <= _SAME * steps + 1e-12
    return few if bool(torch.all(off)) else quantise(weights, 8)


def _of_one_input(model: Any, layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """Put those together that a pass gives the very same tensor."""
    groups: dict[tuple[int, int], list[nn.Module]] = {}
    left = dict.fromkeys(layers)
    inputs = []  # all are kept, so that no two have the same id

    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        if layer not in left:  # it was called before
            return
        del left[layer]
        inputs.append(given[0])
        # The version tells whether it was changed between two layers.
        same = id(given[0]), given[0]._version
        groups.setdefault(same, []).append(layer)

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([[1]]), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return [*groups.values(), *([layer] for layer in left)]


def _packed(
    layers: dict[Any, GroupQuantized], *, dense: bool
) -> dict[nn.Module, nn.Module]:
    """What takes the place of each of some layers of one input."""
    if not layers:
        return {}
    sizes = {layer: len(groups.q) for layer, groups in layers.items()}
    counts = [groups.q.numel() for groups in layers.values()]
    packed = Int4Linear.of(stacked(list(layers.values())), dense=dense)
    whole = PackedLinear(packed, _biases(sizes), sum(counts))
    if len(layers) == 1:
        return dict.fromkeys(layers, whole)
    together = FusedLinears(whole, list(sizes.values()))
    return {
        layer: FusedLinearPart(together, part, counts[part])
        for part, layer in enumerate(layers)
    }


def _biases(sizes: dict[Any, int]) -> Tensor | None:
    """float32, of all outputs of some layers; None where none has one."""
    if all(layer.bias is None for layer in sizes):
        return None
    return torch.cat(
        [
            torch.zeros(size) if layer.bias is None else layer.bias.detach().float()
            for layer, size in sizes.items()
        ]
    )


def _replace(model: nn.Module, instead: dict[nn.Module, nn.Module]) -> None:
    """Put modules into the places of others, wherever those are."""
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if module in instead:
                setattr(parent, name, instead[module])
