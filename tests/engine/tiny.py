"""Tiny random models of several families, and a byte-level tokenizer for them.

They answer nonsense, but everything true of a real model is true of them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from lmtui.engine.engine import LocalEngine
from lmtui.models.loaded_model import LoadedModel
from tests.byte_level import trained

FAMILIES = ("llama", "gpt2", "qwen3", "gemma3")
SLIDING_WINDOW = 16
TEMPLATE = (
    "{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)
CORPUS = [
    "The quick brown fox jumps over the lazy dog. " * 3,
    "the cat sat on the mat and the dog sat on the log\n" * 3,
    "Die Möwe über dem Meer — ça va? 日本語のテキスト 👩‍👩‍👧 naïve façade\n" * 2,
    "def f(x):\n    return x + 1\n" * 3,
]


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 400 tokens with control tokens and a chat template."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=trained(CORPUS, size=400),
        bos_token="<|im_start|>",
        eos_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )
    fast.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    return fast


def _config(family: str) -> Any:
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 0,
        "initializer_range": 0.5,
    }
    grouped = size | {
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "head_dim": 8,
    }
    match family:
        case "llama":
            return LlamaConfig(**grouped)
        case "qwen3":
            return Qwen3Config(**grouped)
        case "gemma3":
            return Gemma3TextConfig(**grouped, sliding_window=SLIDING_WINDOW)
        case _:
            return GPT2Config(**size)


def model(family: str = "llama", device: str = "cpu") -> Any:
    """A random model, the same at every call."""
    return _model(family, device)


@cache
def _model(family: str, device: str) -> Any:
    torch.manual_seed(sum(map(ord, family)))
    # Whoever asks first may be in inference mode; who trains it later must not be.
    with torch.inference_mode(False):
        made = AutoModelForCausalLM.from_config(_config(family), dtype=torch.float32)
        return made.eval().to(device)


def loaded(family: str = "llama", device: str = "cpu") -> LoadedModel:
    """What the loader would return for the model."""
    return LoadedModel(
        model=model(family, device),
        tokenizer=tokenizer(),
        name=f"tiny-{family}",
        folder=Path(),
        device=torch.device(device),
        dtype=torch.float32,
        precision="exact",
        threads=torch.get_num_threads(),
    )


def engine(family: str = "llama", device: str = "cpu", **options: Any) -> LocalEngine:
    """An engine around the model."""
    return LocalEngine(loaded(family, device), **options)


@torch.inference_mode()
def reference_logprobs(
    family: str, ids: list[int], device: str = "cpu"
) -> torch.Tensor:
    """The naive way: one forward, all logits, one float64 log-softmax. [n, V]"""
    logits = model(family, device)(torch.tensor([ids], device=device)).logits[0]
    return logits.double().log_softmax(-1).cpu()


DEVICES = (
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
)
"""The devices that a test of the numbers runs on."""
