"""Sums over the vocabulary of logits in main memory, by `logits.cpp`.

Knows no model. n is a number of rows, V the size of the vocabulary.
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
        rows = ADDRESS, WHOLE, WHOLE
        self._moments = bound(library, "logits_moments", *rows, ADDRESS)
        self._totals = bound(library, "logits_totals", *rows, ctypes.c_float, ADDRESS)

    def moments(self, rows: Tensor) -> Tensor:
        """Return the log normaliser, entropy and varentropy of logits, float32 [n, V]:
        float64 [n, 3]."""
        out = torch.empty(len(rows), 3, dtype=torch.float64)
        rows = rows.contiguous()
        self._moments(rows.data_ptr(), *rows.shape, out.data_ptr())
        return out

    def totals(self, rows: Tensor, temperature: float) -> Tensor:
        """Return log Σ exp((logit − greatest) / temperature) of logits, float32 [n, V]:
        float64 [n]."""
        out = torch.empty(len(rows), dtype=torch.float64)
        rows = rows.contiguous()
        self._totals(rows.data_ptr(), *rows.shape, temperature, out.data_ptr())
        return out

    def is_right(self) -> bool:
        """Return whether the sums of random rows are those that torch computes."""
        rows = torch.linspace(-9, 9, 303).sin().mul(20).view(3, -1)
        logprobs = rows.double().log_softmax(-1)
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        wanted = torch.stack([rows.double().logsumexp(-1), entropy], -1)
        total = (rows - rows.amax(-1, keepdim=True)).double().div(2).logsumexp(-1)
        near = torch.allclose(self.moments(rows)[:, :2], wanted, atol=_NEAR)
        return near and torch.allclose(self.totals(rows, 2.0), total, atol=_NEAR)


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
