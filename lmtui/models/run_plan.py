"""How a model would run, and in how much memory, told before it is loaded."""

from __future__ import annotations

from pathlib import Path

from lmtui.cache_dir import size
from lmtui.kernels.gguf_formats import FORMATS
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import ModelFolder, read_folder
from lmtui.models.gguf.header import GgufHeader, read_gguf_header
from lmtui.models.source import Quantize


def plan_for(
    path: Path, *, device: str, dtype: str, quantize: Quantize
) -> tuple[str, str]:
    """Return how the model in a folder or a GGUF file would run (exact or fast, and
    from which weights), and the memory that it needs, in words."""
    from lmtui.models.llama.load import reason_on_gpu

    target = hardware.choose_device(device)
    if target.type == "cuda" and (dtype, quantize) == ("auto", "auto"):
        dtype = reason_on_gpu(target, path).dtype
    files = read_folder(path) if path.is_dir() else read_gguf_header(path)
    stored = files.dtype
    if target.type != "cpu" or dtype != "auto" or quantize == "none":
        computed = str(hardware.choose_dtype(dtype, target, stored))
        computed = computed.removeprefix("torch.")
        exact = (str(target), dtype, computed) == ("cpu", "auto", "float32")
        held = not exact or not isinstance(files, GgufHeader)
        have, count = hardware.available_ram(), files.parameters
        if not (held or memory.fits_unpacked(count, stored, have)):
            return ("in float32 on cpu, unpacked each time", _mapped(files.bytes))
        return _loaded(files, f"in {computed} on {target}", computed)
    return _fast(files, quantize)


def _fast(files: ModelFolder | GgufHeader, quantize: Quantize) -> tuple[str, str]:
    from lmtui.models.llama.cache import NotSupported
    from lmtui.models.llama.load import bits_for, weights_for
    from lmtui.models.llama.rounded import bytes_rounded

    try:
        weights = weights_for(files, quantize)
    except NotSupported as error:
        if quantize == "auto" and isinstance(files, GgufHeader):
            return _by_transformers(files, str(error))
        if quantize == "auto":
            return _loaded(files, "exact: in float32", "float32", f", since {error}")
        way = f"not with --quantize {quantize}, since {error}; without it in float32"
        return _loaded(files, way, "float32")
    if weights == "half":
        way = "fast, if all of it is shaped like Llama: its 16-bit weights, mapped"
        return (way, f"{size(files.bytes)} mapped")
    if isinstance(files, GgufHeader) and weights == "blocks":
        way = f"fast: its weights ({files.quantisation}) mapped from the file"
        return (way, _mapped(files.bytes))
    bits = bits_for(quantize)
    way = f"fast: its weights rounded to int{bits} once, and mapped from the cache"
    return (way, _mapped(bytes_rounded(files.parameters, bits)))


def _by_transformers(header: GgufHeader, why: str) -> tuple[str, str]:
    """Return how a file runs that the Llama backend does not run."""
    from lmtui.models.llama.load import why_no_blocks

    if header.dtype in ("F32", "F64") or why_no_blocks():
        return _loaded(header, "exact: in float32", "float32", f", since {why}")
    others = [name for name in header.by_type if name not in FORMATS]
    apart = f", but {', '.join(others)} unpacked" if others else ""
    way = f"fast: its weights ({header.quantisation}) mapped from the file{apart}"
    return (way, _mapped(header.bytes))


def _loaded(
    files: ModelFolder | GgufHeader, way: str, dtype: str, why: str = ""
) -> tuple[str, str]:
    need = memory.bytes_needed(files.parameters, dtype)
    return (f"{way}, all weights loaded{why}", f"about {size(need)}")


def _mapped(file: int) -> str:
    own = memory.bytes_needed(0, "float32") + min(file, memory.PANEL_BYTES)
    return f"{size(file)} mapped, and up to {size(own)} of its own"
