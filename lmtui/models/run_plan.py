"""How a model would run, and in how much memory, told before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmtui.cache_dir import size
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import ModelFolder, read_folder
from lmtui.models.gguf.header import GgufHeader, read_gguf_header


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a user is told about a model."""

    way: str
    """Exact or fast, and from which weights."""
    memory: str


def plan_for(path: Path, *, device: str, dtype: str, quantize: str) -> RunPlan:
    """Return how the model in a folder or a GGUF file would run.

    Raises:
        LmtuiError: it is damaged, or no model.
    """
    place = hardware.choose_device(device)
    found = read_folder(path) if path.is_dir() else read_gguf_header(path)
    from_gguf = isinstance(found, GgufHeader)
    fast = place.type == "cpu" and dtype == "auto"
    if not fast or quantize == "none":
        stored = "F32" if isinstance(found, GgufHeader) else found.dtype
        computed = str(hardware.choose_dtype(dtype, place, stored))
        computed = computed.removeprefix("torch.")
        need = memory.bytes_needed(found.parameters, computed, from_gguf=from_gguf)
        return RunPlan(f"in {computed} on {place}, all weights loaded", _about(need))
    if quantize != "auto":
        way = f"fast: its weights rounded to {quantize} and packed"
        need = memory.bytes_needed(found.parameters, quantize)
        return RunPlan(way, _about(need))
    return _mapped(found) if isinstance(found, GgufHeader) else _folder(found)


def _mapped(header: GgufHeader) -> RunPlan:
    from lmtui.models.llama.gguf_blocks import why_not_mapped

    why = why_not_mapped(header)
    if why is None:
        way = f"fast: its weights ({header.quantisation}) mapped from the file"
        own = size(memory.bytes_needed(0, "int8"))
        return RunPlan(way, f"{size(header.bytes)} mapped, and about {own} of its own")
    way = f"fast: its weights ({header.quantisation}) packed, since {why}"
    need = memory.bytes_needed(header.parameters, "int8")
    return RunPlan(way, f"{_about(need)} at most")


def _folder(folder: ModelFolder) -> RunPlan:
    from lmtui.kernels import build
    from lmtui.kernels.half_matmul import FORMATS

    if folder.dtype in FORMATS and build.compiler_id() is not None:
        way = f"fast, if it is shaped like Llama: its {folder.dtype} weights, mapped"
        return RunPlan(way, f"{size(folder.bytes)} mapped")
    need = memory.bytes_needed(folder.parameters, "float32")
    return RunPlan("exact: in float32, all weights loaded", _about(need))


def _about(need: int) -> str:
    return f"about {size(need)}"
