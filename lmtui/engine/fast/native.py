"""What lies between two attentions, compiled of a source of our own.

Owns how what was compiled of `crossing.cpp` is called. It computes what `Crossing`
does, but for the products, which are not rounded to bfloat16. Proves nothing: see
`compiled`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from lmtui.engine.fast.crossing import Plan


class Native:
    """The stretch; called like `Crossing`, with its inputs in a list."""

    def __init__(self, file: Path, plan: Plan) -> None:
        """Open it.

        Raises:
            OSError, ValueError: it is damaged.
        """
        self._heads = plan.heads + 2 * plan.kv_heads, plan.head
        try:
            self._cross = ctypes.CDLL(str(file)).cross
        except AttributeError as error:
            raise ValueError(str(error)) from error
        self._cross.restype = None
        self._cross.argtypes = [ctypes.c_void_p, ctypes.c_long]

    def __call__(self, inputs: list[Tensor]) -> Sequence[Tensor]:
        """See `Crossing.forward`."""
        given = [tensor.contiguous() for tensor in inputs]
        state = given[0]
        made = state.new_empty(state.shape), state.new_empty(len(state), *self._heads)
        addresses = [tensor.data_ptr() for tensor in (*given, *made)]
        self._cross((ctypes.c_void_p * len(addresses))(*addresses), len(state))
        return made
