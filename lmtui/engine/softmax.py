"""Log-softmax of logits over the full vocabulary, at temperature 1.

The exponentials are float32; every sum over the vocabulary is float64: a float32 sum of
so many numbers is off by up to 1e-4 nats, mostly to the same side for one model. V is
the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lmtui.kernels.logits import LogitsKernel, logits_kernel

_LEAST = -104.0  # in place of -inf: exp of it is 0 in float32, and 0 · -104 is 0
_CPU_CELLS = 1 << 18  # logits of a block on a CPU: they stay in the processor's cache
_COLDEST = 1e-38  # a temperature that is not 0 in float32


def log_normaliser(logits: Tensor) -> Tensor:
    """Return log Σ exp(logit) of logits [..., V]: float64 [...]. It is NaN where they
    are no distribution."""
    if (kernel := _kernel_for(logits)) is not None:
        return kernel.moments(logits)[..., 0]
    parts = [greatest + _sum(exps).log() for greatest, _, exps in _exponentials(logits)]
    return _joined(parts, logits)


def log_total(logits: Tensor, temperature: float) -> Tensor:
    """Return log Σ exp((logit − greatest) / temperature) of logits [V]: float64 [].
    Without the greatest one, the least temperatures would give infinities."""
    if (kernel := _kernel_for(logits)) is not None:
        return kernel.total(logits, max(temperature, _COLDEST))
    [(_, _, exps)] = _exponentials(logits, temperature)
    return _sum(exps).log()[0]


def log_normaliser_and_moments(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `log_normaliser`, float64 [...], and mean and variance of the surprisal:
    the entropy in nats and the varentropy in nats², float32 [...]. Tokens of
    probability 0 add nothing."""
    if (kernel := _kernel_for(logits)) is not None:
        normaliser, entropy, varentropy = kernel.moments(logits).unbind(-1)
        return normaliser, entropy.float(), varentropy.float()
    normalisers, entropies, varentropies = [], [], []
    for greatest, below, exps in _exponentials(logits):
        total = _sum(exps)
        log_total = total.log()
        mean = _sum_of_products(exps, below) / total
        # Of the distances from the mean: squares would round too much of a row whose
        # tokens are all far below the greatest.
        rounded = mean.float()
        _subtract(below, rounded.unsqueeze(-1))
        variance = _sum_of_products(exps, below) / total - mean * (mean - rounded)
        normalisers.append(greatest + log_total)
        entropies.append(log_total - mean)
        varentropies.append(variance.clamp_(min=0))
    # Stored as float32, which is the same on every device; the last bits of the sums
    # are not.
    entropy, varentropy = (
        _joined(parts, logits).float() for parts in (entropies, varentropies)
    )
    return _joined(normalisers, logits), entropy, varentropy


def logprobs_of(logits: Tensor, normaliser: Tensor) -> Tensor:
    """Return the log-probabilities, float32 [..., n], of n tokens with these logits,
    given the `log_normaliser` [...] of their rows."""
    return (logits.double() - normaliser.unsqueeze(-1)).float()


def log_softmax(logits: Tensor) -> Tensor:
    """Return the log-probabilities of logits [..., V], float32."""
    parts = [logprobs_of(part, log_normaliser(part)) for part in blocks(logits)]
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    return whole.view_as(logits)


def _kernel_for(logits: Tensor) -> LogitsKernel | None:
    on_cpu = logits.device.type == "cpu" and logits.dtype == torch.float32
    return logits_kernel() if on_cpu and logits.numel() else None


def blocks(logits: Tensor) -> tuple[Tensor, ...]:
    """Split logits [..., V] into rows [n, V] that are reduced together."""
    rows = logits.reshape(-1, logits.shape[-1])
    fitting = max(1, _CPU_CELLS // logits.shape[-1])
    size = fitting if logits.device.type == "cpu" else max(1, len(rows))
    return torch.split(rows, size)


def _exponentials(
    logits: Tensor, temperature: float = 1.0
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the greatest logit of each row, float64 [n], how far each logit is below
    it, in units of the temperature, and the exponentials of these, float32 [n, V], in
    memory that is used again."""
    parts = blocks(logits)
    # Allocating memory for each block takes longer than the reductions.
    below, exps = torch.empty_like(parts[0]), torch.empty_like(parts[0])
    for rows in parts:
        below, exps = below[: len(rows)], exps[: len(rows)]
        greatest = greatest_of(rows).unsqueeze(-1)
        if rows.device.type == "cpu":
            _write_exponentials(rows, greatest, temperature, below, exps)
        else:
            torch.sub(rows, greatest, out=below)
            below.div_(max(temperature, _COLDEST)).clamp_(min=_LEAST)
            torch.exp(below, out=exps)
        yield greatest.squeeze(-1).double(), below, exps


def _write_exponentials(
    rows: Tensor, greatest: Tensor, temperature: float, below: Tensor, exps: Tensor
) -> None:
    """As torch does, but by NumPy, which wakes no thread: for one row that takes longer
    than the row, and milliseconds where the other core is busy. The last bit of an
    exponential can be another one."""
    numbers = below.numpy()
    # What is no distribution gives NaN, and the coldest temperature infinities.
    with np.errstate(invalid="ignore", over="ignore"):
        np.subtract(rows.numpy(), greatest.numpy(), out=numbers)
        if temperature != 1:
            np.divide(numbers, np.float32(max(temperature, _COLDEST)), out=numbers)
    np.maximum(numbers, _LEAST, out=numbers)
    np.exp(numbers, out=exps.numpy())


def greatest_of(logits: Tensor) -> Tensor:
    """Return the greatest of logits [..., V], [...]; NaN where one is."""
    if logits.device.type == "cpu":
        return torch.from_numpy(np.asarray(logits.numpy().max(-1)))
    return logits.amax(-1)


def _subtract(numbers: Tensor, less: Tensor) -> None:
    """Subtract a number [n, 1] from each of rows [n, V]."""
    if numbers.device.type == "cpu":
        rows = numbers.numpy()
        np.subtract(rows, less.numpy(), out=rows)
    else:
        numbers.sub_(less)


def _sum_of_products(numbers: Tensor, factors: Tensor) -> Tensor:
    """Return the sums of products of rows [n, V], which replace `numbers`: float64
    [n]."""
    if numbers.device.type == "cpu":
        products = numbers.numpy()
        np.multiply(products, factors.numpy(), out=products)
    else:
        numbers.mul_(factors)
    return _sum(numbers)


def _sum(numbers: Tensor) -> Tensor:
    """Return the sums of float32 rows [n, V]: float64 [n]. On a CPU by NumPy, which
    converts a few numbers at a time; torch makes a float64 copy of all."""
    if numbers.device.type == "cpu":
        return torch.from_numpy(np.add.reduce(numbers.numpy(), -1, dtype=np.float64))
    return numbers.sum(-1, dtype=torch.float64)


def _joined(parts: list[Tensor], logits: Tensor) -> Tensor:
    """Return one number for each row of logits [..., V]."""
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).view(logits.shape[:-1])
