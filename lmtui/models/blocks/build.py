"""Models of transformers around the weights of a GGUF file.

A model is made without weights. Then modules take the place of its linear layers and
embeddings that multiply with the blocks as they lie in the file; the other parameters
are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, nn

from lmtui.errors import LmtuiError
from lmtui.kernels.gguf_formats import FORMATS
from lmtui.kernels.gguf_matmul import BlockMatrix, GgufMatmulKernel, StackedMatrix
from lmtui.models import hardware
from lmtui.models.blocks.modules import GgufEmbedding, GgufExperts, GgufLinear
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.parameters import Stored, stored_parameters
from lmtui.models.gguf.tensors import GgufTensors
from lmtui.models.llama.linear import (
    BlockHead,
    BlockLinear,
    BlockRows,
    ExactLinear,
    Panels,
    of_shape,
)
from lmtui.models.progress import OnProgress, Progress

_BLOCK = 32  # the columns of which rows of blocks are multiples

_UNUSED = re.compile(r"^rope_f|\.rope_f|\.attn_(k|v|k_norm)\.weight$")
"""Tensors that no parameter takes: RoPE's factors are in the configuration, and layers
may share the keys and values of others."""

_REFUSED = ("MXFP4", "NVFP4")
"""Types of weights for a few models, which would only run unpacked."""


class Weights(Enum):
    """What is done with the matrices of a file."""

    BLOCKS = auto()
    """They are multiplied as they lie there, by inputs of 16 bits."""
    PER_PRODUCT = auto()
    """They are unpacked for each product, which is exact."""
    IN_MEMORY = auto()
    """They are unpacked once, into memory."""


@dataclass(frozen=True)
class Placement:
    """Where the weights of a model go."""

    weights: Weights
    kernel: GgufMatmulKernel | None
    """The products with blocks; None where there are none and all weights are held."""
    dtype: torch.dtype
    """Of held weights."""
    device: torch.device


def build(
    header: GgufHeader,
    config: Any,
    placement: Placement,
    what: str,
    on_progress: OnProgress,
) -> Any:
    """Return a model in evaluation mode with the weights of a file; `config` is its
    configuration of transformers, `what` is done meanwhile.

    Raises:
        LmtuiError: a type of its weights is not supported.
        ValueError: the file lacks a tensor, has one too many, or one has another
            shape.
    """
    for tensor in header.tensors:
        if tensor.type in _REFUSED:
            raise LmtuiError(
                f"weights of the type {tensor.type} are not supported",
                f"{header.path}: {tensor.name} is of this type",
                "Use a file of the type Q4_K_M or Q8_0 of the same model.",
            )
    # Imported here: most errors come before.
    from accelerate import init_empty_weights  # type: ignore[import-untyped]
    from transformers import AutoModelForCausalLM

    config._attn_implementation = config._experts_implementation = None
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=placement.dtype)
    return _Filling(header, placement, model).run(what, on_progress)


class _Filling:
    """The filling of one model with the weights of a file."""

    def __init__(self, header: GgufHeader, placement: Placement, model: Any) -> None:
        self._placement, self._model = placement, model
        kernel = placement.kernel
        self._panels = None if kernel is None else Panels(kernel)
        self._tensors = GgufTensors(header)
        self._shapes = header.shapes
        self._types = {tensor.name: tensor.type for tensor in header.tensors}
        self._wanted = {name for name, _ in model.named_parameters()}
        self._stored = stored_parameters(model.state_dict(), model.config, header)
        self._tie()
        self._require_all_used(model.config.get_text_config().num_hidden_layers)

    def _require_all_used(self, layers: int) -> None:
        """Refuse a file with weights for which the model has no place."""
        used = {n for each in self._stored.values() for n in (each.tensor, each.second)}
        for name in sorted(self._shapes.keys() - used):
            block = re.match(r"blk\.(\d+)\.", name)
            further = block and int(block[1]) >= layers  # it guesses further tokens
            if not further and not _UNUSED.search(name):
                raise ValueError(f"the model has no place for the tensor {name}")

    def _tie(self) -> None:
        """Let an output layer that the file lacks have the tensor of the embedding."""
        names = {module: name for name, module in self._model.named_modules()}
        head = names.get(self._model.get_output_embeddings())
        embedding = names[self._model.get_input_embeddings()]
        tied = self._model.config.get_text_config().tie_word_embeddings
        if head is not None and tied:
            self._stored.setdefault(
                f"{head}.weight", self._stored[f"{embedding}.weight"]
            )

    def run(self, what: str, on_progress: OnProgress) -> Any:
        modules = dict(self._model.named_modules())
        held: dict[str, Tensor] = {}
        for done, (name, module) in enumerate(modules.items()):
            on_progress(Progress(what, done, len(modules), unit="parts"))
            stored = self._stored.get(f"{name}.weight")
            ours = self._experts(name, module)
            if ours is None and stored is not None:
                ours = self._in_blocks(name, module, stored)
            if ours is not None:
                self._model.set_submodule(name, ours)
                continue
            self._read(name, module, held)
        lacking = self._wanted - self._stored.keys()
        if lacking:
            first = min(lacking)
            raise ValueError(f"the file lacks {len(lacking)} tensors, first {first}")
        return self._model.eval()

    def _in_blocks(
        self, name: str, module: nn.Module, stored: Stored
    ) -> nn.Module | None:
        """Return what takes the place of a module and leaves its weights in the file;
        None where they are held."""
        if not isinstance(module, nn.Linear | nn.Embedding):
            return None
        blocks = self._blocks(stored.tensor)
        if not blocks:
            return None
        of_shape(module.weight, blocks[0].rows, blocks[0].columns)
        kernel, exact = self._kernel, self._placement.weights is Weights.PER_PRODUCT
        if isinstance(module, nn.Embedding):
            scale = getattr(module, "embed_scale", 1.0)
            return GgufEmbedding(BlockRows(blocks[0], kernel), float(scale))
        bias = self._values(f"{name}.bias") if module.bias is not None else None
        product: BlockLinear | BlockHead = self._linear(blocks[:1], stored.rows)
        if module is self._model.get_output_embeddings() and not exact:
            product = BlockHead(BlockRows(blocks[0], kernel), kernel)
        return GgufLinear(product, bias, stored.columns)

    def _experts(self, name: str, module: nn.Module) -> nn.Module | None:
        """Return what takes the place of the experts of a layer, as `_in_blocks` does;
        None also where a module is none."""
        both = [self._stored.get(f"{name}.{each}_proj") for each in ("gate_up", "down")]
        if not name.endswith(".experts") or None in both:
            return None
        names = [n for each in both if each for n in (each.tensor, each.second) if n]
        gates, ups, downs = (self._blocks(each) for each in names)
        if not (gates and ups and downs):
            return None
        experts = [
            (self._linear([gate, up]), self._linear([down]))
            for gate, up, down in zip(gates, ups, downs, strict=True)
        ]
        activation: Any = module.act_fn
        return GgufExperts(experts, activation)

    @property
    def _kernel(self) -> GgufMatmulKernel:
        assert self._placement.kernel is not None
        return self._placement.kernel

    def _blocks(self, tensor: str) -> list[BlockMatrix]:
        """Return the matrices of a tensor as they lie in the file: one, or one for each
        expert; none where they are held."""
        kind = self._types[tensor]
        *experts, rows, columns = 1, *self._shapes[tensor]
        if (
            self._placement.kernel is None
            or self._placement.weights is Weights.IN_MEMORY
            or kind not in FORMATS
            or kind == "F32"  # small, or what others are to be compared with
            or len(self._shapes[tensor]) < 2
            or columns % _BLOCK
        ):
            return []
        data = self._tensors.blocks(tensor)[0].view(math.prod(experts), rows, -1)
        return [BlockMatrix(each, columns, kind) for each in data]

    def _linear(
        self, blocks: Sequence[BlockMatrix], order: Tensor | None = None
    ) -> BlockLinear:
        # Rounding wider weights to bfloat16 would lose bits of each.
        wide = any(block.format == "F16" for block in blocks)
        rounds = hardware.fast_at_bfloat16(self._placement.device) and not wide
        exact = self._placement.weights is Weights.PER_PRODUCT
        matrix = StackedMatrix(tuple(blocks), order)
        if exact or self._panels is None:
            return ExactLinear(matrix, self._kernel, rounds)
        return BlockLinear(self._panels.of(matrix), self._kernel, rounds)

    def _read(self, name: str, module: nn.Module, held: dict[str, Tensor]) -> None:
        """Read a module's own parameters, and buffers of the file; `held` are those
        that have been read, by their tensors."""
        before = f"{name}." if name else ""
        for own, parameter in module.named_parameters(recurse=False):
            if (stored := self._stored.get(before + own)) is None:
                continue
            if stored.tensor not in held:
                held[stored.tensor] = self._values(before + own).to(
                    self._placement.device, self._placement.dtype
                )
            values = _shaped(held[stored.tensor], parameter.shape)
            setattr(module, own, nn.Parameter(values, requires_grad=False))
        for own, buffer in module.named_buffers(recurse=False):
            if before + own in self._stored:
                buffer.copy_(_shaped(self._values(before + own), buffer.shape))

    def _values(self, name: str) -> Tensor:
        """Return a parameter's values, float32 [N, K] or of fewer dimensions."""
        stored = self._stored[name]
        values = self._unpacked(stored.tensor)
        if stored.second:
            values = torch.cat([values, self._unpacked(stored.second)], 1)
        if stored.rows is not None:
            values = values[stored.rows]
        if stored.columns is not None:
            values = values[:, stored.columns]
        return values if stored.change is None else stored.change(values)

    def _unpacked(self, tensor: str) -> Tensor:
        kind, kernel = self._types[tensor], self._placement.kernel
        *rows, columns = self._shapes[tensor]
        if kernel is None or kind not in FORMATS or kind == "F32" or columns % _BLOCK:
            return self._tensors.floats(tensor)
        count = math.prod(rows)
        data = self._tensors.blocks(tensor)[0].view(count, -1)
        matrix = StackedMatrix((BlockMatrix(data, columns, kind),))
        return kernel.tile(matrix, 0, count, torch.float32).view(*rows, columns)


def _shaped(values: Tensor, shape: torch.Size) -> Tensor:
    """Return values in a shape that may have dimensions of 1 which files leave out."""
    if [n for n in values.shape if n > 1] != [n for n in shape if n > 1]:
        raise ValueError(
            f"a tensor of {tuple(values.shape)} should be of {tuple(shape)}"
        )
    return values.view(shape)
