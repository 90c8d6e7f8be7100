"""Changes of logits: bias, bans, and the penalties of tokens that were used before.

Each is a pure function that leaves its argument as it is.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lmtui.engine.sampling.ranks import to_device
from lmtui.engine.token_ids import Ids


def biased(logits: Tensor, ids: Tensor, bias: Tensor) -> Tensor:
    """Return logits [V] with `bias`, float32 [n], added to those of the tokens `ids`,
    int64 [n]; -inf bans one."""
    return logits.index_add(0, ids, bias)


def masked(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return logits [V] with those of tokens that are not allowed, bool [V], at
    -inf."""
    if logits.device.type == "cpu":
        # NumPy does this in 20 µs; threads of torch may wait for a core much longer.
        kept = np.where(allowed.numpy(), logits.numpy(), np.float32(-math.inf))
        return torch.from_numpy(kept)
    forbidden = allowed.logical_not().to(logits.device, non_blocking=True)
    return logits.masked_fill(forbidden, -math.inf)


def occurrences(context: Ids) -> tuple[Ids, Ids]:
    """Return the tokens of a context [n], each once and in ascending order, and how
    often each occurs."""
    counts = np.bincount(context)
    seen = np.flatnonzero(counts)
    return seen, counts[seen]


def penalize(
    logits: Tensor,
    ids: Ids,
    counts: Ids,
    *,
    repetition: float = 1.0,
    presence: float = 0.0,
    frequency: float = 0.0,
) -> Tensor:
    """Return logits [V] with those of the tokens `ids` [m] weakened, which occurred
    `counts` [m] times.

    The repetition penalty divides positive logits and multiplies negative ones (Keskar
    et al. 2019, CTRL, section 4.1). Then the presence penalty is subtracted once, and
    the frequency penalty for each occurrence (OpenAI's API; llama.cpp in this order).
    """
    if not ids.size:
        return logits
    on_cpu = logits.device.type == "cpu"
    if on_cpu:  # NumPy reads and assigns a thousand places in a tenth of the time
        values = torch.from_numpy(logits.numpy()[ids])
    else:
        places = to_device(ids, logits)
        values = logits[places]
    if repetition != 1:
        values = torch.where(values > 0, values / repetition, values * repetition)
    if presence or frequency:
        lowered = torch.from_numpy((frequency * counts + presence).astype(np.float32))
        values = values - lowered.to(logits.device, non_blocking=True)
    if not on_cpu:
        return logits.index_copy(0, places, values)
    weakened = logits.clone()
    weakened.numpy()[ids] = values.numpy()
    return weakened
