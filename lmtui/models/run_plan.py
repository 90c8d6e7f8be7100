"""How a model would run, and in how much memory, told before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmtui.cache_dir import size
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import FLOATS, ModelFolder, read_folder
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
    if isinstance(found, GgufHeader):
        stored = next(iter(found.by_type), "F32")
    else:
        stored = found.dtype
    if place.type != "cpu" or dtype != "auto" or quantize == "none":
        floats = stored if stored in FLOATS else "F32"
        computed = str(hardware.choose_dtype(dtype, place, floats))
        computed = computed.removeprefix("torch.")
        return _loaded(found, f"in {computed} on {place}", computed)
    if quantize == "auto" and stored in ("F32", "F64"):
        return _loaded(found, "exact: in float32", "float32")
    if quantize == "auto" and isinstance(found, ModelFolder):
        return _as_stored(found)
    return _quantised(found, quantize)


def _quantised(found: ModelFolder | GgufHeader, quantize: str) -> RunPlan:
    from lmtui.models.llama.gguf_blocks import has_known_blocks, why_no_blocks
    from lmtui.models.llama.rounded import bytes_rounded
    from lmtui.models.llama.weights import FAMILIES

    kind = found.architecture
    if isinstance(found, ModelFolder):
        kind = str(found.config.get("model_type"))
    why = why_no_blocks()
    if kind not in FAMILIES:
        why = f"{kind} is not shaped like Llama"
    if why:
        way = f"exact: in float32, since {why}"
        if quantize != "auto":
            way = f"not with --quantize {quantize}, since {why}; without it in float32"
        return _loaded(found, way, "float32")
    mapped = {"auto": 16, "int8": 8, "int4": 0}[quantize]
    if isinstance(found, GgufHeader) and has_known_blocks(found, mapped):
        way = f"fast: its weights ({found.quantisation}) mapped from the file"
        return RunPlan(way, _mapped(found.bytes))
    bits = 4 if quantize == "int4" else 8
    way = f"fast: its weights rounded to int{bits} once, and mapped from the cache"
    return RunPlan(way, _mapped(bytes_rounded(found.parameters, bits)))


def _as_stored(found: ModelFolder) -> RunPlan:
    """Return how a folder of 16-bit weights runs."""
    from lmtui.models.llama.gguf_blocks import why_no_blocks

    if why := why_no_blocks():
        return _loaded(found, f"exact: in float32, since {why}", "float32")
    way = f"fast, if it is shaped like Llama: its {found.dtype} weights, mapped"
    return RunPlan(way, f"{size(found.bytes)} mapped")


def _loaded(found: ModelFolder | GgufHeader, way: str, dtype: str) -> RunPlan:
    from_gguf = isinstance(found, GgufHeader)
    need = _about(found.parameters, dtype, from_gguf=from_gguf)
    return RunPlan(f"{way}, all weights loaded", need)


def _mapped(file: int) -> str:
    own = size(memory.bytes_needed(0, "float32"))
    return f"{size(file)} mapped, and about {own} of its own"


def _about(parameters: int, dtype: str, *, from_gguf: bool = False) -> str:
    return f"about {size(memory.bytes_needed(parameters, dtype, from_gguf=from_gguf))}"
