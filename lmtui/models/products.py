"""Products with matrices of 16 bits, as a file of weights has them.

Owns the matrix that is such a part of a file, or several one above the other, how what
was compiled of `products.cpp` is called, and the proof that it is right. No weight is
rounded or copied. Few inputs are multiplied in float32 as they are, and find the same,
to the bit, alone or among others; of many, what is the faster way. Knows no file and no
model. N is the number of rows (outputs), K of columns (inputs), m of inputs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.models.packing import FEW, Beside

FORMATS = {"BF16": torch.bfloat16, "F16": torch.float16}
"""What a file may have, by its name there."""

_BLOCK = 2**22  # weights that are float32 at a time
_NEAR = 1e-5  # of the largest product


class _Part(ctypes.Structure):
    _fields_ = (("weights", ctypes.c_void_p), ("rows", ctypes.c_long))


class Products:
    """What was compiled."""

    def __init__(self, file: Path) -> None:
        """Open it.

        Raises:
            OSError, AttributeError: it is damaged.
        """
        library = ctypes.CDLL(str(file))
        address, whole = ctypes.c_void_p, ctypes.c_long
        self._calls = {
            torch.bfloat16: library.products_bfloat16,
            torch.float16: library.products_float16,
            torch.float32: library.products_float32,
        }
        for call in self._calls.values():
            call.restype = None
            call.argtypes = (
                *(address, whole, whole, address),
                *(address, whole, address),
            )

    def of(self, parts: Sequence[Tensor], places: Tensor | None) -> Multiply:
        """What multiplies inputs, float32 [m, K], with matrices of one format, one
        above the other, whose rows are taken from `places`, int64 [N]: float32 [m, N].
        """
        call = self._calls[parts[0].dtype]
        rows, columns = sum(map(len, parts)), parts[0].shape[1]
        held = [part.contiguous() for part in parts]  # for as long as it multiplies
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
        """Compare it with the library's product.

        Raises:
            ValueError: they differ.
        """
        random = torch.Generator().manual_seed(0)
        for dtype in self._calls:
            for columns in (1, 40, 576):
                drawn = torch.randn(80, columns, generator=random).to(dtype)
                places = torch.randperm(80, generator=random)
                times = self.of(torch.split(drawn, [17, 63]), places)
                inputs = torch.randn(FEW, columns, generator=random)
                found = times(inputs)
                wanted = F.linear(inputs, drawn[places].float())
                far = (found - wanted).abs().max() / wanted.abs().max()
                single = torch.cat([times(row) for row in torch.split(inputs, 1)])
                if not far < _NEAR or not torch.equal(single, found):
                    raise ValueError("it computes something else")


Multiply = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Stored:
    """Matrices of the same inputs, one above the other, where they lie."""

    parts: tuple[Tensor, ...]
    """[N, K] all together, of one 16-bit format."""
    products: Products
    rounds: bool
    """Whether products of many inputs are rounded to bfloat16."""
    places: Tensor | None = None
    """Where each row is in all of them, int64 [N]; as they are without one."""
    beside: Beside | None = None

    @property
    def takes(self) -> torch.dtype:
        """Of its inputs."""
        return torch.float32

    @property
    def rows(self) -> int:
        """N."""
        return sum(map(len, self.parts))

    @property
    def columns(self) -> int:
        """K."""
        return self.parts[0].shape[1]

    @property
    def number_format(self) -> str:
        """Of its weights."""
        return str(self.parts[0].dtype).removeprefix("torch.")

    def with_beside(self, beside: Beside) -> Stored:
        """The same with something added to each product."""
        return replace(self, beside=beside)

    def times(self, inputs: Tensor) -> Tensor:
        """The product with inputs, float32 [m, K]: float32 [m, N]."""
        return self._few(inputs) if len(inputs) <= FEW else self._many(inputs)

    @cached_property
    def _few(self) -> Multiply:
        plain = self.products.of(self.parts, self.places)
        if self.beside is None:
            return plain
        first = self.products.of([self.beside.first], None)
        second = self.products.of([self.beside.second], None)
        return lambda inputs: plain(inputs).add_(second(first(inputs)))

    def _many(self, inputs: Tensor) -> Tensor:
        product = self._alone(inputs)
        if self.beside is None:
            return product
        return product.add_(self.beside.times(inputs))

    def _alone(self, inputs: Tensor) -> Tensor:
        many = _rounded if self.rounds else _in_blocks
        found = torch.cat([many(inputs, part) for part in self.parts], 1)
        return found if self.places is None else found[:, self.places]


class StoredHead:
    """The matrix [V, D] that makes logits: in float32, of however many inputs."""

    def __init__(self, weights: Tensor, products: Products) -> None:
        self.weights = weights
        self.times = products.of([weights], None)


def _rounded(inputs: Tensor, weights: Tensor) -> Tensor:
    """A product in bfloat16, like those with packed weights, in float32."""
    return F.linear(inputs.bfloat16(), weights).float()


def _in_blocks(inputs: Tensor, weights: Tensor) -> Tensor:
    """A product in float32."""
    rows = max(1, _BLOCK // weights.shape[1])
    blocks = [F.linear(inputs, block.float()) for block in torch.split(weights, rows)]
    return torch.cat(blocks, 1)
