"""Estimates of whether a model fits into memory, made before it is loaded.

The sum of the weights in the dtype they are computed in, a share for what loading holds
besides, and a fixed part for the libraries and a short context. Imports no torch.
"""

from __future__ import annotations

from lmtui.cache_dir import size
from lmtui.errors import LmtuiError
from lmtui.models import catalogue

BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2, "float16": 2}

GGUF_BITS = {"Q8_0": 8.5, "Q6_K": 6.6, "Q5_K_M": 5.7, "Q4_K_M": 4.9, "Q4_0": 4.5}
"""Bits for each weight of a GGUF file, by what such files are called."""

PANEL_BYTES = 512 * 2**20
"""Bytes that copies of weights in panels may take at most."""

_FIXED = 300_000_000  # bytes: libraries, activations, a short context
_SHARE = 1.1  # relative to the weights, with what loading holds besides
_GIB = 1 << 30
_HELD = 4  # part of the free memory that the unpacked weights of a file may take


def room(ram: int, gpu: int | None = None) -> int:
    """Return the bytes that a model's file may have beside all else on this machine, of
    the memory of its GPU or of its own: the system and other programs need some. A
    small machine gives a quarter."""
    return gpu - _GIB if gpu is not None else max(ram - 4 * _GIB, ram // 4)


def bytes_needed(parameters: int, dtype: str) -> int:
    """Estimate the bytes of memory that loading takes at its peak."""
    return int(parameters * BYTES_PER_WEIGHT[dtype] * _SHARE) + _FIXED


def fits_unpacked(parameters: int, stored: str, have: int) -> bool:
    """Return whether the weights of a GGUF file, most of them stored in one type, are
    held in float32 in `have` bytes; else they are unpacked for each pass."""
    return stored in ("F32", "F64") or 4 * parameters <= have / _HELD


def fits_mapped(size_of_file: int, have: int) -> bool:
    """Return whether a GGUF file that is mapped fits into `have` bytes."""
    return size_of_file + _FIXED <= have


def require_mapped(
    parameters: int, size_of_file: int, have: int, *, rounds: bool = False
) -> None:
    """Check that a mapped GGUF file fits into `have` bytes. Every token reads all of
    it, so that a larger one would be read from the disk again and again. `rounds` says
    that `--quantize` makes the file."""
    need = size_of_file + _FIXED
    if fits_mapped(size_of_file, have):
        return
    per_weight = size_of_file * 8 / parameters
    choices = {"int4": 5.0} if rounds else GGUF_BITS
    smaller = [
        (kind, parameters * bits / 8)
        for kind, bits in choices.items()
        if bits < per_weight and parameters * bits / 8 + _FIXED <= have
    ]
    if smaller:
        kind, size_of_it = smaller[0]
        option = f"--quantize {kind}" if rounds else f"a file of it in {kind}"
        hint = f"Use {option} (about {size(int(size_of_it))})"
    else:
        hint = "Use a smaller model"
    raise LmtuiError(
        "this model is too large for the free memory",
        f"about {size(need)} are needed, {size(have)} are free",
        f"{hint}, or close other programs.",
    )


def fits(parameters: int, have: int) -> str:
    """Return whether a model with this number of weights fits into `have` bytes: yes,
    only in bfloat16, or no."""
    for dtype, word in (("float32", "yes"), ("bfloat16", "bfloat16")):
        if bytes_needed(parameters, dtype) <= have:
            return word
    return "no"


def require_memory(parameters: int, dtype: str, have: int, *, where: str) -> None:
    """Check that a model with this number of weights fits into `have` bytes."""
    need = bytes_needed(parameters, dtype)
    if need <= have:
        return
    raise LmtuiError(
        "this model is too large for the free memory",
        f"about {size(need)} are needed in {dtype}, {size(have)} are free on {where}",
        _smaller(parameters, dtype, have),
    )


def _smaller(parameters: int, dtype: str, have: int) -> str:
    hints = []
    if dtype == "float32" and bytes_needed(parameters, "bfloat16") <= have:
        hints.append("use --dtype bfloat16")
    if best := catalogue.best("chat", have - _FIXED):
        hints.append(f"use a smaller model (--model {best.name})")
    hints.append("close other programs")
    text = ", or ".join(hints)
    return f"{text[0].upper()}{text[1:]}."
