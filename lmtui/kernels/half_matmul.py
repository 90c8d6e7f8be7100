"""Matrix products with 16-bit weights as they lie in a file, by `half_matmul.cpp`.

No weight is rounded or copied. Inputs and sums are float32; a product has the same bits
whether an input is alone or in a batch. Knows no file and no model. N is the number of
rows (outputs), K of columns (inputs), m of inputs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.kernels.library import ADDRESS, WHOLE, bound

Multiply = Callable[[Tensor], Tensor]
"""A function that multiplies inputs, float32 [m, K], with a matrix [N, K]: float32 [m,
N]."""

FORMATS = {"BF16": torch.bfloat16, "F16": torch.float16}
"""The 16-bit formats of safetensors files, by their name there."""

_NEAR = 1e-5  # relative to the largest product
_ROWS = 24  # inputs of the check


class _Part(ctypes.Structure):
    _fields_ = (("weights", ctypes.c_void_p), ("rows", ctypes.c_long))


class HalfMatmulKernel:
    """The compiled library of products with 16-bit weights."""

    def __init__(self, file: Path) -> None:
        """Load the library from `file`.

        Raises:
            OSError, AttributeError: it is damaged.
        """
        library = ctypes.CDLL(str(file))
        arguments = ADDRESS, WHOLE, WHOLE, ADDRESS, ADDRESS, WHOLE, ADDRESS
        self._calls = {
            torch.bfloat16: bound(library, "half_matmul_bf16", *arguments),
            torch.float16: bound(library, "half_matmul_fp16", *arguments),
            torch.float32: bound(library, "half_matmul_f32", *arguments),
        }

    def of(self, parts: Sequence[Tensor], places: Tensor | None) -> Multiply:
        """Return the product with `parts`, matrices of one dtype stacked along the
        rows. Output row i is row `places[i]` of the stack; `places` is int64 [N], or
        None for the stack's own order. The product takes float32 [m, K] and returns
        float32 [m, N]."""
        call = self._calls[parts[0].dtype]
        rows, columns = sum(map(len, parts)), parts[0].shape[1]
        # keeps the memory alive as long as `times`
        held = [part.contiguous() for part in parts]
        made = (_Part * len(held))(*(_Part(p.data_ptr(), len(p)) for p in held))

        def times(inputs: Tensor) -> Tensor:
            inputs, found = inputs.contiguous(), inputs.new_empty(len(inputs), rows)
            where = None if places is None else places.data_ptr()
            call(
                *(made, len(held), columns, where),
                *(inputs.data_ptr(), len(inputs), found.data_ptr()),
            )
            return found

        return times

    def require_right(self) -> None:
        """Compare products with torch's, and batches with single inputs bit by bit.

        Raises:
            ValueError: they differ.
        """
        random = torch.Generator().manual_seed(0)
        for dtype in self._calls:
            for columns in (1, 40, 576):
                drawn = torch.randn(80, columns, generator=random).to(dtype)
                places = torch.randperm(80, generator=random)
                times = self.of(torch.split(drawn, [17, 63]), places)
                inputs = torch.randn(_ROWS, columns, generator=random)
                found = times(inputs)
                wanted = F.linear(inputs, drawn[places].float())
                far = (found - wanted).abs().max() / wanted.abs().max()
                single = torch.cat([times(row) for row in torch.split(inputs, 1)])
                if not far < _NEAR or not torch.equal(single, found):
                    raise ValueError("its result differs from the reference")
