"""Writing random models of any family as GGUF files, as llama.cpp's converter does."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tests.models import tiny

SIZE = {
    "vocab_size": 320,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}


def random_model(kind: str, **options: Any) -> Any:
    """Make a random model of four layers; the same weights at every call."""
    torch.manual_seed(3)
    config = CONFIG_MAPPING[kind](**{**SIZE, **options})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weights in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("A_log"):
                weights.uniform_(-1, 1)
            elif weights.is_floating_point() and name in model.state_dict():
                drawn = torch.randn(weights.shape) * 0.06
                is_factor = "norm" in name or name.endswith("scalar")
                weights.copy_(drawn + (1 if is_factor else 0))
    return model.eval()


def write_shape(family: Any, shape: dict[str, Any], target: Path) -> Path:
    """Write a file of a family with random blocks of Q4_0, and without a model of that
    size in memory."""
    config = CONFIG_MAPPING[family.kind](**{**SIZE, **shape})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return write(model, family.architecture, target, "Q4_0", family.fields)


Fields = Callable[[gguf.GGUFWriter, Any], None]


def write(
    model: Any,
    architecture: str,
    target: Path,
    kind: str = "F32",
    fields: Fields = lambda writer, config: None,
    offset: Callable[[str], bool] = lambda name: False,
    interleaved: bool = False,
) -> Path:
    """Write a model as a file of an architecture, with matrices as `kind`. `fields`
    adds those of its family, `offset` says which norms get a 1 on top, `interleaved`
    whether the two numbers of a RoPE pair are put side by side."""
    config = model.config
    writer = gguf.GGUFWriter(target, architecture)
    writer.add_name("Tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_vocab_size(config.vocab_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    if (epsilon := getattr(config, "rms_norm_eps", None)) is not None:
        writer.add_layer_norm_rms_eps(epsilon)
    tiny.write_tokens(writer, tiny.TEMPLATE, config.vocab_size)
    fields(writer, config)
    for name, weights in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if name.endswith("experts.gate_up_proj"):
            for each, part in zip(("gate", "up"), weights.chunk(2, 1), strict=True):
                at = f"blk.{name.split('.')[2]}.ffn_{each}_exps.weight"
                _add(writer, at, part.numpy(), kind)
            continue
        at = _name(name, architecture, config)
        if weights.is_meta:
            shape = len(weights), *weights.shape[-1:][: weights.ndim - 1]
            _add_random(writer, at, shape, kind)
            continue
        values = _as_in_file(name, weights.float(), config, offset, interleaved)
        _add(writer, at, values.numpy(), kind)
    tiny.finish(writer)
    return target


def _name(name: str, architecture: str, config: Any) -> str:
    kinds = {theirs: kind for kind, theirs in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(kinds[architecture], config.num_hidden_layers)
    if name.endswith("dt_bias"):
        return f"blk.{name.split('.')[2]}.ssm_dt.bias"
    for theirs, ours in (("router", "ffn_gate_inp"), ("down_proj", "ffn_down_exps")):
        if f"block_sparse_moe.experts.{theirs}" in name or f"moe.{theirs}." in name:
            return f"blk.{name.split('.')[2]}.{ours}.weight"
    end = next((end for end in (".weight", ".bias") if name.endswith(end)), "")
    found = table.get_name(name.removesuffix(end))
    assert found, name
    known = end if end or found.endswith("ssm_a") else ".weight"
    return f"{found}{known}"


def _as_in_file(
    name: str,
    weights: torch.Tensor,
    config: Any,
    offset: Callable[[str], bool],
    interleaved: bool,
) -> torch.Tensor:
    if name.endswith("A_log"):
        weights = -weights.exp()
    if name.endswith(("conv1d.weight", "conv.conv.weight")):
        weights = weights.squeeze(1)
    if offset(name):
        weights = weights + 1
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = heads.get(name.split(".")[-2]) if interleaved else None
    if count:
        halves = weights.view(count, 2, -1, *weights.shape[1:])
        weights = halves.transpose(1, 2).reshape(weights.shape)
    values = getattr(config, "linear_num_value_heads", 0)
    keys = getattr(config, "linear_num_key_heads", 1)
    if values == keys or not values:
        return weights

    def tiled(part: torch.Tensor) -> torch.Tensor:
        grouped = part.view(keys, values // keys, -1, *part.shape[1:])
        return grouped.transpose(0, 1).reshape(part.shape)

    before = 2 * keys * config.linear_key_head_dim
    match name.split("linear_attn.")[-1].removesuffix(".weight"):
        case "A_log" | "dt_bias" | "in_proj_a" | "in_proj_b" | "in_proj_z":
            return tiled(weights)
        case "in_proj_qkv" | "conv1d":
            return torch.cat([weights[:before], tiled(weights[before:])])
        case "out_proj":
            return tiled(weights.T).T
    return weights


def _add(writer: gguf.GGUFWriter, name: str, values: np.ndarray, kind: str) -> None:
    values = np.ascontiguousarray(values)
    small = kind == "F32" or values.ndim == 1 or _is_kernel(name) or "ssm_a" in name
    if small or values.shape[-1] % 32:
        writer.add_tensor(name, values)
        return
    stored = gguf.GGMLQuantizationType[kind]
    made = gguf.quantize(values, stored)
    writer.add_tensor(name, made, raw_dtype=stored)


def _is_kernel(name: str) -> bool:
    """Whether a tensor holds the kernels of a convolution."""
    return name.endswith(("conv.weight", "conv1d.weight"))


def _add_random(
    writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], kind: str
) -> None:
    """Add random blocks, or small numbers where no block fits."""
    if len(shape) == 2 and shape[1] % 32 == 0 and not _is_kernel(name):
        stored = gguf.GGMLQuantizationType[kind]
        few = tiny.random_blocks(kind, 256, shape[1])
        data = np.tile(few, (shape[0] // 256 + 1, 1))[: shape[0]]
        writer.add_tensor(name, data, raw_dtype=stored)
        return
    drawn = np.full(shape, -0.5 if "ssm_a" in name else 0.5, np.float32)
    writer.add_tensor(name, drawn)


def head_dim(config: Any) -> int:
    width: int = getattr(config, "head_dim", None) or math.floor(
        config.hidden_size / config.num_attention_heads
    )
    return width
