"""Making small real models: a random Llama, its tokenizer, its GGUF twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from lmtui.kernels.gguf_formats import FORMATS
from lmtui.models.gguf.header import GgufArray, GgufHeader, read_array
from lmtui.models.loaded_model import LoadOptions
from lmtui.models.progress import ignore
from tests.byte_level import trained

HEADS, KV_HEADS = 4, 2
CORPUS = [
    "the quick brown fox jumps over the lazy dog " * 4,
    "ça va? 日本語 👩‍👧\n" * 4,
]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
TEXT = "the quick fox — ça va? 日本"


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 320 tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=trained(CORPUS, size=320),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )


def llama_config() -> LlamaConfig:
    """Two layers of width 64."""
    return LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
        rms_norm_eps=1e-5,
    )


def save_llama(
    folder: Path,
    *,
    rope: dict[str, Any] | None = None,
    vocabulary: int | None = None,
    width: int | None = None,
    **options: Any,
) -> Path:
    """Save a random Llama with its tokenizer; the same weights at every call. `rope`
    are parameters of its RoPE, `vocabulary` is the size of another vocabulary, `width`
    another width, also of the FFN."""
    torch.manual_seed(7)
    config = llama_config()
    if width is not None:
        config.hidden_size = config.intermediate_size = width
        config.head_dim = width // HEADS
    config.vocab_size = vocabulary or config.vocab_size
    config.rope_parameters = {**config.rope_parameters, **(rope or {})}
    LlamaForCausalLM(config).save_pretrained(folder, **options)
    tokenizer().save_pretrained(folder)
    return folder


def save_brief(folder: Path, family: str, dtype: torch.dtype, **options: Any) -> Path:
    """Save a random model of a family in a format of 16 bits, with its tokenizer;
    `options` are what its configuration has of its own, and `max_shard_size`."""
    torch.manual_seed(7)
    saved = {k: options.pop(k) for k in ("max_shard_size",) if k in options}
    size = llama_config().to_dict()
    for name in ("model_type", "architectures", "dtype", "transformers_version"):
        size.pop(name, None)
    config = AutoConfig.for_model(family, **(size | options))
    made = AutoModelForCausalLM.from_config(config, dtype=dtype)
    made.save_pretrained(folder, **saved)
    tokenizer().save_pretrained(folder)
    return folder


def how() -> LoadOptions:
    """What is wanted where nothing is said, on the CPU."""
    return LoadOptions("cpu", "auto", "auto", None, ignore)


def write_gguf(
    folder: Path,
    target: Path,
    kind: str = "F32",
    *,
    template: str = TEMPLATE,
    change: Callable[[gguf.GGUFWriter], None] = lambda _: None,
    head_counts: Sequence[int] | int = KV_HEADS,
    vocabulary: GgufHeader | None = None,
) -> Path:
    """Write the Llama in `folder` as GGUF; matrices as `kind`. `change` adds fields and
    tensors; `head_counts` are those of keys, of each layer or of all; `vocabulary` is a
    file whose tokenizer it gets."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    writer = gguf.GGUFWriter(target, "llama")
    _write_facts(writer, model.config)
    writer.add_head_count_kv(head_counts)
    if vocabulary is None:
        write_tokens(writer, template)
    else:
        copy_tokenizer(vocabulary, writer)
    for name, weights in model.state_dict().items():
        _write_tensor(writer, name, weights.numpy(), kind)
    change(writer)
    finish(writer)
    return target


def finish(writer: gguf.GGUFWriter) -> None:
    """Write what a file was told to have."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_facts(writer: gguf.GGUFWriter, config: LlamaConfig) -> None:
    writer.add_name("Tiny Llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // HEADS)
    writer.add_vocab_size(config.vocab_size)


def copy_tokenizer(vocabulary: GgufHeader, writer: gguf.GGUFWriter) -> None:
    """Copy the fields of a tokenizer from one file to another."""
    for key, value in vocabulary.pairs.items():
        if not key.startswith("tokenizer."):
            continue
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case str():
                writer.add_string(key, value)
            case GgufArray():
                writer.add_array(key, _texts(read_array(vocabulary, key) or []))


def _texts(items: list[Any]) -> list[Any]:
    return [item.decode() if isinstance(item, bytes) else item for item in items]


def write_tokens(writer: gguf.GGUFWriter, template: str, count: int = 0) -> None:
    import json

    fast = tokenizer()
    words = fast.convert_ids_to_tokens(range(len(fast)))
    words += [f"<unused {index}>" for index in range(count - len(words))]
    merges = json.loads(fast.backend_tokenizer.to_str())["model"]["merges"]
    special = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_token_types(
        [special if i < 3 else gguf.TokenType.NORMAL for i in range(len(words))]
    )
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)


_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
}


def _write_tensor(
    writer: gguf.GGUFWriter, name: str, weights: np.ndarray, kind: str
) -> None:
    heads = {"q_proj": HEADS, "k_proj": KV_HEADS}.get(name.split(".")[-2])
    if heads:
        weights = _interleave(weights, heads)
    for ours, theirs in _NAMES.items():
        name = name.replace(ours, theirs)
    weights = np.ascontiguousarray(weights, dtype=np.float32)
    if kind == "F32" or weights.ndim == 1:
        writer.add_tensor(name, weights)
        return
    stored = gguf.GGMLQuantizationType[kind]
    made = (
        random_blocks(kind, *weights.shape, seed=len(name))
        if kind.endswith(("_K", "_NL", "_XS"))  # the library can't make these
        else gguf.quantize(weights, stored)
    )
    writer.add_tensor(name, made, raw_dtype=stored)


def random_blocks(kind: str, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Make a matrix of random blocks with small scales: uint8 [rows, bytes]."""
    blocks = FORMATS[kind]
    random = np.random.default_rng(seed)
    shape = rows, columns // blocks.weights, blocks.size
    data = random.integers(0, 256, shape, dtype=np.uint8)
    for at in blocks.scales:
        small = random.uniform(-1, 1, data.shape[:2]).astype(np.float16) / _LEVELS[kind]
        data[..., at : at + 2] = small[..., None].view(np.uint8)
    return data.reshape(rows, -1)


_LEVELS = {
    **{"Q2_K": 300, "Q3_K": 1000},
    **{"Q4_0": 100, "Q4_1": 100, "Q5_0": 200, "Q5_1": 200},
    **{"Q8_0": 1000, "Q4_K": 4000, "Q5_K": 8000, "Q6_K": 20000},
    **{"IQ4_NL": 800, "IQ4_XS": 16000},
    **{"F32": 10, "F16": 10, "BF16": 10},
}
"""What a random scale is divided by, so that weights are about 0.1."""


def _interleave(weights: np.ndarray, heads: int) -> np.ndarray:
    """GGUF keeps the halves of a rotary pair side by side."""
    rows, columns = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


@torch.inference_mode()
def logits(model: Any, fast: Any) -> torch.Tensor:
    """What a model says to a fixed text. [tokens, vocabulary]"""
    ids = fast(TEXT, add_special_tokens=False).input_ids
    out: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return out
