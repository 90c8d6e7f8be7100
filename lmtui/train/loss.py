"""The loss of a causal language model, a few rows of its logits at a time.

Owns how hidden states become a loss and gradients without all logits ever being in
memory at once: each block of rows gives its part of both, and is forgotten. A model's
last step may be more than a product with a matrix (scaling, soft-capping, a bias); what
it is, is found out by asking the model. Knows neither documents nor optimisers.

Losses are sums in nats; V is the size of the vocabulary.
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
"""In place of a token that is not to be predicted."""

_BLOCK_BYTES = 24 * 2**20  # of float32 logits in memory at once
_PROBE_SIZE = 30.0  # of a hidden state; large enough for soft-capping to show
_PROBE_IDS = (1, 2, 3)


class SummedLoss:
    """The loss of one model over blocks of tokens."""

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
        """Sum of -log P of each target after the ids up to its place.

        Both are [batch, n]; a target of `IGNORED` counts for nothing.
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
        """What the layers make of ids [batch, n], and what makes it logits."""
        if self._decoder is None:
            return self._model(input_ids=ids, use_cache=False).logits, lambda x: x
        output = self._decoder(input_ids=ids, use_cache=False)
        return output.last_hidden_state, self._head

    def _head(self, hidden: Tensor) -> Tensor:
        """Hidden states [n, width] as logits [n, V], by the model itself."""
        with self._replaced(hidden.unsqueeze(0)):
            # Which ids they are is of no matter: the layers don't see them.
            ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
            logits: Tensor = self._model(input_ids=ids, use_cache=False).logits[0]
        return logits

    @contextmanager
    def _replaced(self, hidden: Tensor) -> Iterator[list[bool]]:
        """Let the layers answer `hidden` at once; the list is empty until they do."""
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
        """The kind of answer that the layers give to the model's last step. Where they
        are not called as one part, there are none to be told apart."""
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
        """The matrix [V, width] whose product the last step is; None where it is more
        than that."""
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
        """The weights outside the layers that are trained."""
        inner = {id(weight) for weight in self._decoder.parameters()}
        head = self._model.get_output_embeddings()
        outer = [w for w in self._model.parameters() if id(w) not in inner]
        tied = [] if head is None else list(head.parameters())
        found = {id(weight): weight for weight in (*outer, *tied)}
        return [weight for weight in found.values() if weight.requires_grad]


def _rows(vocabulary: int) -> int:
    """How many rows of logits are in memory at once."""
    return max(16, _BLOCK_BYTES // (4 * vocabulary))


def _blocks(targets: Tensor, size: int) -> tuple[Tensor, ...]:
    """The places of targets that count, at most `size` at a time."""
    places = (targets != IGNORED).nonzero().squeeze(1)
    return torch.split(places, size) if len(places) else ()


class _PlainLoss(torch.autograd.Function):
    """The loss where logits are a product with a matrix: its gradient is the softmax
    less the truth, so that forward and backward need the logits at the same time."""

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
            logits = product(part, used).float()  # [rows, V]
            largest = logits.amax(1, keepdim=True)
            truth = logits.gather(1, wanted)
            scaled = logits.sub_(largest).exp_()
            mass = scaled.sum(1, keepdim=True)
            total += (mass.log() + largest - truth).sum(dtype=torch.float64)
            if to_hidden is None and to_weight is None:
                continue
            slope = scaled.div_(mass)
            slope.scatter_add_(1, wanted, torch.full_like(truth, -1.0))
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
    """The loss where the model itself makes logits of a few hidden states at a time."""

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
