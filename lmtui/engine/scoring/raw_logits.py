"""Raw logits after the last tokens of a prompt, as bytes that another program reads.

Knows no text, no sampling and no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lmtui.engine.prefix_cache import PrefixCache
from lmtui.models.remote.wire import LOGIT_BYTES


def raw_logits(cache: PrefixCache, ids: Sequence[int], keep: int) -> Iterator[bytes]:
    """Yield the logits [n, V] after each of the last `keep` of `ids`, in blocks; an
    empty one after each part of a long prompt that has none. `cache` holds them then.
    """
    if keep == 1:  # the prompt of an answer is read like this: the numbers are its
        for _ in cache.prefill(ids):
            yield b""
        assert cache.logits is not None
        yield as_bytes(cache.logits)
        return
    start = max(0, len(ids) - keep)
    for first, states in cache.hidden_states(ids, start):
        wanted = states[max(0, start - first) :]
        for block in torch.split(wanted, cache.backend.block_rows):
            yield as_bytes(cache.backend.head(block)) if len(block) else b""


def as_bytes(logits: Tensor) -> bytes:
    """Return logits as bytes, row by row."""
    return bytes(logits.float().cpu().numpy().astype("<f4", copy=False).tobytes())


def from_bytes(data: bytes, vocabulary: int) -> Tensor:
    """Return the logits [n, V] that these bytes hold.

    Raises:
        ValueError: they are no whole rows.
    """
    count, rest = divmod(len(data), LOGIT_BYTES * vocabulary)
    if rest or not count:
        raise ValueError(f"{len(data)} bytes are no rows of {vocabulary} numbers")
    numbers = np.frombuffer(bytearray(data), dtype="<f4").astype(np.float32, copy=False)
    return torch.from_numpy(numbers).view(count, vocabulary)
