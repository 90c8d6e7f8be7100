"""Small random models of the shapes that the fast path runs, twice.

`unrounded` has the very weights of the model, in float32 or in numbers of 16 bits,
which lose nothing of them: what is left is the order of sums. `blocks` rounds them.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType, quants
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from lmtui.engine.backends.llama_cpu.backend import LlamaCpuBackend
from lmtui.kernels import build, compiler
from lmtui.kernels.gguf_formats import DTYPES
from lmtui.kernels.gguf_matmul import GgufMatmulKernel
from lmtui.models import hardware
from lmtui.models.llama.families import Naming
from lmtui.models.llama.linear import BlockMatrices
from lmtui.models.llama.weights import layer_frequencies, read_weights, shape_of

SIZE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 2048,
    "initializer_range": 0.15,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 32,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama tied": {"tie_word_embeddings": True, "num_key_value_heads": 4},
    "llama 3": {"rope_parameters": LLAMA3},
    "llama with one key": {"num_key_value_heads": 1, "head_dim": 32},
    "mistral": {"sliding_window": None, "head_dim": 16},
    "qwen2": {},
    "qwen3": {"head_dim": 32, "rms_norm_eps": 1e-3},
    "mistral with a window": {"sliding_window": 24, "head_dim": 16},
    "gemma3_text": {
        **{"head_dim": 32, "query_pre_attn_scalar": 20, "sliding_window": 24},
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "gemma4_text": {
        **{"num_hidden_layers": 6, "num_kv_shared_layers": 3, "head_dim": 16},
        **{"global_head_dim": 32, "hidden_size_per_layer_input": 32},
        **{"vocab_size_per_layer_input": 300, "use_double_wide_mlp": True},
        **{"sliding_window": 24, "final_logit_softcapping": 5.0},
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    },
    "smollm3": {"no_rope_layers": [1, 0, 1], "pad_token_id": None},
    "ministral3": {
        "head_dim": 16,
        "rope_parameters": YARN
        | {"llama_4_scaling_beta": 0.5, "mscale": 1.0, "mscale_all_dim": 1.0},
    },
    "olmo2": {},
    "olmo3": {
        "sliding_window": 24,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": YARN,
        },
    },
    "qwen3_5_text": {
        **{"num_hidden_layers": 4, "head_dim": 32, "linear_num_key_heads": 2},
        **{"linear_num_value_heads": 4, "linear_key_head_dim": 32},
        **{"linear_value_head_dim": 80, "initializer_range": 0.05},
    },
    "lfm2": {
        "layer_types": ["conv", "full_attention", "conv"],
        "block_auto_adjust_ff_dim": False,
    },
    "granite": {
        **{"embedding_multiplier": 3.0, "residual_multiplier": 0.7},
        **{"attention_multiplier": 0.4, "logits_scaling": 1.5},
    },
}
UNROUNDED = (torch.float32, torch.bfloat16, torch.float16)


@cache
def model(kind: str) -> Any:
    """The model as transformers runs it, with weights that are numbers of either
    format of 16 bits."""
    torch.manual_seed(sum(map(ord, kind)))
    config = AutoConfig.for_model(kind.split()[0], **(SIZE | KINDS[kind]))
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, weights in made.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(weights, 1.0, 0.2)
        weights.data = weights.data.bfloat16().half().float()
    return made


@torch.inference_mode()
def naive(kind: str, ids: list[int]) -> Tensor:
    """Logprobs after every one of `ids`, softmax in float64. [n, V]"""
    logits: Tensor = model(kind)(torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(-1)


def _tensors(kind: str) -> dict[str, Tensor]:
    tensors = {name: t.detach() for name, t in model(kind).state_dict().items()}
    if model(kind).config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    return tensors


@dataclass
class Source:
    """The model's weights in the blocks of a GGUF file."""

    tensors: dict[str, Tensor]
    format: str

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def floats(self, name: str) -> Tensor:
        return self.tensors[name].float()

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def blocks(self, name: str) -> tuple[Tensor, str]:
        weights = self.tensors[name].contiguous()
        if self.format in DTYPES:
            stored = weights.to(getattr(torch, DTYPES[self.format]))
            return stored.view(torch.uint8), self.format
        kind = GGMLQuantizationType[self.format]
        return torch.from_numpy(quants.quantize(weights.numpy(), kind)), self.format


@cache
def blocks(kind: str, quantisation: str = "Q8_0") -> LlamaCpuBackend:
    """The model with its weights in a type of GGUF files."""
    config, source = model(kind).config, Source(_tensors(kind), quantisation)
    shape = shape_of(config.to_dict())
    rope = layer_frequencies(config.to_dict())
    matrices = BlockMatrices(source, gguf_kernel())
    weights = read_weights(
        *(shape, matrices, Naming.transformers(config.model_type)),
        *(config.vocab_size, rope),
    )
    return LlamaCpuBackend(weights)


@cache
def gguf_kernel() -> GgufMatmulKernel:
    """What multiplies with blocks; a test without a compiler is skipped."""
    if compiler.compiler_id() is None:
        pytest.skip("there is no C++ compiler")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernels.so")
        build.compile_checked(file, [64])  # no width of these models
        return GgufMatmulKernel(file)


def unrounded(kind: str, dtype: torch.dtype) -> LlamaCpuBackend:
    """The model with its own weights in a format that loses nothing of them."""
    types = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
    # Some processors round the inputs of products with bfloat16, too.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hardware, "fast_at_bfloat16", lambda device: False)
        return blocks(kind, types[dtype])
