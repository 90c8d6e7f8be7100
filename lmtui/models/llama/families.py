"""The families of the Llama backend: how they differ, and the names of their tensors.

Families that differ from Llama in constants are rows of `FAMILIES`. Reads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lmtui.models.gguf.families import family_of
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.parameters import tensor_names

LIBRARY = {
    "embedding": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "head": "lm_head.weight",
    "layer": "model.layers.{}.",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "q_norm": "self_attn.q_norm.weight",
    "k_norm": "self_attn.k_norm.weight",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "delta_qkv": "linear_attn.in_proj_qkv",
    "delta_gate": "linear_attn.in_proj_z",
    "beta": "linear_attn.in_proj_b",
    "step": "linear_attn.in_proj_a",
    "convolution": "linear_attn.conv1d.weight",
    "decay": "linear_attn.A_log",
    "dt_bias": "linear_attn.dt_bias",
    "delta_norm": "linear_attn.norm.weight",
    "delta_out": "linear_attn.out_proj",
    "inputs": "model.embed_tokens_per_layer.weight",
    "input_projection": "model.per_layer_model_projection.weight",
    "projection_norm": "model.per_layer_projection_norm.weight",
    "input_gate": "per_layer_input_gate",
    "input_proj": "per_layer_projection",
}

_WHOLE = ("model.", "lm_head.")
"""How names begin that belong to no layer."""

_NORMS_BEFORE = {
    "attention_norm": "input_layernorm.weight",
    "feed_norm": "post_attention_layernorm.weight",
}
_NORMS_AROUND = {
    "attention_norm": "input_layernorm.weight",
    "attention_post_norm": "post_attention_layernorm.weight",
    "feed_norm": "pre_feedforward_layernorm.weight",
    "feed_post_norm": "post_feedforward_layernorm.weight",
}
_NORMS_AFTER = {
    "attention_post_norm": "post_attention_layernorm.weight",
    "feed_post_norm": "post_feedforward_layernorm.weight",
}
_GEMMA4 = {
    "input_norm": "post_per_layer_input_norm.weight",
    "scale": "layer_scalar",
}
_LFM2 = {
    "attention_norm": "operator_norm.weight",
    "feed_norm": "ffn_norm.weight",
    "norm": "model.embedding_norm.weight",
    "conv_in": "conv.in_proj",
    "convolution": "conv.conv.weight",
    "conv_out": "conv.out_proj",
    "out": "self_attn.out_proj",
    "q_norm": "self_attn.q_layernorm.weight",
    "k_norm": "self_attn.k_layernorm.weight",
    "gate": "feed_forward.w1",
    "up": "feed_forward.w3",
    "down": "feed_forward.w2",
}


@dataclass(frozen=True, slots=True)
class Family:
    """What sets the layers of a family apart from Llama's, beside the numbers of its
    configuration."""

    model_class: str
    """The class of transformers that runs it."""
    norms: Mapping[str, str] = field(default_factory=lambda: _NORMS_BEFORE)
    """The norms that a layer has, and transformers' names of them."""
    norm_offset: float = 0
    """What transformers adds to the weights of norms; GGUF files hold the sum."""
    norms_all_heads: bool = False
    """Whether norms of queries and keys act on all heads at once."""
    scales_embedding: bool = False
    """Whether embeddings are multiplied by √D."""
    scales_scores: bool = True
    """Whether attention's scores are divided by √d."""
    norms_values: bool = False
    """Whether values are normalised, without weights."""
    slides: bool = False
    """Whether all layers have the window of the configuration."""
    has_gates: bool = False
    """Whether each query head has as many gates of its output, behind its own rows."""
    turns_partly: bool = False
    """Whether RoPE may turn only the first numbers of a head."""
    own_names: Mapping[str, str] = field(default_factory=dict)
    """transformers' names that other families don't have."""

    @property
    def names(self) -> dict[str, str]:
        """transformers' names of all tensors; those of a layer without its own."""
        return {**LIBRARY, **self.norms, **self.own_names}


FAMILIES = {
    "llama": Family("LlamaForCausalLM"),
    "mistral": Family("MistralForCausalLM", slides=True),
    "qwen2": Family("Qwen2ForCausalLM"),
    "qwen3": Family("Qwen3ForCausalLM"),
    "gemma3_text": Family(
        "Gemma3ForCausalLM",
        _NORMS_AROUND,
        norm_offset=1,
        scales_embedding=True,
    ),
    "gemma4_text": Family(
        "Gemma4ForCausalLM",
        _NORMS_AROUND,
        scales_embedding=True,
        scales_scores=False,
        norms_values=True,
        own_names=_GEMMA4,
    ),
    "granite": Family("GraniteForCausalLM"),
    "lfm2": Family("Lfm2ForCausalLM", own_names=_LFM2),
    "ministral3": Family("Ministral3ForCausalLM", slides=True),
    "olmo2": Family("Olmo2ForCausalLM", norms=_NORMS_AFTER, norms_all_heads=True),
    "olmo3": Family("Olmo3ForCausalLM", norms=_NORMS_AFTER, norms_all_heads=True),
    "qwen3_5_text": Family(
        "Qwen3_5ForCausalLM", norm_offset=1, has_gates=True, turns_partly=True
    ),
    "smollm3": Family("SmolLM3ForCausalLM"),
}
"""The families that run here, by their `model_type`."""


@dataclass(frozen=True, slots=True)
class Naming:
    """The names of a source's tensors, and how it has the weights of norms and the two
    numbers of a RoPE pair."""

    names: Mapping[str, str]
    """By this module's words for them; of norms, those that a layer has."""
    half_split_rope: bool
    """Whether RoPE's pairs are half a head apart, and not side by side."""
    norm_offset: float
    """What must be added to the weights of norms."""
    is_gguf: bool
    """Whether it is that of a GGUF file."""

    @classmethod
    def gguf(cls, header: GgufHeader) -> Naming:
        """Return the naming of a GGUF file."""
        family = family_of(header)
        stored, layer = tensor_names(header, 1), LIBRARY["layer"].format(0)
        names = {"layer": "blk.{}."}
        for word, name in FAMILIES[family.model_type].names.items():
            whole = name if name.startswith(_WHOLE) else layer + name
            if found := next(stored(whole), ""):
                names[word] = found.removeprefix("blk.0.")
        if "scale" in names:  # transformers keeps it in a buffer, without an ending
            names["scale"] += ".weight"
        return cls(names, not family.interleaved, 0, is_gguf=True)

    @classmethod
    def transformers(cls, kind: str) -> Naming:
        """Return the naming of a model in the format of transformers."""
        family = FAMILIES[kind]
        return cls(family.names, True, family.norm_offset, is_gguf=False)
