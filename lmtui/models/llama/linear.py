"""Interfaces of linear layers and sources of weights, and linear layers in int4 and
int8.

Knows no model: names and sizes are given. D is the width of a model, V its vocabulary
size; N, K and m are as in `int4`.
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
    """A matrix [N, K] to multiply with, whatever the format of its weights."""

    @property
    def takes(self) -> torch.dtype:
        """The dtype of its inputs."""

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
        """The format of its weights: `int8`, `bfloat16`, …"""

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs [m, K]: [m, N], float32 or the dtype of the
        inputs."""

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


class GroupSource(WeightSource, Protocol):
    """A source of group-quantised weights."""

    def groups(self, name: str) -> GroupQuantized:
        """Return a matrix [N, K] in groups of 32 columns."""


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


@dataclass(frozen=True, slots=True)
class PackedMatrices:
    """Linear layers in int4 or int8, and an LM head in float16."""

    source: GroupSource
    bits: int
    """The most bits of a weight."""
    dense: bool
    """Whether to keep every matrix in bfloat16 as well."""

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

    def head(self, rows: Embedding) -> LMHead:
        """See `Matrices`."""
        assert isinstance(rows, Tensor)
        return HalfWeight(rows)


def of_shape(tensor: Tensor, *shape: int) -> Tensor:
    """Return the tensor, checked to have the given shape.

    Raises:
        ValueError: it is not.
    """
    if tensor.shape != shape:
        raise ValueError(f"a tensor of {tuple(tensor.shape)} should be of {shape}")
    return tensor
