"""The loss of a causal language model, computed for a few rows of logits at a time.

Where logits are a plain product of hidden states with a matrix, the full logits [n, V]
are never in memory: each block of rows adds its part of the loss and of the gradients,
and is freed. Other models (scaled or soft-capped logits, a bias) compute their logits
themselves. Losses are sums in nats; V is the vocabulary size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED = -100
"""Target value of a position that is not predicted."""

_BLOCK_BYTES = 24 * 2**20  # of float32 logits in memory at once
_PROBE_SIZE = 30.0  # of the probe's hidden states; large enough to show soft-capping


class SummedLoss:
    """The summed loss of one model over blocks of tokens."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._weight = plain_head(model)

    def __call__(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of -log P(target | ids up to its position).

        Both are [batch, n]; targets equal to `IGNORED` don't count.
        """
        if self._weight is None:
            logits = self._model(input_ids=ids, use_cache=False).logits
            return functional.cross_entropy(
                logits.float().flatten(0, 1),
                targets.flatten(),
                ignore_index=IGNORED,
                reduction="sum",
            )
        decoder = self._model.get_decoder()
        hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state
        used, device = self._weight.detach(), ids.device.type
        if torch.is_autocast_enabled(device):
            # Once, and not for each block of rows.
            used = used.to(torch.get_autocast_dtype(device))
        apply: Any = _PlainLoss.apply
        total: Tensor = apply(
            hidden.flatten(0, 1), self._weight, used, targets.flatten()
        )
        return total


@torch.no_grad()
def plain_head(model: Any) -> Tensor | None:
    """Return the matrix [V, width] if a model's logits are a plain product of its
    decoder's output with it, else None.

    The model is asked for the logits of a probe in the place of that output.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    if decoder is model or type(head) is not nn.Linear or head.bias is not None:
        return None
    weight: Tensor = head.weight
    size = 2 * weight.shape[1]
    probe = torch.linspace(-_PROBE_SIZE, _PROBE_SIZE, size).view(1, 2, -1).to(weight)

    def replace(_module: Any, _given: Any, output: Any) -> Any:
        output.last_hidden_state = probe
        return output

    hook = decoder.register_forward_hook(replace)
    try:
        ids = torch.zeros(1, 2, dtype=torch.long, device=weight.device)
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        hook.remove()
    plain = functional.linear(probe, weight)
    is_plain = torch.allclose(logits.float(), plain.float(), rtol=1e-3, atol=1e-3)
    return weight if is_plain else None


def _rows(vocabulary: int) -> int:
    return max(16, _BLOCK_BYTES // (4 * vocabulary))


def _blocks(targets: Tensor, size: int) -> tuple[Tensor, ...]:
    """Return the positions of the targets that count, at most `size` in a tensor."""
    positions = (targets != IGNORED).nonzero().squeeze(1)
    return torch.split(positions, size) if len(positions) else ()


class _PlainLoss(torch.autograd.Function):
    """The loss where logits are hidden · weightᵀ; hidden [n, width], weight [V, width].

    The gradient with respect to the logits is softmax minus one-hot, so forward
    computes the gradients too, while it has the logits. `used` is the weight in the
    dtype of the product; targets are [n].
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, used: Tensor, targets: Tensor
    ) -> Tensor:
        to_hidden = torch.zeros_like(hidden) if ctx.needs_input_grad[0] else None
        to_weight = (
            torch.zeros_like(weight, dtype=torch.float32)
            if ctx.needs_input_grad[1]
            else None
        )
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for rows in _blocks(targets, _rows(used.shape[0])):
            part, target = hidden[rows].to(used.dtype), targets[rows].unsqueeze(1)
            # 1) loss: log-sum-exp minus the target's logit
            logits = (part @ used.t()).float()  # [rows, V]
            largest = logits.amax(1, keepdim=True)
            truth = logits.gather(1, target)
            scaled = logits.sub_(largest).exp_()
            mass = scaled.sum(1, keepdim=True)
            total += (mass.log() + largest - truth).sum(dtype=torch.float64)
            if to_hidden is None and to_weight is None:
                continue
            # 2) gradient of the logits [rows, V]: softmax - one-hot
            slope = scaled.div_(mass)
            slope.scatter_add_(1, target, torch.full_like(truth, -1.0))
            # 3) gradients of hidden states [rows, width] and weight [V, width]
            slope = slope.to(used.dtype)
            if to_hidden is not None:
                to_hidden[rows] = (slope @ used).to(hidden.dtype)
            if to_weight is not None:
                to_weight += slope.t() @ part
        ctx.save_for_backward(to_hidden, to_weight)
        ctx.dtype = weight.dtype
        return total.float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        to_hidden, to_weight = ctx.saved_tensors
        return (
            None if to_hidden is None else to_hidden.mul_(grads[0]),
            None if to_weight is None else to_weight.mul_(grads[0]).to(ctx.dtype),
            None,
            None,
        )
