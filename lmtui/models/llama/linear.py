"""Interfaces of linear layers and of sources of weights.

Knows no model: names and sizes are given. D is the width of a model, V its vocabulary
size; N is the number of rows (outputs) of a matrix, K of columns (inputs), m of inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """A low-rank matrix of rank r, as its two factors: B A."""

    first: Tensor
    """A, float32 [r, K]."""
    second: Tensor
    """B, float32 [N, r]."""

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs, float32 [m, K]: float32 [m, N]."""
        return F.linear(F.linear(inputs, self.first), self.second)


class Linear(Protocol):
    """A matrix [N, K] to multiply with, whatever the format of its weights."""

    @property
    def rounds(self) -> bool:
        """Whether products of many inputs are computed in bfloat16."""

    @property
    def rows(self) -> int:
        """N, the number of outputs."""

    @property
    def columns(self) -> int:
        """K, the number of inputs."""

    @property
    def number_format(self) -> str:
        """The format of its weights: `Q4_K`, `bfloat16`, …"""

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs, float32 [m, K]: float32 [m, N]."""

    def with_lora(self, lora: LoraWeights) -> Self:
        """Return the same layer with a LoRA adapter that is added to each product."""


class Embedding(Protocol):
    """A row of D numbers for each of V tokens; a tensor [V, D] is one."""

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Return the rows of int64 `index` [n]: [n, D]."""


class LMHead(Protocol):
    """The matrix [V, D] that turns hidden states into logits."""

    def times(self, inputs: Tensor) -> Tensor:
        """Return the logits of hidden states, float32 [m, D]: float32 [m, V]."""


class WeightSource(Protocol):
    """A source of weights; `name` is the source's name of a tensor."""

    def __contains__(self, name: str) -> bool: ...

    def floats(self, name: str) -> Tensor:
        """Return a tensor in float32."""


@dataclass(frozen=True, slots=True)
class MatrixRows:
    """A request for a matrix [rows, columns] of a source."""

    name: str
    rows: int
    columns: int
    order: Tensor | None = None
    """int64 [rows]: the source's row that each row takes; None for the source's order.
    """


class Matrices(Protocol):
    """A way to make linear layers from a source of weights."""

    def linear(self, parts: Sequence[MatrixRows]) -> Linear:
        """Return one linear layer of `parts`, which share their inputs, stacked along
        the rows."""

    def rows(self, name: str, count: int, width: int) -> Embedding:
        """Return an embedding of `count` tokens, `width` numbers each."""

    def head(self, rows: Embedding) -> LMHead:
        """Return the LM head with the weights `rows`, an embedding made here."""


def of_shape(tensor: Tensor, *shape: int) -> Tensor:
    """Return the tensor, checked to have the given shape.

    Raises:
        ValueError: it is not.
    """
    if tensor.shape != shape:
        raise ValueError(f"a tensor of {tuple(tensor.shape)} should be of {shape}")
    return tensor
