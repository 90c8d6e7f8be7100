"""Matrix products with the blocks of a GGUF file as they lie there, or with copies of
them in panels, by `gguf_matmul.cpp`.

No weight is rounded; a few inputs are rounded to 16 bits. A product has the same
bits whether an input is alone or in a batch. Knows no file. N is the number of rows
(outputs), K of columns (inputs), m of inputs.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui import cancellation
from lmtui.kernels import cpu_features
from lmtui.kernels.gguf_formats import FORMATS
from lmtui.kernels.library import ADDRESS, WHOLE, bound, bound_if_there

_PANELS = 256  # added to the number of a format whose rows are in panels
_PANEL = 16  # rows of a panel
UNLIMITED = 2**40
"""A window that is longer than any text."""

_NEAR = 1e-4  # relative to the largest product
_INPUTS = 7  # inputs of the check
_UNSTOPPED = 2**29  # weights that are run before it is asked whether to stop


class _Rows(ctypes.Structure):
    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("rows", ctypes.c_long),
        ("format", ctypes.c_long),
    )


class _Stack(ctypes.Structure):
    _fields_ = (
        ("parts", ctypes.POINTER(_Rows)),
        ("count", ctypes.c_long),
        ("row_index", ctypes.c_void_p),
    )

    @classmethod
    def of(cls, parts: Sequence[BlockMatrix], order: Tensor | None) -> _Stack:
        rows = (_Rows * len(parts))(*(part.compiled() for part in parts))
        return cls(rows, len(parts), address_of(order))


class _Matrix(ctypes.Structure):
    _fields_ = (
        *((name, _Stack) for name in ("stored", "for_few")),
        *((name, ctypes.c_long) for name in ("rows", "columns", "rank")),
        *((name, ctypes.c_void_p) for name in ("lora_a", "lora_b")),
    )


class KVAddress(ctypes.Structure):
    """Memory address of keys and values, float16 [layers, n, 2·KV, room, R]."""

    _fields_ = (
        ("address", ctypes.c_size_t),
        ("layer", ctypes.c_long),  # bytes from one layer to the next
        ("room", ctypes.c_long),
        ("count", ctypes.c_long),  # tokens in use, of `room`
        ("width", ctypes.c_long),  # R, from which a layer takes its d
    )

    @classmethod
    def of(cls, data: Tensor, count: int) -> KVAddress:
        """Return the address of `data`, of whose room `count` tokens are in use."""
        layer = data.stride(0) * data.element_size()
        return cls(data.data_ptr(), layer, data.shape[3], count, data.shape[4])


class Heads(ctypes.Structure):
    """The heads of a layer's attention, and how far they see."""

    query: int
    """H, their number."""
    kv: int
    """KV, that of keys or values."""
    width: int
    """d."""
    gates: int
    """H where outputs have gates, else 0."""
    borrows: int
    """Whether keys and values are those of another layer."""
    window: int
    """The positions that a token sees, its own included."""
    _fields_ = tuple(
        (name, ctypes.c_long)
        for name in ("query", "kv", "width", "gates", "borrows", "window")
    )

    @property
    def own_kv(self) -> int:
        """How many keys a layer projects."""
        return 0 if self.borrows else self.kv

    @property
    def all(self) -> int:
        """How many heads a layer projects."""
        return self.query + 2 * self.own_kv + self.gates


class _Recurrent(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_long) for name in ("taps", "channels")),
        *((f"{name}_heads", ctypes.c_long) for name in ("key", "value")),
        *((f"{name}_width", ctypes.c_long) for name in ("key", "value")),
        ("is_tiled", ctypes.c_long),
        ("epsilon", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("convolution", "decay", "dt_bias")),
        ("norm", ctypes.c_void_p),
    )


class Block(ctypes.Structure):
    """The weights between the attention of a Llama layer and that of the next, or what
    these layers have in its place; it may not outlive their tensors. D is the model's
    width, H and KV the query and key heads of a layer, d their width, R that of the
    model's widest. Norms of D numbers contain the factor √D; they are None where a
    model has none."""

    _fields_ = (
        ("width", ctypes.c_long),  # D
        ("ffn", ctypes.c_long),
        ("heads", Heads),
        ("next_heads", Heads),  # of the next layer
        ("rope_width", ctypes.c_long),  # R
        ("epsilon", ctypes.c_float),
        ("residual_scale", ctypes.c_float),  # of what attention and FFN add
        ("is_gelu", ctypes.c_long),  # the activation is GELU by tanh, not SiLU
        ("norms_all_heads", ctypes.c_long),  # q_norm and k_norm act on all at once
        ("place", ctypes.c_long),  # of this layer among those with a cache of its kind
        ("q_rope", ctypes.c_long),  # its table of RoPE for queries
        ("k_rope", ctypes.c_long),  # and for keys
        ("ffn_norm", ctypes.c_void_p),  # [D]
        ("attention_norm", ctypes.c_void_p),  # [D], of the next layer
        ("attention_post_norm", ctypes.c_void_p),  # [D], of what attention adds
        ("ffn_post_norm", ctypes.c_void_p),  # [D], of what the FFN adds
        ("bias", ctypes.c_void_p),  # [(H + 2·KV)·d], of the next layer
        ("q_norm", ctypes.c_void_p),  # [d] or [H·d], of the next layer
        ("k_norm", ctypes.c_void_p),  # [d] or [KV·d], of the next layer
        ("v_norm", ctypes.c_void_p),  # [d], of the next layer
        ("input_norm", ctypes.c_void_p),  # [D], of what a further input adds
        ("recurrent", ctypes.c_void_p),  # None where this layer attends
        ("layer_scale", ctypes.c_float),  # of the state after this layer
        *((name, _Matrix) for name in ("o_proj", "gate_up", "down", "qkv")),
        *((name, _Matrix) for name in ("input_gate", "input_proj")),  # or empty
    )


@dataclass(frozen=True, slots=True)
class BlockMatrix:
    """A matrix [N, K] in the blocks of a GGUF file."""

    data: Tensor
    """uint8 [N, bytes of a row]."""
    columns: int
    """K, a multiple of the block's size."""
    format: str
    """A key of `FORMATS`."""
    in_panels: bool = False
    """Whether its rows lie in panels (see `gguf_panels.cpp`)."""

    @property
    def rows(self) -> int:
        return len(self.data)

    def compiled(self) -> _Rows:
        """Return it as the compiled code takes it."""
        number = FORMATS[self.format].number + _PANELS * self.in_panels
        return _Rows(self.data.data_ptr(), self.rows, number)


@dataclass(frozen=True)
class StackedMatrix:
    """Matrices with the same inputs, stacked along the rows."""

    parts: tuple[BlockMatrix, ...]
    order: Tensor | None = None
    """int64 [N]: the row of the stack that each output row takes; None for all in
    their own order."""
    lora: tuple[Tensor, Tensor] | None = None
    """The factors of a low-rank matrix that is added: float32 [r, K] and [N, r]."""
    for_few: tuple[BlockMatrix, ...] = ()
    """The same matrix for products of a few inputs, in the order of the outputs, if it
    has another form for these."""

    @property
    def rows(self) -> int:
        if self.order is not None:
            return len(self.order)
        return sum(part.rows for part in self.parts)

    @property
    def columns(self) -> int:
        return self.parts[0].columns

    @cached_property
    def compiled(self) -> _Matrix:
        """The stack as the compiled code takes it; it may not outlive this object."""
        stored = _Stack.of(self.parts, self.order)
        for_few = _Stack.of(self.for_few, None) if self.for_few else stored
        rank = len(self.lora[0]) if self.lora else 0
        lora = map(address_of, self.lora or (None, None))
        return _Matrix(stored, for_few, self.rows, self.columns, rank, *lora)

    def runs(self) -> Iterator[tuple[BlockMatrix, Tensor]]:
        """Yield the parts that outputs in a row come from, with the row of each."""
        order = torch.arange(self.rows) if self.order is None else self.order
        ends = torch.tensor([part.rows for part in self.parts]).cumsum(0)
        places = torch.bucketize(order, ends, right=True)
        indexes, counts = torch.unique_consecutive(places, return_counts=True)
        outputs = torch.split(order, counts.tolist())
        for index, rows in zip(indexes.tolist(), outputs, strict=True):
            part = self.parts[index]
            yield part, rows - (ends[index] - part.rows)


@dataclass(frozen=True)
class Recurrent:
    """What mixes the tokens of a layer that keeps a state of fixed size (see
    `recurrent.h`): Gated DeltaNet, or a short convolution, which has no heads."""

    convolution: Tensor
    """float32 [taps, channels], of which the last tap is the token's own."""
    heads: tuple[int, int] = (0, 0)
    """The numbers of key and value heads."""
    widths: tuple[int, int] = (0, 0)
    """Their widths."""
    is_tiled: bool = False
    """Whether outputs of value heads lie as these do, one of each key head after the
    other, and not those that share a key head together."""
    epsilon: float = 0
    decay: Tensor | None = None
    """float32 [value heads]: −exp(A)."""
    dt_bias: Tensor | None = None
    """float32 [value heads]."""
    norm: Tensor | None = None
    """float32 [width of a value head]."""

    @property
    def state_size(self) -> int:
        """Numbers of a row's state."""
        taps, channels = self.convolution.shape
        return (taps - 1) * channels + self.heads[1] * math.prod(self.widths)

    @cached_property
    def compiled(self) -> _Recurrent:
        """It as the compiled code takes it; it may not outlive this object."""
        tensors = self.convolution, self.decay, self.dt_bias, self.norm
        sizes = *self.convolution.shape, *self.heads, *self.widths, self.is_tiled
        return _Recurrent(*sizes, self.epsilon, *map(address_of, tensors))


def address_of(tensor: Tensor | None) -> int | None:
    """Return where the numbers of a tensor lie; None for none."""
    return None if tensor is None else tensor.data_ptr()


def _product(
    multiply: Callable[..., Any], matrix: StackedMatrix, inputs: Tensor
) -> Tensor:
    inputs = inputs.contiguous()
    outputs = inputs.new_empty(len(inputs), matrix.rows)
    addresses = inputs.data_ptr(), len(inputs), outputs.data_ptr()
    multiply(ctypes.byref(matrix.compiled), *addresses)
    return outputs


class GgufMatmulKernel:
    """The compiled library of products with GGUF blocks."""

    def __init__(self, file: Path, formats: Iterable[str] = FORMATS) -> None:
        """Load the library from `file`, of which `formats` will be used.

        Raises:
            OSError, AttributeError: it is damaged.
        """
        self.file, self._formats = file, tuple(formats)
        self.library = library = ctypes.CDLL(str(file))
        library.gguf_largest_input.restype = ctypes.c_float
        self.largest_input: float = library.gguf_largest_input()
        """The number that the largest input of a few is rounded to."""
        product = ADDRESS, ADDRESS, WHOLE, ADDRESS
        block = ADDRESS, WHOLE, *[ADDRESS] * 6
        self._matmul = bound(library, "gguf_matmul", *product)
        self._block = bound(library, "gguf_block", *block)
        rows = ADDRESS, WHOLE, ADDRESS, WHOLE, ADDRESS
        self._rows = bound(library, "gguf_rows", *rows)
        tile = ADDRESS, WHOLE, WHOLE, ADDRESS
        self._tiles = {
            torch.float32: bound(library, "gguf_tile", *tile),
            torch.bfloat16: bound(library, "gguf_tile_bf16", *tile),
        }
        layers = ADDRESS, *[WHOLE] * 5, *[ADDRESS] * 5, WHOLE, *[ADDRESS] * 4
        self._layers = bound(library, "llama_layers", *layers)
        library.gguf_has_panels.argtypes = (WHOLE,)
        library.gguf_has_panels.restype = ctypes.c_bool
        self.few_in_panels: int = library.gguf_few_in_panels()
        """Number of inputs up to which panels are faster than dequantised weights."""
        packing = ADDRESS, ADDRESS, WHOLE, WHOLE, ADDRESS
        self._pack = bound(library, "gguf_pack", *packing)
        mixing = ADDRESS, ADDRESS, WHOLE, WHOLE, ADDRESS, WHOLE, ADDRESS
        self._mix = bound(library, "mix_recurrent", *mixing)
        # not on every processor
        self._gemm = bound_if_there(library, "gguf_gemm", *product)
        self._block_gemm = bound_if_there(library, "gguf_block_gemm", *block)
        amx = cpu_features.has_features("amx_bf16")
        self.has_gemm = self._gemm is not None and not amx
        """Whether products of many inputs are faster than torch's: the processor has
        AVX2 and no AMX."""
        self.gemm_rounds = False
        """Whether products of many inputs are rounded to bfloat16."""
        if self.has_gemm:
            library.gguf_gemm_rounds.restype = ctypes.c_bool
            self.gemm_rounds = library.gguf_gemm_rounds()

    def in_panels(self, matrix: StackedMatrix) -> StackedMatrix:
        """Return a matrix with a copy of its weights of 4 bits in panels, by which a
        few inputs are multiplied faster; the same matrix where it has none."""
        made = list[BlockMatrix]()
        first = 0
        for part, rows in matrix.runs():
            start, count = int(rows[0]), len(rows)
            has_panels = self.library.gguf_has_panels(FORMATS[part.format].number)
            if has_panels and first % _PANEL == count % _PANEL == 0:
                data = part.data.new_empty(count, part.data.shape[1])
                addresses = ctypes.byref(part.compiled()), rows.data_ptr()
                self._pack(*addresses, count, part.columns, data.data_ptr())
                made.append(replace(part, data=data, in_panels=True))
            elif torch.equal(rows, torch.arange(start, start + count)):
                made.append(replace(part, data=part.data[start : start + count]))
            else:
                return matrix
            first += count
        some = any(part.in_panels for part in made)
        return replace(matrix, for_few=tuple(made)) if some else matrix

    def matmul(self, matrix: StackedMatrix, inputs: Tensor) -> Tensor:
        """Return the product with inputs, float32 [m, K]: float32 [m, N]."""
        return _product(self._matmul, matrix, inputs)

    def gemm(self, matrix: StackedMatrix, inputs: Tensor) -> Tensor:
        """Return the product of a matrix without its LoRA and inputs, float32 [m, K]:
        float32 [m, N]. It pays for more than a few inputs. Needs `has_gemm`; where
        `gemm_rounds`, inputs and weights are rounded to bfloat16."""
        assert self._gemm is not None
        return _product(self._gemm, matrix, inputs)

    def block(
        self,
        weights: Block,
        residual: Tensor,
        attention: Tensor,
        rope: Tensor,
        inputs: Tensor | None,
        *,
        gemm: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return the hidden states [m, D] after a layer, and what the next one projects
        of them, [m, N]: queries, keys and values, if it attends.

        `residual` are the hidden states [m, D] before, `attention` is its output
        [m, H·d], `rope` the cosines and sines of each table [tables, m, 1, R/2, 2];
        `inputs` are the layer's further ones [m, their width], if it has some. All are
        float32. With `gemm`, products are those of that function, and no matrix
        may have a LoRA.
        """
        residual, attention = residual.contiguous(), attention.contiguous()
        rope = rope.contiguous()
        hidden = torch.empty_like(residual)
        qkv = residual.new_empty(len(residual), weights.qkv.rows)
        compute = self._block_gemm if gemm else self._block
        assert compute is not None
        compute(
            *(ctypes.byref(weights), len(residual), residual.data_ptr()),
            *(attention.data_ptr(), rope.data_ptr(), address_of(inputs)),
            *(hidden.data_ptr(), qkv.data_ptr()),
        )
        return hidden, qkv

    def mix(
        self, recurrent: Recurrent, projected: Tensor, states: Tensor, out: Tensor
    ) -> None:
        """Run a recurrent layer for tokens of n rows: `projected`, float32 [m, N],
        become `out`, float32 [m, K], and change `states`, float32 [n, numbers of a
        state], each of whose rows is contiguous."""
        rows, tokens = len(states), len(projected) // len(states)
        self._mix(
            *(ctypes.byref(recurrent.compiled), projected.data_ptr(), rows, tokens),
            *(states.data_ptr(), states.stride(0), out.data_ptr()),
        )

    def run_layers(
        self,
        blocks: Sequence[Block],
        norm: Tensor,
        hidden: Tensor,
        *,
        rows: int,
        rope: Tensor,
        inputs: Tensor | None,
        shared: KVAddress,
        own: KVAddress,
        states: Tensor,
        mask: Tensor | None,
    ) -> None:
        """Run all layers for `rows` rows of a few tokens, and the last RMSNorm, in
        place: `hidden`, float32 [m, D], are the embedded tokens, then the states.

        `blocks` are those after each layer's attention, that of the last layer leading
        to the first one; `norm`, float32 [D], contains the factor √D. `rope` and `mask`
        are those of `block` and of compiled attention; `inputs` are the further ones of
        all layers, float32 [layers, m, their width], if there are any; `shared` are the
        keys and values that all rows continue, `own` those of the rows, which are
        written, like `states`, float32 [n, numbers]: of the recurrent layers, one
        behind the other. A large model can be cancelled between parts. Attention must
        be compiled for the widths of heads.
        """
        # 1) addresses of each layer's weights
        count, tokens = len(blocks), len(hidden) // rows
        weights = (ctypes.c_void_p * count)(*map(ctypes.addressof, blocks))
        # 2) what goes from layer to layer beside the hidden states
        qkv = hidden.new_empty(len(hidden), max(block.qkv.rows for block in blocks))
        rope = rope.contiguous()
        caches = ctypes.byref(shared), ctypes.byref(own)
        # 3) as many layers a call as may run before a stop is heeded: all of a small
        # model, for each call costs as much as a small product
        one = blocks[0]
        matrices = one.o_proj, one.gate_up, one.down, one.qkv
        step = max(1, _UNSTOPPED // sum(each.rows * each.columns for each in matrices))
        for first in range(0, count, step):
            cancellation.check()
            self._layers(
                *(weights, first, min(count, first + step), count, rows, tokens),
                *(
                    rope.data_ptr(),
                    address_of(inputs),
                    *caches,
                    states.data_ptr(),
                    states.shape[1],
                ),
                *(address_of(mask), norm.data_ptr()),
                *(hidden.data_ptr(), qkv.data_ptr()),
            )

    def rows(self, matrix: BlockMatrix, index: Tensor) -> Tensor:
        """Return rows of a matrix, dequantised: float32 [n, K] for int64 `index` [n].

        Raises:
            IndexError: the matrix has no such row.
        """
        index = index.contiguous()
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < matrix.rows:
            raise IndexError(f"a row is not among {matrix.rows:,}")
        weights = torch.empty(len(index), matrix.columns)
        part = ctypes.byref(matrix.compiled())
        self._rows(
            *(part, matrix.columns, index.data_ptr()), len(index), weights.data_ptr()
        )
        return weights

    def tile(
        self, matrix: StackedMatrix, first: int, count: int, dtype: torch.dtype
    ) -> Tensor:
        """Return `count` rows of a matrix from row `first` on, dequantised and without
        its LoRA: float32 or bfloat16 [count, K]."""
        weights = torch.empty(count, matrix.columns, dtype=dtype)
        tile = self._tiles[dtype]
        tile(ctypes.byref(matrix.compiled), first, count, weights.data_ptr())
        return weights

    def require_right(self) -> None:
        """Compare products, tiles and batches with the dequantised rows, on random
        blocks.

        Raises:
            ValueError: they differ.
        """
        for name in self._formats:
            matrix = random_matrix(name)
            order = torch.randperm(_PANEL, generator=torch.Generator().manual_seed(1))
            whole = StackedMatrix((matrix,), order)
            plain = self.rows(matrix, order)
            inputs = torch.linspace(-1, 2, _INPUTS * matrix.columns).sin()
            inputs = inputs.view(_INPUTS, -1)
            wanted = F.linear(inputs.double(), plain.double())
            right = (
                self._is_matmul_right(whole, inputs, wanted)
                and self._is_matmul_right(self.in_panels(whole), inputs, wanted)
                and all(
                    torch.equal(self.tile(whole, 1, 3, dtype), plain[1:4].to(dtype))
                    for dtype in self._tiles
                )
                and self._is_gemm_right(whole, plain, inputs)
            )
            if not right:
                raise ValueError(f"its result for {name} differs from the reference")

    def _is_matmul_right(
        self, matrix: StackedMatrix, inputs: Tensor, wanted: Tensor
    ) -> bool:
        outputs = self.matmul(matrix, inputs)
        single = [self.matmul(matrix, row) for row in torch.split(inputs, 1)]
        near = (outputs - wanted).abs().max() < _NEAR * wanted.abs().max()
        return bool(near) and torch.equal(torch.cat(single), outputs)

    def _is_gemm_right(
        self, matrix: StackedMatrix, plain: Tensor, inputs: Tensor
    ) -> bool:
        if not self.has_gemm:
            return True
        outputs = self.gemm(matrix, inputs)
        if self.gemm_rounds:
            inputs, plain = inputs.bfloat16().float(), plain.bfloat16().float()
        wanted = F.linear(inputs, plain)
        return bool((outputs - wanted).abs().max() < _NEAR * wanted.abs().max())

    def require_exact(self) -> None:
        """Compare dequantised rows with the `gguf` package's, bit by bit.

        Raises:
            ValueError: they differ.
        """
        from gguf import GGMLQuantizationType, quants

        for name in self._formats:
            matrix = random_matrix(name)
            kind = GGMLQuantizationType[name]
            plain = torch.from_numpy(quants.dequantize(matrix.data.numpy(), kind))
            if not torch.equal(self.rows(matrix, torch.arange(matrix.rows)), plain):
                raise ValueError(f"its weights of {name} differ from the reference")


def random_matrix(name: str) -> BlockMatrix:
    """Return a matrix of 16 rows of random blocks with small scales."""
    _, weights, size, scales = FORMATS[name]
    random = torch.Generator().manual_seed(0)
    blocks = max(2, 320 // weights)
    drawn = torch.randint(
        0, 256, (_PANEL, blocks, size), dtype=torch.uint8, generator=random
    )
    # Scales and minima are float16; random bytes could be NaN. These are small.
    for at in scales:
        drawn[..., at + 1] = drawn[..., at + 1] & 0x83 | 0x18
    return BlockMatrix(drawn.flatten(1), blocks * weights, name)
