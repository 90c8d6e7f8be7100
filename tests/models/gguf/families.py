"""Random models of families in GGUF files, with the fields that llama.cpp's converter
writes for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import torch

from tests.models.gguf import written

IDS = [(7 * i) % 300 for i in range(60)]


def rope(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_key_length(written.head_dim(config))
    writer.add_value_length(written.head_dim(config))
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def qwen35(writer: gguf.GGUFWriter, config: Any) -> None:
    rope(writer, config)
    writer.add_rope_dimension_count(int(config.head_dim * 0.25))
    writer.add_rope_dimension_sections([2, 1, 1, 0])
    writer.add_full_attention_interval(4)
    writer.add_ssm_conv_kernel(config.linear_conv_kernel_dim)
    writer.add_ssm_state_size(config.linear_key_head_dim)
    writer.add_ssm_group_count(config.linear_num_key_heads)
    writer.add_ssm_time_step_rank(config.linear_num_value_heads)
    inner = config.linear_num_value_heads * config.linear_value_head_dim
    writer.add_ssm_inner_size(inner)


def gemma2(writer: gguf.GGUFWriter, config: Any) -> None:
    rope(writer, config)
    writer.add_sliding_window(config.sliding_window)
    writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    writer.add_final_logit_softcapping(config.final_logit_softcapping)


def gemma3(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
    writer.add_sliding_window(config.sliding_window)


def gemma4(writer: gguf.GGUFWriter, config: Any) -> None:
    local, whole = (
        config.rope_parameters[f"{kind}_attention"] for kind in ("sliding", "full")
    )
    slides = [kind == "sliding_attention" for kind in config.layer_types]
    layers, shared = config.num_hidden_layers, config.num_kv_shared_layers
    narrow, *_, wide = (config.per_layer_config[i].head_dim for i in (0, layers - 1))
    writer.add_key_length(wide)
    writer.add_value_length(wide)
    writer.add_key_length_swa(narrow)
    writer.add_value_length_swa(narrow)
    writer.add_rope_dimension_count(wide)
    writer.add_rope_dimension_count_swa(narrow)
    writer.add_rope_freq_base(whole["rope_theta"])
    writer.add_float32("gemma4.rope.freq_base_swa", local["rope_theta"])
    writer.add_sliding_window(config.sliding_window)
    writer.add_sliding_window_pattern(slides)
    writer.add_shared_kv_layers(shared)
    writer.add_embedding_length_per_layer_input(config.hidden_size_per_layer_input)
    writer.add_final_logit_softcapping(config.final_logit_softcapping)
    ffn = config.intermediate_size
    doubled = ffn * 2 if config.use_double_wide_mlp else ffn
    widths = [ffn] * (layers - shared) + [doubled] * shared
    del writer.kv_data[0]["gemma4.feed_forward_length"]
    writer.add_feed_forward_length(widths)
    turned = torch.cat([torch.ones(wide // 8), torch.full((wide * 3 // 8,), 1e30)])
    writer.add_tensor("rope_freqs.weight", turned.numpy())


def lfm2(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_shortconv_l_cache(config.conv_L_cache)
    attends = [kind == "full_attention" for kind in config.layer_types]
    del writer.kv_data[0]["lfm2.attention.head_count_kv"]
    keys = config.num_key_value_heads
    writer.add_head_count_kv([keys * each for each in attends])


def granite(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_attention_scale(config.attention_multiplier)
    writer.add_embedding_scale(config.embedding_multiplier)
    writer.add_residual_scale(config.residual_multiplier)
    writer.add_logit_scale(config.logits_scaling)


def yarn(writer: gguf.GGUFWriter, parameters: dict[str, Any]) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(parameters["factor"])
    before = parameters["original_max_position_embeddings"]
    writer.add_rope_scaling_orig_ctx_len(before)
    writer.add_rope_scaling_yarn_beta_fast(parameters.get("beta_fast", 32.0))
    writer.add_rope_scaling_yarn_beta_slow(parameters.get("beta_slow", 1.0))


def mistral3(writer: gguf.GGUFWriter, config: Any) -> None:
    rope(writer, config)
    parameters = config.rope_parameters
    yarn(writer, parameters)
    writer.add_rope_scaling_yarn_log_mul(parameters["mscale_all_dim"])
    writer.add_attn_temperature_scale(parameters["llama_4_scaling_beta"])


def olmo3(writer: gguf.GGUFWriter, config: Any) -> None:
    whole = config.rope_parameters["full_attention"]
    writer.add_rope_freq_base(whole["rope_theta"])
    yarn(writer, whole)
    writer.add_sliding_window(config.sliding_window)
    slides = [kind == "sliding_attention" for kind in config.layer_types]
    writer.add_sliding_window_pattern(slides)


def mixture(writer: gguf.GGUFWriter, config: Any) -> None:
    rope(writer, config)
    experts(writer, config)


def experts(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_expert_count(4)
    writer.add_expert_used_count(2)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)


def qwen35moe(writer: gguf.GGUFWriter, config: Any) -> None:
    qwen35(writer, config)
    experts(writer, config)
    writer.add_expert_shared_feed_forward_length(64)


def granitemoe(writer: gguf.GGUFWriter, config: Any) -> None:
    granite(writer, config)
    writer.add_expert_count(4)
    writer.add_expert_used_count(2)


class Family(NamedTuple):
    kind: str
    architecture: str
    options: dict[str, Any]
    fields: Callable[[gguf.GGUFWriter, Any], None]
    offset: Callable[[str], bool] = lambda name: False
    interleaved: bool = False


def is_norm(name: str) -> bool:
    """Return whether a parameter is the weights of a norm that some families store with
    an offset."""
    return name.endswith("norm.weight") and "linear_attn" not in name


_DELTA = {
    "head_dim": 32,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
}
_EXPERTS = {
    **{"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2},
    **{"moe_intermediate_size": 64, "norm_topk_prob": True},
}
_GEMMA = {
    "tie_word_embeddings": True,
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "sliding_window": 16,
}
GEMMA4 = {
    **{"num_hidden_layers": 10, "vocab_size_per_layer_input": 320},
    **{"head_dim": 16, "global_head_dim": 32, "sliding_window": 16},
    "tie_word_embeddings": True,
    **{"hidden_size_per_layer_input": 32, "num_kv_shared_layers": 5},
    **{"use_double_wide_mlp": True, "final_logit_softcapping": 30.0},
    "layer_types": [*["sliding_attention"] * 4, "full_attention"] * 2,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 8.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
_SCALES = {
    "attention_multiplier": 0.1,
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.22,
    "logits_scaling": 3.0,
}
FAMILIES = {
    "llama": Family("llama", "llama", {}, rope, interleaved=True),
    "qwen2": Family("qwen2", "qwen2", {}, rope),
    "qwen3": Family("qwen3", "qwen3", {"head_dim": 32}, rope),
    **{
        f"qwen3.5, {count} value heads": Family(
            "qwen3_5_text",
            "qwen35",
            {**_DELTA, "linear_num_value_heads": count},
            qwen35,
            is_norm,
        )
        for count in (2, 4)
    },
    "gemma2": Family("gemma2", "gemma2", _GEMMA, gemma2, is_norm),
    "gemma3": Family(
        *("gemma3_text", "gemma3", _GEMMA | {"num_hidden_layers": 7}, gemma3, is_norm)
    ),
    "gemma4": Family("gemma4_text", "gemma4", GEMMA4, gemma4),
    "lfm2": Family(
        "lfm2",
        "lfm2",
        {
            "layer_types": ["conv", "full_attention"] * 2,
            "block_auto_adjust_ff_dim": False,
        },
        lfm2,
    ),
    "phi3": Family("phi3", "phi3", {}, rope),
    "qwen3, mixture": Family("qwen3_moe", "qwen3moe", _EXPERTS, mixture),
    "qwen3.5, mixture": Family(
        "qwen3_5_moe_text",
        "qwen35moe",
        _DELTA
        | _EXPERTS
        | {"linear_num_value_heads": 4, "shared_expert_intermediate_size": 64},
        qwen35moe,
        is_norm,
    ),
    "granite, mixture": Family(
        "granitemoe",
        "granitemoe",
        _SCALES | {"num_local_experts": 4, "num_experts_per_tok": 2},
        granitemoe,
        interleaved=True,
    ),
    "gemma": Family(
        *("gemma", "gemma", {"tie_word_embeddings": True, "head_dim": 32}),
        *(rope, is_norm),
    ),
    "granite": Family("granite", "granite", _SCALES, granite, interleaved=True),
    "smollm3": Family("smollm3", "smollm3", {}, rope, interleaved=True),
    **{
        f"ministral 3, mscale {scale}": Family(
            "ministral3",
            "mistral3",
            {
                "head_dim": 32,
                "rope_parameters": _YARN
                | {"llama_4_scaling_beta": 0.1, "mscale": 1.0, "mscale_all_dim": scale},
            },
            mistral3,
            interleaved=True,
        )
        for scale in (0.0, 1.0)
    },
    "olmo2": Family("olmo2", "olmo2", {}, rope),
    "olmo3": Family(
        "olmo3",
        "olmo2",
        {
            "sliding_window": 16,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e6},
                "full_attention": _YARN,
            },
        },
        olmo3,
    ),
}


def made(name: str, folder: Path, kind: str) -> tuple[Any, Path]:
    """A random model of a family, and its file."""
    family = FAMILIES[name]
    model = written.random_model(family.kind, **family.options)
    file = written.write(
        *(model, family.architecture, folder / "it.gguf", kind, family.fields),
        offset=family.offset,
        interleaved=family.interleaved,
    )
    return model, file


@torch.inference_mode()
def wanted(model: Any) -> torch.Tensor:
    """The logprobs after each of the tokens: [n, V]."""
    rows: torch.Tensor = model(torch.tensor([IDS])).logits[0].log_softmax(-1)
    return rows
