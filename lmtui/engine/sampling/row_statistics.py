"""What is shown of every position: its first tokens, normaliser, entropy and
varentropy.

On a CUDA device these are two dozen kernels, whose launch takes longer than they do:
they are recorded once for a model, and replayed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lmtui.engine.sampling.ranked_tokens import FIRST_LOOK
from lmtui.engine.sampling.ranks import rank
from lmtui.engine.softmax import log_normaliser_and_moments
from lmtui.models import accelerator

_log = logging.getLogger(__name__)


class RowStatistics(NamedTuple):
    """Numbers of logits [V], on their device."""

    ids: Tensor
    """int64 [n], the first tokens by (-logit, id)."""
    logits: Tensor
    """float32 [n], of these tokens."""
    normaliser: Tensor
    """float64 [], the log normaliser."""
    entropy: Tensor
    """float32 [], in nats."""
    varentropy: Tensor
    """float32 [], in nats²."""


def row_statistics(logits: Tensor, count: int) -> RowStatistics:
    """Return the statistics of logits [V] with `count` tokens, or more."""
    return RowStatistics(*rank(logits, count), *log_normaliser_and_moments(logits))


class RecordedStatistics:
    """As `row_statistics`, recorded on a CUDA device. What is returned is overwritten
    by the next call."""

    def __init__(self) -> None:
        self._logits: Tensor | None = None
        self._replay: Callable[[], object] | None = None
        self._outputs: tuple[Tensor, ...] = ()

    def __call__(self, logits: Tensor, count: int) -> RowStatistics:
        if not logits.is_cuda or not count <= FIRST_LOOK <= logits.numel():
            return row_statistics(logits, count)
        with torch.inference_mode():
            if self._logits is None:
                self._record(logits)
            if self._logits is None or self._replay is None:
                return row_statistics(logits, count)
            self._logits.copy_(logits)
            self._replay()
            return RowStatistics(*self._outputs)

    def _record(self, logits: Tensor) -> None:
        self._logits = own = logits.clone()
        try:
            self._outputs, self._replay = accelerator.recorded(
                logits.device, lambda: row_statistics(own, FIRST_LOOK), lambda: None
            )
        except RuntimeError as error:
            _log.warning("statistics are not recorded: %s", error)
