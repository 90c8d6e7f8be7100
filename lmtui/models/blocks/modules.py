"""Modules of torch around the matrices of a GGUF file, in place of a model's own.

They take the place of `nn.Linear`, `nn.Embedding` and the experts of a mixture. N is
the number of rows (outputs) of a matrix, K of columns (inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lmtui.models.llama.linear import BlockHead, BlockLinear, BlockRows


class GgufLinear(nn.Module):
    """A linear layer whose weights stay in the file."""

    def __init__(
        self,
        product: BlockLinear | BlockHead,
        bias: Tensor | None = None,
        columns: Tensor | None = None,
    ) -> None:
        """`bias` is float32 [N]; `columns`, int64 [K], is the file's column of each
        input."""
        super().__init__()
        self.product = product
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.order = None if columns is None else columns.argsort()
        """int64 [K]: the input that each of the file's columns reads."""
        self.weights = product.numel
        """The number of weights."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs [..., K]: float32 [..., N]."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        if self.order is not None:
            rows = rows[:, self.order]
        outputs = self.product.times(rows)
        if self.bias is not None:
            outputs += self.bias
        return outputs.view(*inputs.shape[:-1], -1)


class GgufEmbedding(nn.Module):
    """An embedding whose rows stay in the file."""

    def __init__(self, rows: BlockRows, scale: float = 1.0) -> None:
        """`scale` is what each number is multiplied by."""
        super().__init__()
        self.rows, self.scale = rows, scale
        self.num_embeddings, self.embedding_dim = rows.matrix.rows, rows.matrix.columns
        self.weights = self.num_embeddings * self.embedding_dim
        """The number of weights."""

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of ids, int64 [...]: float32 [..., K]."""
        found = self.rows[ids.flatten()].view(*ids.shape, -1)
        return found if self.scale == 1.0 else found.mul_(self.scale)


class GgufExperts(nn.Module):
    """The experts of a layer, whose weights stay in the file."""

    def __init__(
        self,
        experts: Sequence[tuple[BlockLinear, BlockLinear]],
        activation: Callable[[Tensor], Tensor],
    ) -> None:
        """`experts` are the stacked gate and up projections and the down projection of
        each."""
        super().__init__()
        self.experts, self.activation = experts, activation
        self.weights = sum(part.numel for expert in experts for part in expert)
        """The number of weights."""

    def forward(self, states: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        """Return the sum of what the chosen experts of each token make of states [m,
        D], by their shares: float32 [m, D]. `chosen`, int64, and `shares` are [m, top
        k]."""
        outputs = torch.zeros_like(states)
        for index in {*chosen.flatten().tolist()}:
            gate_up, down = self.experts[index]
            tokens, place = (chosen == index).nonzero(as_tuple=True)
            gate, up = gate_up.times(states[tokens]).chunk(2, -1)
            made = down.times(self.activation(gate) * up)
            outputs.index_add_(0, tokens, made * shares[tokens, place, None])
        return outputs
