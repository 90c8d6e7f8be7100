"""Sums over the vocabulary of logits in main memory, by `logits.cpp`.

Knows no model. V is the size of the vocabulary.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor

from lmtui.kernels import build
from lmtui.kernels.library import ADDRESS, WHOLE, bound

_NEAR = 1e-6


class LogitsKernel:
    """The compiled sums, as `engine.softmax` defines them."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Raise AttributeError where the library lacks them."""
        self._moments = bound(library, "logits_moments", ADDRESS, WHOLE, WHOLE, ADDRESS)
        row = ADDRESS, WHOLE, ctypes.c_float
        self._total = bound(library, "logits_total", *row, ADDRESS)

    def moments(self, rows: Tensor) -> Tensor:
        """Return log normaliser, entropy and varentropy of logits, float32 [..., V]:
        float64 [..., 3]."""
        rows, size = rows.contiguous(), rows.shape[-1]
        out = torch.empty(*rows.shape[:-1], 3, dtype=torch.float64)
        self._moments(rows.data_ptr(), rows.numel() // size, size, out.data_ptr())
        return out

    def total(self, logits: Tensor, temperature: float) -> Tensor:
        """Return log Σ exp((logit − greatest) / temperature) of logits, float32 [V]:
        float64 []."""
        logits, out = logits.contiguous(), torch.empty((), dtype=torch.float64)
        self._total(logits.data_ptr(), len(logits), temperature, out.data_ptr())
        return out

    def is_right(self) -> bool:
        """Return whether the sums of random rows are those that torch computes."""
        rows = torch.linspace(-9, 9, 303).sin().mul(20).view(3, -1)
        logprobs = rows.double().log_softmax(-1)
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        wanted = torch.stack([rows.double().logsumexp(-1), entropy], -1)
        total = (rows[0] - rows[0].max()).double().div(2).logsumexp(0)
        near = torch.allclose(self.moments(rows)[:, :2], wanted, atol=_NEAR)
        return near and torch.allclose(self.total(rows[0], 2.0), total, atol=_NEAR)


@cache
def logits_kernel() -> LogitsKernel | None:
    """Return the sums of a library that is there when this is first asked; None without
    one."""
    file = build.any_library()
    if file is None:
        return None
    try:
        kernel = LogitsKernel(ctypes.CDLL(str(file)))
    except (OSError, AttributeError):
        return None
    return kernel if kernel.is_right() else None
