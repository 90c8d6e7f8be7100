"""What a GGUF file says of windows and positions, put into a configuration.

transformers reads sizes from a GGUF header, but for most architectures neither sliding
windows nor the scaling of RoPE, which may be fields or tensors.
Fields: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Torch and
transformers take seconds to import, so that functions import them only when needed.
"""

from __future__ import annotations

import math
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.models.gguf.header import GgufHeader, read_array

_FACTORS = "rope_freqs.weight"
"""By what each RoPE frequency is divided: Llama 3's scaling."""
_LONG, _SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
_YARN = {"yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow"}
"""Optional fields of YaRN, and transformers' names of them."""
_LLAMA_3 = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
"""The scaling of Llama 3.1, 3.2 and 3.3, which differ in its factor."""
_WINDOWS_KNOWN = ("gemma2", "gemma3", "gemma4", "gpt-oss", "lfm2", "olmo2", "qwen35")
"""Architectures whose windows a configuration has already."""


def amend_config(config: Any, header: GgufHeader) -> None:
    """Put a file's windows and RoPE scaling into a configuration of transformers."""
    _amend_windows(config, header)
    _amend_rope(config, header)


def require_scaled(config: Any, header: GgufHeader) -> None:
    """Refuse a file whose RoPE factors no configuration expresses."""
    kind = _rope_of(config)["rope_type"] if _FACTORS in header.shapes else ""
    if kind == "default":
        raise _unknown_scaling(header, "its factors are not those of Llama 3")


def _unknown_scaling(header: GgufHeader, why: str) -> LmtuiError:
    return LmtuiError(
        "this GGUF file scales its positions in an unknown way",
        f"{header.path}: {why}",
        "Use the model's folder from the Hub, or another file.",
    )


def _rope_of(config: Any) -> dict[str, Any]:
    """Return the RoPE parameters of the layers that see all of the text."""
    known = config.rope_parameters
    return dict(known.get("full_attention", known))


def _number(header: GgufHeader, name: str) -> float | None:
    value = header.field(name)
    return float(value) if isinstance(value, int | float) else None


def _amend_windows(config: Any, header: GgufHeader) -> None:
    architecture = header.architecture
    pattern = read_array(header, f"{architecture}.attention.sliding_window_pattern")
    if pattern and len(pattern) == config.num_hidden_layers:
        kinds = ("full_attention", "sliding_attention")
        config.layer_types = [kinds[bool(slides)] for slides in pattern]
    if architecture in _WINDOWS_KNOWN or not hasattr(config, "sliding_window"):
        return
    window = header.field("attention.sliding_window")
    # Without the field there is no window, whatever is usual for the architecture.
    config.sliding_window = window if isinstance(window, int) and window else None
    if getattr(config, "layer_types", None) and not pattern:
        kind = "sliding_attention" if config.sliding_window else "full_attention"
        config.layer_types = [kind] * config.num_hidden_layers
    if hasattr(config, "use_sliding_window"):
        config.use_sliding_window = config.sliding_window is not None


def _amend_rope(config: Any, header: GgufHeader) -> None:
    known, rope = config.rope_parameters, _rope_of(config)
    rope |= {**_turned_part(rope, header), **_scaling(config, header)}
    if "full_attention" in known:
        rope = {**known, "full_attention": rope}
    config.rope_parameters = rope


def _turned_part(rope: dict[str, Any], header: GgufHeader) -> dict[str, Any]:
    """Return the share of each head that RoPE turns, where it is not all of it."""
    turned, head = header.field("rope.dimension_count"), _head(header)
    if not isinstance(turned, int) or turned == head:
        return {}
    if "partial_rotary_factor" not in rope:
        why = f"it turns {turned:,} of {head:,} dimensions of a head"
        raise _unknown_scaling(header, why)
    return {"partial_rotary_factor": turned / head}


def _head(header: GgufHeader) -> int:
    """Return the dimensions of a head; the header is checked to have them."""
    known, width = (
        header.field(name) for name in ("attention.key_length", "embedding_length")
    )
    return int(known or width // header.field("attention.head_count"))


def _scaling(config: Any, header: GgufHeader) -> dict[str, Any]:
    """Return the parameters that scale RoPE; none where nothing does."""
    kind = header.field("rope.scaling.type")
    if _LONG in header.shapes:
        return _longrope(config, header)
    if kind in (None, "none"):
        known = _rope_of(config).get("rope_type", "default")
        if _FACTORS in header.shapes and known == "default":
            return _llama3(config, header)
        factor = _number(header, "rope.scale_linear")
        linear = factor and factor != 1
        return {"rope_type": "linear", "factor": factor} if linear else {}
    factor = _number(header, "rope.scaling.factor")
    if kind not in ("linear", "yarn") or not factor:
        raise _unknown_scaling(header, f"its scaling is {kind!r:.40}")
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    scaling: dict[str, Any] = {"rope_type": "yarn", "factor": factor}
    before = _number(header, "rope.scaling.original_context_length")
    if before is not None:
        scaling["original_max_position_embeddings"] = int(before)
    for field, name in _YARN.items():
        if (value := _number(header, f"rope.scaling.{field}")) is not None:
            scaling[name] = value
    if (sharpens := _number(header, "rope.scaling.attn_factor")) is not None:
        # There a multiple of YaRN's own factor, here all of it.
        scaling["attention_factor"] = sharpens * (1 + 0.1 * math.log(factor))
    return scaling


def _llama3(config: Any, header: GgufHeader) -> dict[str, Any]:
    """Return the parameters of Llama 3 that give the file's factors; none where none
    do."""
    import torch

    from lmtui.models.gguf.tensors import GgufTensors
    from lmtui.models.rope import frequencies

    wanted, head = GgufTensors(header).floats(_FACTORS), _head(header)
    if wanted.shape != (head // 2,):
        return {}
    scaling = {**_LLAMA_3, "factor": float(wanted.max())}
    plain = {"rope_theta": config.rope_parameters["rope_theta"]}
    factors = frequencies(plain, head) / frequencies(plain | scaling, head)
    return scaling if torch.allclose(factors, wanted, rtol=1e-3) else {}


def _longrope(config: Any, header: GgufHeader) -> dict[str, Any]:
    from lmtui.models.gguf.tensors import GgufTensors

    tensors = GgufTensors(header)
    before = _number(header, "rope.scaling.original_context_length")
    scaling: dict[str, Any] = {
        "rope_type": "longrope",
        "long_factor": tensors.floats(_LONG).tolist(),
        "short_factor": tensors.floats(_SHORT).tolist(),
    }
    if (factor := _number(header, "rope.scaling.attn_factor")) is not None:
        scaling["attention_factor"] = factor
    if before is not None:
        scaling["original_max_position_embeddings"] = int(before)
        if hasattr(config, "original_max_position_embeddings"):
            config.original_max_position_embeddings = int(before)
    return scaling
