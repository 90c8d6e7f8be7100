"""Ranking of a vocabulary by (-logit, id), computed as far as it is needed.

V is the size of the vocabulary. Logits stay on the model's device; the ranked ones are
copied to main memory, where the filters run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmtui.engine.softmax import log_total

LEAST = float(np.finfo(np.float32).min)
"""The least logit of a token that can be drawn."""
_BLOCK = 32  # logits per block in the search for the greatest

SortKey = tuple[float, int]
"""(-logit, id) of a token: the smaller it is, the earlier in the ranking."""


def to_cpu(*parts: Tensor) -> list[Tensor]:
    """Copy small tensors of one device to main memory, all in one copy, since each copy
    waits for the device. Integers are exact up to 2^53."""
    if parts[0].device.type == "cpu":
        return list(parts)
    whole = torch.cat([part.double().flatten() for part in parts]).cpu()
    pieces = torch.split(whole, [part.numel() for part in parts])
    return [
        piece.to(part.dtype).view(part.shape)
        for piece, part in zip(pieces, parts, strict=True)
    ]


def to_device(ids: Sequence[int] | NDArray[np.int64] | Tensor, like: Tensor) -> Tensor:
    """Copy token ids to the device of another tensor, without waiting for that
    device."""
    return torch.as_tensor(ids, dtype=torch.int64).to(like.device, non_blocking=True)


@dataclass(slots=True)
class Ranking:
    """First tokens by (-logit, id), in main memory; more are fetched when they are
    needed. As arrays: on a few numbers, numpy is several times faster than torch."""

    logits: Tensor
    """float32 [V], on any device."""
    ids: NDArray[np.int64]
    """int64 [m]."""
    values: NDArray[np.float32]
    """float32 [m], the logits of `ids`."""
    totals: dict[tuple[float, float | None], float] = field(default_factory=dict)
    """`log_total` by temperature and floor, where it is known."""
    deviation: float | None = None
    """`standard_deviation` of all logits, where it is known."""

    def first(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the first `count` ids and logits."""
        if count > self.ids.size:
            ids, values = to_cpu(*rank(self.logits, count))
            self.ids, self.values = ids.numpy(), values.numpy()
        return self.ids[:count], self.values[:count]

    def total(self, temperature: float, floor: float | None = None) -> float:
        """Return `log_total` of the logits that are at least `floor`, or of all."""
        key = temperature, floor
        if key not in self.totals:
            logits = self.logits
            if floor is not None:
                logits = logits.masked_fill(logits < floor, -torch.inf)
            self.totals[key] = float(log_total(logits, temperature))
        return self.totals[key]

    def key(self, index: int) -> SortKey:
        ids, values = self.first(index + 1)
        return -float(values[index]), int(ids[index])


def rank(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the first `count` tokens of logits [..., V] by (-logit, id): ids [..., n]
    and logits [..., n], on the same device. Reads values only on the CPU, so that it
    never waits for a GPU."""
    few = 0 < count < logits.shape[-1] // 8
    if few and logits.device.type == "cpu":
        if logits.dim() == 1:
            ids = torch.from_numpy(_top_ids(logits.numpy(), count))
        else:
            rows = logits.reshape(-1, logits.shape[-1]).numpy()
            stacked = torch.from_numpy(np.stack([_top_ids(row, count) for row in rows]))
            ids = stacked.view(*logits.shape[:-1], count)
        return ids, logits.gather(-1, ids)
    keys = _order_keys(logits)
    if few:
        ids = keys.topk(count).indices
    else:
        ids = keys.sort(descending=True).indices[..., :count]
    return ids, logits.gather(-1, ids)


def _top_ids(logits: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the ids of the first `count` tokens of logits [V] by (-logit, id).

    The n greatest logits are at least as great as the n greatest maxima of blocks, so
    only those that are so great are sorted.
    """
    candidates = logits
    if count <= logits.size // (8 * _BLOCK):
        # A block is a column, so that its maximum is computed for many blocks at a
        # time.
        blocks = logits.size // _BLOCK
        candidates = logits[: _BLOCK * blocks].reshape(_BLOCK, blocks).max(0)
    floor = np.partition(candidates, -count)[-count]
    impossible = floor == -np.inf
    ids = np.flatnonzero(logits > floor if impossible else logits >= floor)
    ids = ids[(-logits[ids]).argsort(kind="stable")][:count]
    if impossible:
        others = np.flatnonzero(logits == floor)[: count - len(ids)]
        ids = np.concatenate([ids, others])
    return ids


def _order_keys(logits: Tensor) -> Tensor:
    """Map logits [..., V] to distinct int64 [..., V], greatest first in the order
    (-logit, id).

    The bits of float32 numbers of one sign are in their numeric order, reversed for
    negative ones.
    """
    bits = (logits + 0.0).view(torch.int32)  # -0 is 0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    ids = torch.arange(logits.shape[-1], device=logits.device)
    return (ordered.long() << 32) - ids


def standard_deviation(logits: Tensor) -> Tensor:
    """Return the standard deviation of the logits [V] that are not -inf; float32 []."""
    if logits.device.type == "cpu":
        return torch.tensor(_standard_deviation(logits.numpy()))
    possible = logits > -torch.inf
    total = possible.sum()
    finite = torch.where(possible, logits, 0.0)
    apart = torch.where(possible, finite - finite.sum() / total, 0.0)
    return torch.dot(apart, apart).div(total).sqrt()


def _standard_deviation(logits: NDArray[np.float32]) -> float:
    """As `standard_deviation`, on a CPU."""
    possible = logits > -np.inf
    count = max(int(np.count_nonzero(possible)), 1)
    if count == logits.size:
        apart = logits - logits.sum() / count
    else:
        bits = all_bits(possible)
        apart_bits = logits.view(np.int32) & bits
        apart = apart_bits.view(np.float32)
        apart -= apart.sum() / count
        apart_bits &= bits
    return math.sqrt(np.dot(apart, apart) / count)


def all_bits(chosen: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return numbers [n] with all bits set where `chosen` [n] is true, and none
    elsewhere."""
    return (-chosen.view(np.int8)).astype(np.int32)


def count_from(logits: Tensor, floor: float) -> int:
    """Return how many of the logits [V] are at least `floor`. numpy counts faster on a
    CPU."""
    if logits.device.type == "cpu":
        return int(np.count_nonzero(logits.numpy() >= floor))
    return int((logits >= floor).sum())


def entropy(logprobs: Tensor) -> Tensor:
    """Entropy in nats of logprobs [..., V]: float64; impossible tokens add nothing."""
    exact = logprobs.double()
    return -(exact.exp() * exact).nan_to_num_(0.0).sum(-1)  # the only NaN are 0 · -inf
