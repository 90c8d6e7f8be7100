"""The loss of a causal language model, computed for a few rows of logits at a time.

The full logits [n, V] are never in memory: each block of rows adds its part of the loss
and of the gradients, and is freed. Losses are sums in nats; V is the vocabulary size.
Knows neither documents nor optimisers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmtui.train.cpu_kernels import Rounded, computes_in_half, product

IGNORED = -100
"""Target value of a position that is not predicted."""

_BLOCK_BYTES = 24 * 2**20  # of float32 logits in memory at once
_PROBE_SIZE = 30.0  # of the probe's hidden states; large enough to show soft-capping
_PROBE_IDS = (1, 2, 3)


class SummedLoss:
    """The summed loss of one model over blocks of tokens.

    The part of a model behind its decoder may be more than a product with a matrix
    (scaling, soft-capping, a bias). Probes of the model show which it is: a plain
    product takes `_PlainLoss`, anything else `_AskedLoss`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        decoder = model.get_decoder()
        self._decoder: Any = None if decoder is model else decoder
        self._vocabulary = model.config.get_text_config().vocab_size
        self._answer = self._find_answer()
        weight = self._plain_weight()
        self._weight = weight
        self._rounded = None if weight is None else Rounded(weight)

    def __call__(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of -log P(target | ids up to its position).

        Both are [batch, n]; targets equal to `IGNORED` don't count.
        """
        hidden, head = self._hidden(ids)
        flat = hidden.reshape(-1, hidden.shape[-1])
        wanted = targets.reshape(-1)
        if self._weight is None or self._rounded is None:
            trained = self._head_weights() if self._decoder is not None else []
            asked: Any = _AskedLoss.apply
            total: Tensor = asked(
                flat, wanted, (head, _rows(self._vocabulary)), *trained
            )
            return total
        used = self._rounded() if computes_in_half() else self._weight.detach()
        apply: Any = _PlainLoss.apply
        total = apply(flat, self._weight, used, wanted)
        return total

    def _hidden(self, ids: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the hidden states of ids [batch, n], and the function to logits.

        Hidden states are [batch, n, width]. Without a separate decoder they are the
        logits [batch, n, V], and the function is the identity.
        """
        if self._decoder is None:
            return self._model(input_ids=ids, use_cache=False).logits, lambda x: x
        output = self._decoder(input_ids=ids, use_cache=False)
        return output.last_hidden_state, self._head

    def _head(self, hidden: Tensor) -> Tensor:
        """Return the logits [n, V] of hidden states [n, width], computed by the
        model."""
        with self._replaced(hidden.unsqueeze(0)):
            # Any ids will do: the decoder that would read them is replaced.
            ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
            logits: Tensor = self._model(input_ids=ids, use_cache=False).logits[0]
        return logits

    @contextmanager
    def _replaced(self, hidden: Tensor) -> Iterator[list[bool]]:
        """Make the decoder return `hidden`; the list is filled once it is called."""
        assert self._decoder is not None
        used: list[bool] = []

        def forward(*_: Any, **__: Any) -> Any:
            used.append(True)
            return self._answer(last_hidden_state=hidden)

        self._decoder.forward = forward
        try:
            yield used
        finally:
            del self._decoder.forward

    @torch.no_grad()
    def _find_answer(self) -> Callable[..., Any]:
        """Return the type of the decoder's output.

        Where the model does not call the decoder as one part, set the decoder to None.
        """
        if self._decoder is None:
            return dict
        ids = torch.tensor([_PROBE_IDS], device=self._model.device)
        output = self._decoder(input_ids=ids, use_cache=False)
        kind: Callable[..., Any] = type(output)
        self._answer = kind
        with self._replaced(output.last_hidden_state) as used:
            self._model(input_ids=ids, use_cache=False)
        if not used:
            self._decoder = None
        return kind

    @torch.no_grad()
    def _plain_weight(self) -> Tensor | None:
        """Return the matrix [V, width] if logits are a plain product with it, else
        None."""
        head = self._model.get_output_embeddings()
        if self._decoder is None or type(head) is not nn.Linear:
            return None
        weight: Tensor = head.weight
        width = weight.shape[1]
        hidden = torch.linspace(-_PROBE_SIZE, _PROBE_SIZE, 2 * width).view(2, width)
        hidden = hidden.to(weight)
        asked, plain = self._head(hidden).float(), functional.linear(hidden, weight)
        close = torch.allclose(asked, plain.float(), rtol=1e-3, atol=1e-3)
        return weight if close else None

    def _head_weights(self) -> list[Tensor]:
        """Return the trainable weights outside the decoder, and those of the output
        embedding."""
        inner = {id(weight) for weight in self._decoder.parameters()}
        head = self._model.get_output_embeddings()
        outer = [w for w in self._model.parameters() if id(w) not in inner]
        tied = [] if head is None else list(head.parameters())
        found = {id(weight): weight for weight in (*outer, *tied)}
        return [weight for weight in found.values() if weight.requires_grad]


def _rows(vocabulary: int) -> int:
    """Return how many rows of logits are in memory at once."""
    return max(16, _BLOCK_BYTES // (4 * vocabulary))


def _blocks(targets: Tensor, size: int) -> tuple[Tensor, ...]:
    """Return the positions of the targets that count, at most `size` in a tensor."""
    places = (targets != IGNORED).nonzero().squeeze(1)
    return torch.split(places, size) if len(places) else ()


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
            part, wanted = hidden[rows].to(used.dtype), targets[rows].unsqueeze(1)
            # 1) loss: log-sum-exp minus the target's logit
            logits = product(part, used).float()  # [rows, V]
            largest = logits.amax(1, keepdim=True)
            truth = logits.gather(1, wanted)
            scaled = logits.sub_(largest).exp_()
            mass = scaled.sum(1, keepdim=True)
            total += (mass.log() + largest - truth).sum(dtype=torch.float64)
            if to_hidden is None and to_weight is None:
                continue
            # 2) gradient of the logits [rows, V]: softmax - one-hot
            slope = scaled.div_(mass)
            slope.scatter_add_(1, wanted, torch.full_like(truth, -1.0))
            # 3) gradients of hidden states [rows, width] and weight [V, width]
            slope = slope.to(used.dtype)
            if to_hidden is not None:
                to_hidden[rows] = product(slope, used.t()).to(hidden.dtype)
            if to_weight is not None:
                to_weight += product(slope.t(), part.t())
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


class _AskedLoss(torch.autograd.Function):
    """The loss where the model computes the logits of a few hidden states at a time.

    hidden [n, width], targets [n]; `how` is the function hidden → logits and the rows
    of a block; `weights` are the trainable ones outside the decoder.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        targets: Tensor,
        how: tuple[Callable[[Tensor], Tensor], int],
        *weights: Tensor,
    ) -> Tensor:
        head, size = how
        to_hidden = torch.zeros_like(hidden)
        to_weights = [torch.zeros_like(weight) for weight in weights]
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for rows in _blocks(targets, size):
            with torch.enable_grad():
                part = hidden[rows].detach().requires_grad_()
                logits = head(part).float()  # [rows, V]
                loss = functional.cross_entropy(logits, targets[rows], reduction="sum")
            total += loss.detach().double()
            if not any(ctx.needs_input_grad):
                continue
            slopes = torch.autograd.grad(loss, (part, *weights), allow_unused=True)
            if slopes[0] is not None:
                to_hidden[rows] = slopes[0]
            for whole, slope in zip(to_weights, slopes[1:], strict=True):
                if slope is not None:
                    whole += slope
        ctx.save_for_backward(to_hidden, *to_weights)
        return total.float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        to_hidden, *to_weights = ctx.saved_tensors
        slope = grads[0]
        return (
            to_hidden.mul_(slope),
            None,
            None,
            *(weight.mul_(slope) for weight in to_weights),
        )
