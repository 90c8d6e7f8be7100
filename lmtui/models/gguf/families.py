"""Families of models in GGUF files: how each is configured and stored there.

A family is a row of `FAMILIES`. Its configuration is made as transformers writes it,
without that library, whose import takes longer than a small model. Fields:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; for the families, llama.cpp's
`conversion` folder, which writes such files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.models.gguf.config import amend_config
from lmtui.models.gguf.header import GgufHeader, read_array

_THETA = 10_000.0  # where a file has none
_LAYERS_27B = 62  # of the Gemma 3 whose attention is scaled in another way
_FIELDS = {
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
"""transformers' names of what every file has, and the fields."""
_OPTIONAL = {"head_dim": "attention.key_length"}


class GgufFields:
    """The fields of one file that configure its model."""

    def __init__(self, header: GgufHeader) -> None:
        self.header = header
        self.shapes = header.shapes

    def get(self, name: str, default: Any = None) -> Any:
        return self.header.field(name, default)

    def __getitem__(self, name: str) -> Any:
        """Return a field.

        Raises:
            KeyError: the file lacks it.
        """
        return self.header.values[f"{self.header.architecture}.{name}"]

    def by_layer(self, name: str) -> list[Any]:
        """Return a number for each layer, where the file may have one for all.

        Raises:
            KeyError: the file has neither.
        """
        key = f"{self.header.architecture}.{name}"
        items = read_array(self.header, key)
        return items or [self[name]] * int(self["block_count"])

    def rope(self, base: str = "rope.freq_base", **more: Any) -> dict[str, Any]:
        """Return RoPE's parameters with the base in a field."""
        theta = self.get(base, _THETA)
        return {"rope_type": "default", "rope_theta": theta, **more}


def _nothing(fields: GgufFields) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class GgufFamily:
    model_type: str
    """transformers' name of the family."""
    more: Callable[[GgufFields], dict[str, Any]] = _nothing
    """Its configuration beyond what all families have."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """transformers' names of further numbers that a file may have, and the fields."""
    interleaved: bool = False
    """Whether the two numbers of a RoPE pair lie side by side in the rows of q and k,
    and not half a head apart as transformers has them."""
    offset_norms: bool = False
    """Whether the weights of norms, but for that behind Gated DeltaNet, are 1 larger in
    files."""


def _no_window(fields: GgufFields) -> dict[str, Any]:
    return {"sliding_window": None, "layer_types": None, "use_sliding_window": False}


def _gemma3(fields: GgufFields) -> dict[str, Any]:
    layers, scalar = int(fields["block_count"]), fields["attention.key_length"]
    if layers == _LAYERS_27B:
        scalar = fields["embedding_length"] // fields["attention.head_count"]
    local = fields.rope("rope.freq_base_swa")
    return {
        "sliding_window": fields["attention.sliding_window"],
        "layer_types": _every(6, layers),
        "query_pre_attn_scalar": scalar,
        "hidden_activation": "gelu_pytorch_tanh",
        "rope_parameters": {
            "sliding_attention": local,
            "full_attention": fields.rope(),
        },
    }


def _gemma2(fields: GgufFields) -> dict[str, Any]:
    return {
        "sliding_window": fields["attention.sliding_window"],
        "layer_types": _every(2, int(fields["block_count"])),
        "query_pre_attn_scalar": fields["attention.key_length"],
        "hidden_activation": "gelu_pytorch_tanh",
    }


def _every(count: int, layers: int, other: str = "sliding_attention") -> list[str]:
    """Return the kinds of layers of which each `count`th sees all of the text."""
    kinds = [other] * (count - 1) + ["full_attention"]
    return [kinds[index % count] for index in range(layers)]


def _gemma4(fields: GgufFields) -> dict[str, Any]:
    # 1) layers: which look back a limited way, and which are twice as wide
    slides = fields.by_layer("attention.sliding_window_pattern")
    kinds = ["sliding_attention" if each else "full_attention" for each in slides]
    widths = fields.by_layer("feed_forward_length")
    # 2) heads: other ones where all of the text is seen
    wide, narrow = (fields[f"attention.key_length{end}"] for end in ("", "_swa"))
    keys = dict(zip(kinds, fields.by_layer("attention.head_count_kv"), strict=True))
    whole = [i for i, kind in enumerate(kinds) if kind == "full_attention"]
    values = f"blk.{whole[0]}.attn_v.weight" if whole else ""
    # 3) positions: in such layers only the first pairs of a head are turned, those
    # whose frequency is not divided by a huge number
    turned = 0.25
    if "rope_freqs.weight" in fields.shapes:
        from lmtui.models.gguf.tensors import GgufTensors

        factors = GgufTensors(fields.header).floats("rope_freqs.weight")
        turned = float((factors == 1).float().mean())
    # 4) further inputs of each layer, a table of them
    table = fields.shapes.get("per_layer_token_embd.weight", (1, 0))
    return {
        "intermediate_size": min(widths),
        "use_double_wide_mlp": len({*widths}) > 1,
        "head_dim": narrow,
        "num_key_value_heads": keys.get("sliding_attention", 1),
        "per_layer_config": {
            str(index): {
                "head_dim": wide,
                "num_key_value_heads": keys["full_attention"],
            }
            for index in whole
        },
        "attention_k_eq_v": values not in fields.shapes,
        "num_kv_shared_layers": fields.get("attention.shared_kv_layers", 0),
        "layer_types": kinds,
        "sliding_window": fields["attention.sliding_window"],
        "vocab_size_per_layer_input": table[0],
        "hidden_size_per_layer_input": fields.get(
            "embedding_length_per_layer_input", 0
        ),
        "hidden_activation": "gelu_pytorch_tanh",
        "rope_parameters": {
            "sliding_attention": fields.rope("rope.freq_base_swa"),
            "full_attention": fields.rope(
                rope_type="proportional", partial_rotary_factor=turned
            ),
        },
    }


def _qwen35(fields: GgufFields) -> dict[str, Any]:
    head, heads = fields["attention.key_length"], fields["ssm.time_step_rank"]
    # A block that guesses further tokens is counted, and not run.
    layers = fields["block_count"] - fields.get("nextn_predict_layers", 0)
    attends = fields["full_attention_interval"]
    return {
        "num_hidden_layers": layers,
        "layer_types": _every(attends, layers, "linear_attention"),
        "linear_conv_kernel_dim": fields["ssm.conv_kernel"],
        "linear_key_head_dim": fields["ssm.state_size"],
        "linear_num_key_heads": fields["ssm.group_count"],
        "linear_num_value_heads": heads,
        "linear_value_head_dim": fields["ssm.inner_size"] // heads,
        "rope_parameters": fields.rope(
            # Of a text alone, all axes of an image's position are equal.
            mrope_section=[n for n in fields.by_layer("rope.dimension_sections") if n],
            mrope_interleaved=True,
            partial_rotary_factor=fields["rope.dimension_count"] / head,
        ),
    }


def _lfm2(fields: GgufFields) -> dict[str, Any]:
    keys = fields.by_layer("attention.head_count_kv")
    return {
        "block_auto_adjust_ff_dim": False,  # of the width in the file
        "num_key_value_heads": max(keys),
        "layer_types": ["full_attention" if count else "conv" for count in keys],
        "norm_eps": fields["attention.layer_norm_rms_epsilon"],
        "conv_L_cache": fields["shortconv.l_cache"],
        "conv_bias": "blk.0.shortconv.in_proj.bias" in fields.shapes,
    }


def _phi3(fields: GgufFields) -> dict[str, Any]:
    return {
        "sliding_window": None,
        "rope_parameters": fields.rope(partial_rotary_factor=1.0),
    }


def _gemma(fields: GgufFields) -> dict[str, Any]:
    return {"hidden_act": "gelu_pytorch_tanh"}


def _smollm3(fields: GgufFields) -> dict[str, Any]:
    # No field says so: each fourth layer has no RoPE.
    layers = range(1, int(fields["block_count"]) + 1)
    return {"no_rope_layers": [int(index % 4 != 0) for index in layers]}


def _granite(fields: GgufFields) -> dict[str, Any]:
    if fields.get("rope.scaling.finetuned", True):
        return {}
    raise LmtuiError(
        "this kind of model is not supported",
        f"{fields.header.path}: its attention does not know positions",
        "Use the model's folder from the Hub.",
    )


def _mistral3(fields: GgufFields) -> dict[str, Any]:
    return {
        "rope_parameters": fields.rope(
            # 1 + beta · log(1 + floor(position / length before YaRN)) scales queries
            llama_4_scaling_beta=fields.get("attention.temperature_scale", 0.0),
            original_max_position_embeddings=fields["context_length"],
            mscale=1.0,
            mscale_all_dim=fields.get("rope.scaling.yarn_log_multiplier", 0.0),
        )
    }


def _olmo2(fields: GgufFields) -> dict[str, Any]:
    if not (window := fields.get("attention.sliding_window")):
        return {}
    return {
        "model_type": "olmo3",
        "sliding_window": window,
        "layer_types": _every(4, int(fields["block_count"])),
        "rope_parameters": {
            "sliding_attention": fields.rope(),
            "full_attention": fields.rope(),
        },
    }


def _mixture(fields: GgufFields) -> dict[str, Any]:
    return {
        "num_experts": fields["expert_count"],
        "num_experts_per_tok": fields["expert_used_count"],
        "moe_intermediate_size": fields.get("expert_feed_forward_length"),
        "norm_topk_prob": True,  # as llama.cpp runs them
    }


def _qwen35moe(fields: GgufFields) -> dict[str, Any]:
    shared = fields["expert_shared_feed_forward_length"]
    return {
        **{"intermediate_size": shared, "shared_expert_intermediate_size": shared},
        **_qwen35(fields),
        **_mixture(fields),
    }


def _granitemoe(fields: GgufFields) -> dict[str, Any]:
    return _granite(fields) | {
        "num_local_experts": fields["expert_count"],
        "num_experts_per_tok": fields["expert_used_count"],
    }


_CAPS = {
    "final_logit_softcapping": "final_logit_softcapping",
    "attn_logit_softcapping": "attn_logit_softcapping",
}
_SCALES = {
    "attention_multiplier": "attention.scale",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
}
FAMILIES = {
    "llama": GgufFamily("llama", interleaved=True),
    "qwen2": GgufFamily("qwen2", _no_window),
    "qwen3": GgufFamily("qwen3", _no_window),
    "qwen35": GgufFamily("qwen3_5_text", _qwen35, offset_norms=True),
    "lfm2": GgufFamily("lfm2", _lfm2),
    "gemma": GgufFamily("gemma", _gemma, offset_norms=True),
    "gemma2": GgufFamily("gemma2", _gemma2, _CAPS, offset_norms=True),
    "gemma3": GgufFamily("gemma3_text", _gemma3, _CAPS, offset_norms=True),
    "gemma4": GgufFamily("gemma4_text", _gemma4, _CAPS),
    "phi3": GgufFamily("phi3", _phi3),
    "granitemoe": GgufFamily("granitemoe", _granitemoe, _SCALES, interleaved=True),
    "qwen3moe": GgufFamily("qwen3_moe", _mixture),
    "qwen35moe": GgufFamily("qwen3_5_moe_text", _qwen35moe, offset_norms=True),
    "granite": GgufFamily("granite", _granite, _SCALES, interleaved=True),
    "smollm3": GgufFamily("smollm3", _smollm3, interleaved=True),
    "mistral3": GgufFamily("ministral3", _mistral3, interleaved=True),
    "olmo2": GgufFamily("olmo2", _olmo2),
}
"""Families by the architecture that files name."""


def family_of(header: GgufHeader) -> GgufFamily:
    """Return the family of a file.

    Raises:
        LmtuiError: it is not known.
    """
    if (family := FAMILIES.get(header.architecture)) is not None:
        return family
    raise LmtuiError(
        "this kind of model is not supported",
        f"{header.path}: its architecture is {header.architecture}",
        f"GGUF files of these run: {', '.join(sorted(FAMILIES))}. For others, try the "
        "model's folder from the Hub.",
    )


def gguf_config(header: GgufHeader) -> dict[str, Any]:
    """Return the configuration of a file, as transformers writes it.

    Raises:
        KeyError: the file lacks a number.
        LmtuiError: its family is not known, or it scales RoPE in a way that
            transformers does not know.
    """
    family, fields = family_of(header), GgufFields(header)
    heads = fields["attention.head_count"]
    optional = {**_OPTIONAL, **family.fields}
    config = SimpleNamespace(
        model_type=family.model_type,
        vocab_size=fields.shapes["token_embd.weight"][0],
        num_key_value_heads=fields.get("attention.head_count_kv", heads),
        rope_parameters=fields.rope(),
        tie_word_embeddings="output.weight" not in fields.shapes,
        hidden_act="silu",
        pad_token_id=None,  # the usual one may be beyond the vocabulary
    )
    known = {name: fields.get(each) for name, each in (_FIELDS | optional).items()}
    for name, value in {**known, **family.more(fields)}.items():
        if value is None and name in _FIELDS:
            raise KeyError(f"{header.architecture}.{_FIELDS[name]}")
        if value is not None or name not in optional:
            setattr(config, name, value)
    for name in ("bos", "eos"):
        token = header.values.get(f"tokenizer.ggml.{name}_token_id")
        setattr(config, f"{name}_token_id", token if isinstance(token, int) else None)
    amend_config(config, header)
    return dict(vars(config))
