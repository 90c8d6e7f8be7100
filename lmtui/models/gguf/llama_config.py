"""The configuration of a Llama-shaped model in a GGUF file, as transformers writes it.

transformers reads it, too, but its import takes longer than the model. Fields:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lmtui.models.gguf.config import amend_config
from lmtui.models.gguf.header import GgufHeader

_THETA = 10_000.0  # where a file has none


def llama_config(header: GgufHeader) -> dict[str, Any]:
    """Return the configuration of a Llama-shaped file.

    Raises:
        KeyError: the file lacks a number.
        LmtuiError: it scales RoPE in a way that transformers does not know.
    """
    kind, fields = header.architecture, header.values
    heads = fields[f"{kind}.attention.head_count"]
    width = fields[f"{kind}.embedding_length"]
    embedding = header.shapes["token_embd.weight"]
    config = SimpleNamespace(
        model_type=kind,
        vocab_size=embedding[0],
        hidden_size=width,
        intermediate_size=fields[f"{kind}.feed_forward_length"],
        num_hidden_layers=fields[f"{kind}.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=fields.get(f"{kind}.attention.head_count_kv", heads),
        max_position_embeddings=fields[f"{kind}.context_length"],
        rms_norm_eps=fields[f"{kind}.attention.layer_norm_rms_epsilon"],
        rope_parameters={
            "rope_type": "default",
            "rope_theta": fields.get(f"{kind}.rope.freq_base", _THETA),
        },
        tie_word_embeddings="output.weight" not in header.shapes,
        hidden_act="silu",
    )
    if (head := fields.get(f"{kind}.attention.key_length")) is not None:
        config.head_dim = head
    if kind != "llama":  # whose layers see everything
        config.sliding_window, config.layer_types = None, None
        config.use_sliding_window = False
    for name in ("bos", "eos"):
        token = fields.get(f"tokenizer.ggml.{name}_token_id")
        setattr(config, f"{name}_token_id", token if isinstance(token, int) else None)
    amend_config(config, header)
    return dict(vars(config))
