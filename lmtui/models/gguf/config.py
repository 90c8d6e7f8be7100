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
from lmtui.models.gguf.header import GgufHeader, GgufValue, read_array

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
    fields = _Fields(config, header)
    fields.amend_windows()
    fields.amend_rope()


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


class _Fields:
    def __init__(self, config: Any, header: GgufHeader) -> None:
        self._config, self._header = config, header

    def _value(self, name: str) -> GgufValue | None:
        return self._header.values.get(f"{self._header.architecture}.{name}")

    def _number(self, name: str) -> float | None:
        value = self._value(name)
        return float(value) if isinstance(value, int | float) else None

    def amend_windows(self) -> None:
        config, architecture = self._config, self._header.architecture
        pattern = read_array(
            self._header, f"{architecture}.attention.sliding_window_pattern"
        )
        if pattern and len(pattern) == config.num_hidden_layers:
            kinds = ("full_attention", "sliding_attention")
            config.layer_types = [kinds[bool(slides)] for slides in pattern]
        if architecture in _WINDOWS_KNOWN or not hasattr(config, "sliding_window"):
            return
        window = self._value("attention.sliding_window")
        # Without the field there is no window, whatever is usual for the architecture.
        config.sliding_window = window if isinstance(window, int) and window else None
        if getattr(config, "layer_types", None) and not pattern:
            kind = "sliding_attention" if config.sliding_window else "full_attention"
            config.layer_types = [kind] * config.num_hidden_layers
        if hasattr(config, "use_sliding_window"):
            config.use_sliding_window = config.sliding_window is not None

    def amend_rope(self) -> None:
        if not getattr(self._config, "rope_parameters", None):
            return
        scaled = {**self._turned_part(), **(self._scaling() or {})}
        if not scaled:
            return
        rope = _rope_of(self._config) | scaled
        known = self._config.rope_parameters
        if "full_attention" in known:
            self._config.rope_parameters = {**known, "full_attention": rope}
        else:
            self._config.rope_parameters = rope

    def _turned_part(self) -> dict[str, Any]:
        """Return the share of each head that RoPE turns, where it is not all of it."""
        turned, head = self._value("rope.dimension_count"), self._head()
        if not isinstance(turned, int) or not head or turned == head:
            return {}
        if "partial_rotary_factor" not in _rope_of(self._config):
            why = f"it turns {turned:,} of {head:,} dimensions of a head"
            raise _unknown_scaling(self._header, why)
        return {"partial_rotary_factor": turned / head}

    def _head(self) -> int | None:
        width, heads = (
            self._value("embedding_length"),
            self._value("attention.head_count"),
        )
        known = self._value("attention.key_length")
        if isinstance(known, int):
            return known
        whole = isinstance(width, int) and isinstance(heads, int) and heads
        return int(width or 0) // int(heads or 1) if whole else None

    def _scaling(self) -> dict[str, Any] | None:
        kind = self._value("rope.scaling.type")
        if _LONG in self._header.shapes:
            return self._longrope()
        if kind in (None, "none"):
            known = _rope_of(self._config).get("rope_type", "default")
            if _FACTORS in self._header.shapes and known == "default":
                return self._llama3()
            factor = self._number("rope.scale_linear")
            linear = factor and factor != 1
            return {"rope_type": "linear", "factor": factor} if linear else None
        factor = self._number("rope.scaling.factor")
        if kind not in ("linear", "yarn") or not factor:
            raise _unknown_scaling(self._header, f"its scaling is {kind!r:.40}")
        if kind == "linear":
            return {"rope_type": "linear", "factor": factor}
        scaling: dict[str, Any] = {"rope_type": "yarn", "factor": factor}
        if (before := self._number("rope.scaling.original_context_length")) is not None:
            scaling["original_max_position_embeddings"] = int(before)
        for field, name in _YARN.items():
            if (value := self._number(f"rope.scaling.{field}")) is not None:
                scaling[name] = value
        if (sharpens := self._number("rope.scaling.attn_factor")) is not None:
            # There a multiple of YaRN's own factor, here all of it.
            scaling["attention_factor"] = sharpens * (1 + 0.1 * math.log(factor))
        return scaling

    def _llama3(self) -> dict[str, Any] | None:
        """Return the parameters of Llama 3 that give the file's factors; None where
        none do."""
        import torch

        from lmtui.models.gguf.tensors import GgufTensors
        from lmtui.models.rope import frequencies

        wanted, head = GgufTensors(self._header).floats(_FACTORS), self._head()
        if head is None or wanted.shape != (head // 2,):
            return None
        scaling = {**_LLAMA_3, "factor": float(wanted.max())}
        plain = {"rope_theta": self._config.rope_parameters["rope_theta"]}
        factors = frequencies(plain, head) / frequencies(plain | scaling, head)
        return scaling if torch.allclose(factors, wanted, rtol=1e-3) else None

    def _longrope(self) -> dict[str, Any]:
        from lmtui.models.gguf.tensors import GgufTensors

        tensors = GgufTensors(self._header)
        before = self._number("rope.scaling.original_context_length")
        scaling: dict[str, Any] = {
            "rope_type": "longrope",
            "long_factor": tensors.floats(_LONG).tolist(),
            "short_factor": tensors.floats(_SHORT).tolist(),
        }
        if (factor := self._number("rope.scaling.attn_factor")) is not None:
            scaling["attention_factor"] = factor
        if before is not None:
            scaling["original_max_position_embeddings"] = int(before)
            if hasattr(self._config, "original_max_position_embeddings"):
                self._config.original_max_position_embeddings = int(before)
        return scaling
