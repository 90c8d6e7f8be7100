"""How a matrix of a Llama-shaped model is multiplied with, whatever its weights are.

Owns what the layers ask of a matrix, what is asked of a source of weights, and how one
of few bits becomes such matrices. Knows no model: names and sizes are given. D is the
width of a model, V the size of its vocabulary; N, K and m are as in `packing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from lmtui.models.llama.int4 import (
    GroupQuantized,
    HalfWeight,
    Int4Linear,
    LoraWeights,
    stacked,
)


class Linear(Protocol):
    """A matrix [N, K] that can be multiplied with, whatever its weights are."""

    @property
    def takes(self) -> torch.dtype:
        """Of its inputs."""

    @property
    def rounds(self) -> bool:
        """Whether products of many inputs are rounded to bfloat16."""

    @property
    def rows(self) -> int:
        """N."""

    @property
    def columns(self) -> int:
        """K."""

    @property
    def number_format(self) -> str:
        """Of its weights: `int8`, `bfloat16`, …"""

    def times(self, inputs: Tensor) -> Tensor:
        """The product with inputs [m, K]: [m, N], float32 or rounded like inputs."""

    def with_beside(self, beside: LoraWeights) -> Self:
        """The same with something added to each product."""


class LMHead(Protocol):
    """The matrix [V, D] that makes logits."""

    @property
    def weights(self) -> Tensor:
        """16 bits, [V, D]."""

    def times(self, inputs: Tensor) -> Tensor:
        """The product with inputs, float32 [m, D]: float32 [m, V]."""


class WeightSource(Protocol):
    """Where the weights come from; `name` is what the source calls a tensor."""

    def __contains__(self, name: str) -> bool: ...

    def floats(self, name: str) -> Tensor:
        """float32."""


class GroupSource(WeightSource, Protocol):
    """Where weights of few bits come from."""

    def groups(self, name: str) -> GroupQuantized:
        """A matrix in groups of 32."""


@dataclass(frozen=True, slots=True)
class MatrixRows:
    """A matrix [rows, columns] in a source."""

    name: str
    rows: int
    columns: int
    order: Tensor | None = None
    """Where each of its rows is there, int64 [rows]; as they are without one."""


class Matrices(Protocol):
    """How the matrices of a source become such that can be multiplied with."""

    def linear(self, parts: Sequence[MatrixRows]) -> Linear:
        """Some of the same inputs as one, above each other."""

    def rows(self, name: str, count: int, width: int) -> Tensor:
        """16 bits, [count, width], of each token."""

    def head(self, rows: Tensor) -> LMHead:
        """What makes logits of such rows."""


@dataclass(frozen=True, slots=True)
class PackedMatrices:
    """All packed."""

    source: GroupSource
    bits: int
    """At most so many."""
    dense: bool
    """Whether to keep every matrix in bfloat16, too."""

    def linear(self, parts: Sequence[MatrixRows]) -> Linear:
        """See `Matrices`."""
        return Int4Linear.of(stacked([*map(self._groups, parts)]), dense=self.dense)

    def _groups(self, part: MatrixRows) -> GroupQuantized:
        groups = self.source.groups(part.name).rounded(self.bits)
        of_shape(groups.q, part.rows, part.columns)
        return groups if part.order is None else groups.rows(part.order)

    def rows(self, name: str, count: int, width: int) -> Tensor:
        """See `Matrices`."""
        return of_shape(self.source.floats(name), count, width).half()

    def head(self, rows: Tensor) -> LMHead:
        """See `Matrices`."""
        return HalfWeight(rows)


def of_shape(tensor: Tensor, *shape: int) -> Tensor:
    """The tensor, which should be of a shape.

    Raises:
        ValueError: it is not.
    """
    if tensor.shape != shape:
        raise ValueError(f"a tensor of {tuple(tensor.shape)} should be of {shape}")
    return tensor
