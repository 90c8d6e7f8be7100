"""Int4 and int8 linear layers inside transformers models of any architecture (CPU).

Layers that get the same input are packed as one matrix; one forward pass shows which
these are. The LM head becomes float16, RMSNorms a faster one. Changes a loaded model in
place and reads no file.
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

_NEAR = 1e-5  # relative difference of two results that differ by rounding only

_SAME = 1e-3  # of a step: a matrix this near to 16 steps a group has 4-bit weights


class RMSNorm(nn.Module):
    """RMSNorm (Zhang & Sennrich 2019): x / √(mean x² + ε) · w, all in float32."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        """Take the weight w [D] and ε."""
        super().__init__()
        width = len(weight)
        self._weight = weight * math.sqrt(width)
        self._least = torch.tensor(math.sqrt(epsilon * width))

    def forward(self, states: Tensor) -> Tensor:
        """Return the normalised states [..., D]."""
        root = torch.linalg.vector_norm(states, dim=-1, keepdim=True)  # √Σx²
        return states.div(root.hypot_(self._least)).mul_(self._weight)


@torch.no_grad()
def rms_norm_of(module: Any) -> RMSNorm | None:
    """Return a faster norm with the same results; None where the module is no
    RMSNorm."""
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


class PackedLinear(nn.Module):
    """A packed linear layer: its product in bfloat16, its bias in float32."""

    def __init__(self, packed: Int4Linear, bias: Tensor | None, weights: int) -> None:
        """Take the packed matrix, and the number of weights of the replaced layer."""
        super().__init__()
        self._packed = packed
        self._bias = bias
        self.packed_weights = weights

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the product of inputs [..., K]: [..., N], in their dtype."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        product = self._packed.times(flat.bfloat16()).to(inputs.dtype)
        if self._bias is not None:
            product += self._bias
        return product.view(*inputs.shape[:-1], -1)


class FusedLinears:
    """Linear layers of the same input as one matrix. The first of them to be called
    computes the products of all; the others take theirs."""

    def __init__(self, whole: PackedLinear, sizes: Sequence[int]) -> None:
        """Take the packed matrix and the number of outputs of each layer."""
        self._whole = whole
        self._sizes = list(sizes)
        self._inputs: Tensor | None = None
        self._products: dict[int, Tensor] = {}  # products that no layer has taken yet

    def product(self, part: int, inputs: Tensor) -> Tensor:
        """Return one layer's product with inputs [..., K]: [..., N]."""
        # The inputs are kept as long as products are, so that no other tensor has their
        # id.
        if inputs is not self._inputs or part not in self._products:
            # direct: calling a module adds measurable overhead
            whole = self._whole.forward(inputs)
            self._products = dict(enumerate(whole.split_with_sizes(self._sizes, -1)))
            self._inputs = inputs
        found = self._products.pop(part)
        if not self._products:
            self._inputs = None
        return found.contiguous()


class FusedLinearPart(nn.Module):
    """One linear layer of a `FusedLinears`."""

    def __init__(self, together: FusedLinears, part: int, weights: int) -> None:
        """Take the group, the layer's index in it, and the layer's number of
        weights."""
        super().__init__()
        self._together = together
        self._part = part
        self.packed_weights = weights

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the product of inputs [..., K]: [..., N], in their dtype."""
        return self._together.product(self._part, inputs)


class HalfHead(nn.Module):
    """An LM head with float16 weights and float32 logits."""

    def __init__(self, lm_head: nn.Linear, *, tied: bool) -> None:
        """Pack `lm_head`; `tied` says that its weights are those of the embedding,
        which stays."""
        super().__init__()
        self._multiply = int4.half_product(lm_head.weight.detach())
        self._bias = None if lm_head.bias is None else lm_head.bias.detach().float()
        self.packed_weights = 0 if tied else lm_head.weight.numel()

    def forward(self, states: Tensor) -> Tensor:
        """Return the logits [..., V] of states [..., K]."""
        flat = states.reshape(-1, states.shape[-1])
        logits = self._multiply(flat.float())
        if self._bias is not None:
            logits += self._bias
        return logits.view(*states.shape[:-1], -1)


def pack_layers(model: Any, bits: int, *, dense: bool) -> int:
    """Quantise the linear layers of a CPU model to at most `bits` bits, in place, where
    the kernel takes their sizes; replace the LM head and RMSNorms, too. Return the bits
    of most weights, 0 where no layer fits."""
    head = model.get_output_embeddings()
    fitting = [m for m in model.modules() if m is not head and _fits(m)]
    if not fitting:
        return 0
    groups = _of_one_input(model, fitting)
    del fitting  # so that each layer is freed as soon as it is replaced
    counts = {4: 0, 8: 0}
    while groups:
        rounded = {layer: _rounded(layer, bits) for layer in groups.pop()}
        # int4 weights stacked with int8 ones would be read as int8, which is slower
        for each in counts:
            alike = {m: matrix for m, matrix in rounded.items() if matrix.bits == each}
            counts[each] += sum(matrix.q.numel() for matrix in alike.values())
            _replace(model, _packed(alike, dense=dense))
    if type(head) is nn.Linear and int4.has_fast_half():
        tied = head.weight is model.get_input_embeddings().weight
        _replace(model, {head: HalfHead(head, tied=tied)})
    norms: dict[nn.Module, nn.Module] = {
        module: norm for module in model.modules() if (norm := rms_norm_of(module))
    }
    _replace(model, norms)
    return 8 if counts[8] > counts[4] else 4


def _fits(module: Any) -> bool:
    """Return whether a module is a linear layer that can be packed."""
    if type(module) not in (nn.Linear, Conv1D):
        return False
    rows, columns = _matrix(module).shape
    return rows % ROWS == 0 and columns % GROUP == 0


def _matrix(layer: Any) -> Tensor:
    """Return the layer's weights, [N, K]."""
    weights: Tensor = layer.weight.detach()
    return weights.t() if isinstance(layer, Conv1D) else weights  # Conv1D has [K, N]


def _rounded(layer: Any, bits: int) -> GroupQuantized:
    """Quantise a layer to 4 bits where that is asked for or loses nothing, else to
    8."""
    weights = _matrix(layer).float().contiguous()
    few = quantise(weights, 4)
    if bits == 4:
        return few
    steps = few.scale.repeat_interleave(GROUP, 1)
    off = (few.floats() - weights).abs() <= _SAME * steps + 1e-12
    return few if bool(torch.all(off)) else quantise(weights, 8)


def _of_one_input(model: Any, layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """Group the layers that get the same tensor in a forward pass."""
    groups: dict[tuple[int, int], list[nn.Module]] = {}
    left = dict.fromkeys(layers)
    inputs = []  # all are kept, so that no two have the same id

    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        if layer not in left:  # called before in this pass
            return
        del left[layer]
        inputs.append(given[0])
        # The version shows whether the tensor was changed between two layers.
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
    """Return the replacement of each of the layers, which share their input."""
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
    """Return the biases of the layers, float32 [N]; None where no layer has one."""
    if all(layer.bias is None for layer in sizes):
        return None
    return torch.cat(
        [
            torch.zeros(size) if layer.bias is None else layer.bias.detach().float()
            for layer, size in sizes.items()
        ]
    )


def _replace(model: nn.Module, instead: dict[nn.Module, nn.Module]) -> None:
    """Replace modules wherever they occur in the model."""
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if module in instead:
                setattr(parent, name, instead[module])
