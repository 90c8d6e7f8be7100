"""What the tensors of a Llama-shaped model are called.

Owns the names in GGUF files and in transformers. Reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_GGUF = {
    "embedding": "token_embd.weight",
    "norm": "output_norm.weight",
    "head": "output.weight",
    "layer": "blk.{}.",
    "attention_norm": "attn_norm.weight",
    "feed_norm": "ffn_norm.weight",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "out": "attn_output",
    "q_norm": "attn_q_norm.weight",
    "k_norm": "attn_k_norm.weight",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
LIBRARY = {
    "embedding": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "head": "lm_head.weight",
    "layer": "model.layers.{}.",
    "attention_norm": "input_layernorm.weight",
    "feed_norm": "post_attention_layernorm.weight",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "q_norm": "self_attn.q_norm.weight",
    "k_norm": "self_attn.k_norm.weight",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True)
class Naming:
    """How a source calls its tensors, and in which order it has the numbers of a head
    that are turned together: side by side, or half a head apart."""

    names: Mapping[str, str]
    apart: bool

    @classmethod
    def gguf(cls, architecture: str) -> Naming:
        """Of a GGUF file."""
        return cls(_GGUF, apart=architecture != "llama")

    @classmethod
    def library(cls) -> Naming:
        """Of a model in the format of transformers."""
        return cls(LIBRARY, apart=True)
