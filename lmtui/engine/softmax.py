"""Log-softmax of logits over the full vocabulary, at temperature 1.

The exponentials are float32; every sum over the vocabulary is float64: a float32 sum of
so many numbers is off by up to 1e-4 nats, mostly to the same side for one model. V is
the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_LEAST = -104.0  # in place of -inf: exp of it is 0 in float32, and 0 · -104 is 0
_CPU_CELLS = 1 << 18  # logits of a block on a CPU: they stay in the processor's cache


def log_normaliser(logits: Tensor) -> Tensor:
    """Return log Σ exp(logit) of logits [..., V]: float64 [...]. It is NaN where they
    are no distribution."""
    totals = [
        greatest + exps.sum(-1, dtype=torch.float64).log()
        for greatest, _, exps in _exponentials(logits)
    ]
    return torch.cat(totals).view(logits.shape[:-1])


def log_normaliser_and_entropy(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return `log_normaliser` and the entropy in nats, both float64 [...]. Tokens of
    probability 0 add nothing."""
    totals, entropies = [], []
    for greatest, below, exps in _exponentials(logits):
        total = exps.sum(-1, dtype=torch.float64)
        mean = exps.mul_(below).sum(-1, dtype=torch.float64) / total
        totals.append(greatest + total.log())
        entropies.append(total.log() - mean)
    shape = logits.shape[:-1]
    return torch.cat(totals).view(shape), torch.cat(entropies).view(shape)


def logprobs_of(logits: Tensor, normaliser: Tensor) -> Tensor:
    """Return the log-probabilities, float32 [..., n], of n tokens with these logits,
    given the `log_normaliser` [...] of their rows."""
    return (logits.double() - normaliser.unsqueeze(-1)).float()


def log_softmax(logits: Tensor) -> Tensor:
    """Return the log-probabilities of logits [..., V], float32."""
    parts = [logprobs_of(part, log_normaliser(part)) for part in blocks(logits)]
    return torch.cat(parts).view(logits.shape)


def blocks(logits: Tensor) -> tuple[Tensor, ...]:
    """Split logits [..., V] into rows [n, V] that are reduced together."""
    rows = logits.reshape(-1, logits.shape[-1])
    fitting = max(1, _CPU_CELLS // logits.shape[-1])
    size = fitting if logits.device.type == "cpu" else max(1, len(rows))
    return torch.split(rows, size)


def _exponentials(logits: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the greatest logit of each row, float64 [n], how far each logit is below
    it, and the exponentials of these, float32 [n, V]."""
    for rows in blocks(logits):
        greatest = rows.amax(-1, keepdim=True)
        below = (rows - greatest).clamp_(min=_LEAST)
        yield greatest.squeeze(-1).double(), below, below.exp()
