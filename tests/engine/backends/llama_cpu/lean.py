"""Small random models of the shapes that the fast path runs, three times.

`plain` has the same code run on the very weights of the model, in float32, `brief` in
numbers of 16 bits, which lose nothing of them: what is left is the order of sums.
`blocks` has those of a GGUF file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType, quants
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from lmtui.engine.backends.llama_cpu.backend import LlamaCpuBackend
from lmtui.kernels import build
from lmtui.kernels.gguf_matmul import (
    HALVES,
    BlockMatrix,
    GgufMatmulKernel,
    StackedMatrix,
)
from lmtui.models.llama import mapped
from lmtui.models.llama.gguf_blocks import BlockHead, BlockLinear, BlockRows
from lmtui.models.llama.linear import Matrices, MatrixRows, WeightSource
from lmtui.models.llama.weights import (
    Naming,
    WeightReading,
    read_weights,
    shape_of,
)
from lmtui.models.rope import frequencies

SIZE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 2048,
    "initializer_range": 0.15,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama tied": {"tie_word_embeddings": True, "num_key_value_heads": 4},
    "llama 3": {"rope_parameters": LLAMA3},
    "llama with one key": {"num_key_value_heads": 1, "head_dim": 32},
    "mistral": {"sliding_window": None, "head_dim": 16},
    "qwen2": {},
    "qwen3": {"head_dim": 32, "rms_norm_eps": 1e-3},
}
UNROUNDED = (torch.float32, torch.bfloat16, torch.float16)


@cache
def model(kind: str) -> Any:
    """The model as transformers runs it, with weights that are numbers of either
    format of 16 bits."""
    torch.manual_seed(sum(map(ord, kind)))
    config = AutoConfig.for_model(kind.split()[0], **(SIZE | KINDS[kind]))
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, weights in made.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(weights, 1.0, 0.2)
        weights.data = weights.data.bfloat16().half().float()
    return made


@torch.inference_mode()
def naive(kind: str, ids: list[int]) -> Tensor:
    """Logprobs after every one of `ids`, softmax in float64. [n, V]"""
    logits: Tensor = model(kind)(torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(-1)


@dataclass
class Tensors:
    """Where the weights come from: the model itself."""

    tensors: dict[str, Tensor]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def floats(self, name: str) -> Tensor:
        return self.tensors[name].float()


def read(kind: str, source: WeightSource, matrices: Matrices) -> LlamaCpuBackend:
    """The model in the layout of the fast path."""
    config = model(kind).config
    shape = shape_of(config.to_dict())
    reading = WeightReading(
        source,
        Naming.library(),
        config.vocab_size,
        frequencies(config.rope_parameters, shape.head_dim),
        matrices,
        on_layer=lambda index: None,
    )
    return LlamaCpuBackend(read_weights(shape, reading))


def _tensors(kind: str) -> dict[str, Tensor]:
    tensors = {name: t.detach() for name, t in model(kind).state_dict().items()}
    if model(kind).config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    return tensors


class _Blocks(Tensors):
    """The model's weights in the blocks of a GGUF file."""

    def __init__(self, tensors: dict[str, Tensor], kind: str) -> None:
        super().__init__(tensors)
        self._kind = kind

    def _of(self, name: str) -> BlockMatrix:
        weights = self.tensors[name]
        if self._kind in HALVES:
            data = weights.to(getattr(torch, HALVES[self._kind])).view(torch.uint8)
        else:
            kind = GGMLQuantizationType[self._kind]
            data = torch.from_numpy(quants.quantize(weights.numpy(), kind))
        return BlockMatrix(data, weights.shape[1], self._kind)

    def linear(self, parts: Sequence[MatrixRows]) -> BlockLinear:
        stack = tuple(self._of(part.name) for part in parts)
        matrix = StackedMatrix(stack, mapped.row_order(parts))
        return BlockLinear(matrix, gguf_kernel(), rounds=self._kind != "F16")

    def rows(self, name: str, count: int, width: int) -> BlockRows:
        return BlockRows(self._of(name), gguf_kernel())

    def head(self, rows: Any) -> BlockHead:
        return BlockHead(rows, gguf_kernel())


@cache
def blocks(kind: str, quantisation: str = "Q8_0") -> LlamaCpuBackend:
    """The model with its weights rounded to a type of GGUF files."""
    weights = _Blocks(_tensors(kind), quantisation)
    return read(kind, weights, weights)


@dataclass
class Whole:
    """A matrix that is nothing but that."""

    weights: Tensor
    number_format = "float32"
    rounds = False

    @property
    def rows(self) -> int:
        return len(self.weights)

    @property
    def columns(self) -> int:
        return self.weights.shape[1]

    def times(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weights)

    def with_lora(self, lora: object) -> Any:
        raise NotImplementedError


class _Whole(Tensors):
    """The model's weights as they are."""

    def linear(self, parts: Sequence[MatrixRows]) -> Whole:
        tensors = (self.tensors[part.name] for part in parts)
        ordered = zip(tensors, parts, strict=True)
        return Whole(
            torch.cat([t if p.order is None else t[p.order] for t, p in ordered])
        )

    def rows(self, name: str, count: int, width: int) -> Tensor:
        return self.tensors[name]

    def head(self, rows: Tensor) -> Whole:
        return Whole(rows)


@cache
def plain(kind: str) -> LlamaCpuBackend:
    """The model with its own weights, in float32."""
    whole = _Whole(_tensors(kind))
    return read(kind, whole, whole)


@cache
def gguf_kernel() -> GgufMatmulKernel:
    """What multiplies with blocks; a test without a compiler is skipped."""
    with compiled(build.build_gguf_matmul) as folder:
        return GgufMatmulKernel(folder / build.GGUF_MATMUL)


@contextmanager
def compiled(make: Callable[[Path], None]) -> Iterator[Path]:
    """Yield a folder into which `make` has compiled something."""
    if build.compiler_id() is None:
        pytest.skip("there is no C++ compiler")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        yield Path(folder)


@cache
def brief(kind: str, dtype: torch.dtype) -> LlamaCpuBackend:
    """The model in 16 bits."""
    weights = _Blocks(_tensors(kind), "BF16" if dtype is torch.bfloat16 else "F16")
    return read(kind, weights, weights)


def unrounded(kind: str, dtype: torch.dtype) -> LlamaCpuBackend:
    """The model with its own weights in some format."""
    return plain(kind) if dtype is torch.float32 else brief(kind, dtype)
