"""Small random models of the shapes that the fast path runs, twice.

`plain` has the same code run on the very weights of the model, in float32, so that
what is left is rounding; `packed` has real packed weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from lmtui.engine.fast import step
from lmtui.engine.fast.forward import LeanForward
from lmtui.models import lean
from lmtui.models.lean_names import Naming
from lmtui.models.packing import Groups, quantise

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
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama tied": {"tie_word_embeddings": True, "num_key_value_heads": 4},
    "llama 3": {"rope_parameters": LLAMA3},
    "llama with one key": {"num_key_value_heads": 1, "head_dim": 32},
    "mistral": {"sliding_window": None, "head_dim": 16},
    "qwen2": {},
    "qwen3": {"head_dim": 32, "rms_norm_eps": 1e-3},
}


@cache
def model(kind: str) -> Any:
    """The model as transformers runs it."""
    torch.manual_seed(sum(map(ord, kind)))
    config = AutoConfig.for_model(kind.split()[0], **(SIZE | KINDS[kind]))
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, weights in made.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(weights, 1.0, 0.2)
    return made


@torch.inference_mode()
def naive(kind: str, ids: list[int]) -> Tensor:
    """float32 logprobs after every one of `ids`. [n, V]"""
    logits: Tensor = model(kind)(torch.tensor([ids])).logits[0]
    return logits.log_softmax(-1)


@dataclass
class Weights:
    """Where the weights come from: the model itself."""

    tensors: dict[str, Tensor]
    bits: int

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def floats(self, name: str) -> Tensor:
        return self.tensors[name].float()

    def groups(self, name: str) -> Groups:
        return quantise(self.floats(name), self.bits)


@dataclass
class Whole:
    """In place of `Groups`, `Packed` and `HalfMatrix`: a matrix that is not rounded."""

    weights: Tensor
    bits: int = 8
    beside: None = None

    @property
    def q(self) -> Tensor:
        return self.weights

    def rounded(self, bits: int) -> Whole:
        return self

    def rows(self, order: Tensor) -> Whole:
        return Whole(self.weights[order])

    def times(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weights.float())


class WholeWeights(Weights):
    """The model's weights, unrounded."""

    def groups(self, name: str) -> Any:
        return Whole(self.floats(name))


def read(kind: str, source: lean.Source, *, bits: int, dense: bool = False) -> Any:
    """The weights of a model in the layout of the fast path."""
    config = model(kind).config
    reading = lean.Reading(
        source,
        Naming.library(),
        config.vocab_size,
        lean.frequencies_of(config),
        bits,
        dense,
        on_layer=lambda index: None,
    )
    return lean.read_weights(lean.shape_of(config.to_dict()), reading)


def _tensors(kind: str) -> dict[str, Tensor]:
    tensors = {name: t.detach() for name, t in model(kind).state_dict().items()}
    if model(kind).config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    return tensors


@cache
def packed(kind: str, bits: int = 8, *, dense: bool = False) -> LeanForward:
    """The model with packed weights."""
    source = Weights(_tensors(kind), bits)
    return LeanForward(read(kind, source, bits=bits, dense=dense))


@cache
def plain(kind: str) -> LeanForward:
    """The model with its own weights, in float32; under `unrounded`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lean, "stacked", _stacked)
        patch.setattr(lean, "Packed", _Whole)
        patch.setattr(lean, "HalfMatrix", Whole)
        forward = LeanForward(read(kind, WholeWeights(_tensors(kind), 8), bits=8))
    tensors = _tensors(kind)
    embedding = tensors["model.embed_tokens.weight"]
    weights = replace(forward._steps._weights, embedding=embedding)
    forward._steps._weights = weights
    head = Whole(tensors.get("lm_head.weight", embedding))
    forward._head = head  # type: ignore[assignment]
    return forward


class _Whole:
    @staticmethod
    def of(groups: Whole, *, dense: bool) -> Whole:
        return groups


def _stacked(parts: tuple[Whole, ...]) -> Whole:
    return Whole(torch.cat([part.weights for part in parts]))


def unrounded(patch: pytest.MonkeyPatch) -> None:
    """Let what is multiplied stay float32."""
    patch.setattr(step, "_HALF", torch.float32)
