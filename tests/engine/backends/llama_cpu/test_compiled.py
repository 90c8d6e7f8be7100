"""Compiled kernels: the same numbers as single operations, in any split of a text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lmtui.engine.backends.llama_cpu import attention
from lmtui.engine.backends.llama_cpu.backend import LlamaCpuBackend
from lmtui.engine.backends.llama_cpu.fused_block import FusedLayer
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.kernels import build, compiler
from lmtui.kernels.gguf_matmul import GgufMatmulKernel
from lmtui.models.llama.linear import BlockLinear
from lmtui.models.llama.weights import LlamaWeights
from tests.engine.backends.llama_cpu import lean

pytestmark = [
    pytest.mark.skipif(
        compiler.compiler_id() is None, reason="there is no C++ compiler"
    ),
    pytest.mark.usefixtures("shared_home"),
]
IDS = [3 + (7 * i * i + i) % 290 for i in range(90)]


def with_adapter(weights: LlamaWeights) -> LlamaWeights:
    """With something added to the products of two matrices of each layer."""

    def added(matrix: BlockLinear) -> BlockLinear:
        first = torch.randn(4, matrix.columns) / 30
        second = torch.randn(matrix.rows, 4) / 30
        return matrix.with_lora(first, second)

    layers = tuple(
        replace(layer, qkv=added(layer.qkv), down=added(layer.down))
        for layer in weights.layers
    )
    return replace(weights, layers=layers)


def with_attention(weights: LlamaWeights) -> LlamaWeights:
    """With a library that was compiled for these heads."""
    kernel = GgufMatmulKernel(build.library_for(weights.shape.head_dims))

    names = "qkv", "o_proj", "gate_up", "down", "input_gate", "input_proj"
    layers = []
    for layer in weights.layers:
        matrices = {name: getattr(layer, name) for name in names}
        changed = {
            name: replace(matrix, kernel=kernel)
            for name, matrix in matrices.items()
            if matrix is not None
        }
        layers.append(replace(layer, **changed))
    return replace(weights, layers=tuple(layers))


def following(backend: LlamaCpuBackend, step: int = 1) -> torch.Tensor:
    """Logprobs after each of the last tokens of a text, read some at a time. [n, V]"""
    cache = PrefixCache(backend)
    cache.read(IDS[:60])
    parts = [IDS[at : at + step] for at in range(60, len(IDS), step)]
    return torch.cat([cache.extend(part) for part in parts]).double().log_softmax(-1)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean KL divergence in nats."""
    return float((one.exp() * (one - other)).sum(-1).mean())


@pytest.mark.parametrize(
    ("kind", "adapter"), [("llama", True), *((kind, False) for kind in lean.KINDS)]
)
def test_fused_block_gives_the_logits_of_single_operations(
    kind: str, adapter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = lean.blocks(kind, "Q4_1").decoder.weights
    if adapter:
        weights = with_adapter(weights)
    backend = LlamaCpuBackend(weights)
    assert all(layer.takes(1) for layer in backend.decoder._fused)
    found = following(backend)
    for step in (2, 3, 5):
        assert torch.equal(following(backend, step), found)
    monkeypatch.setattr(FusedLayer, "takes", lambda layer, tokens: False)
    single = following(backend)
    assert not torch.equal(single, found)
    first = weights.layers[0].qkv  # of the first 60 tokens, as of others
    rounds = first.rounds and first.few < 60
    assert abs(apart(single, found)) < (1e-4 if rounds else 1e-5)


@pytest.mark.parametrize("kind", lean.KINDS)
def test_fused_block_of_many_tokens_gives_the_logits_of_single_operations(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = lean.gguf_kernel()
    if kernel._gemm is None:
        pytest.skip("this processor has no products of many inputs")
    monkeypatch.setattr(kernel, "has_gemm", True)  # also beside AMX
    weights = lean.blocks(kind, "Q8_0").decoder.weights
    backend = LlamaCpuBackend(weights)
    rounds = weights.layers[0].qkv.rounds
    monkeypatch.setattr(kernel, "gemm_rounds", rounds)
    assert all(layer.takes(len(IDS)) for layer in backend.decoder._fused)
    found = backend.logits(IDS, keep=len(IDS)).double().log_softmax(-1)
    monkeypatch.setattr(FusedLayer, "takes", lambda layer, tokens: False)
    single = backend.logits(IDS, keep=len(IDS)).double().log_softmax(-1)
    assert abs(apart(single, found)) < (1e-3 if rounds else 1e-5)


@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3_text"])
def test_fused_block_turns_every_row_by_its_own_position(
    kind: str, attends: bool
) -> None:
    weights = lean.blocks(kind, "Q8_0").decoder.weights
    backend = LlamaCpuBackend(with_attention(weights) if attends else weights)
    held = backend.new_cache()
    backend.hidden_states(IDS[:60], held)
    rows, paths = held.fork(3), [[4, 8], [5, 9], [6, 7]]
    backend.next_logits([path[0] for path in paths], rows)
    together = backend.next_logits([path[1] for path in paths], rows)
    for found, path in zip(together.double().log_softmax(-1), paths, strict=True):
        one = backend.new_cache()
        for part in (IDS[:60], path[:1]):
            backend.hidden_states(part, one)
        alone = backend.logits(path[1:], one).double().log_softmax(-1)
        assert abs(apart(alone, found[None])) < 1e-5


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *(("llama", torch.bfloat16), ("qwen3", torch.float16)),
        ("gemma3_text", torch.float16),
    ],
)
def test_weights_of_16_bits_give_the_same_logits_in_any_split(
    kind: str, dtype: torch.dtype, attends: bool, adapter: bool
) -> None:
    weights = lean.unrounded(kind, dtype).decoder.weights
    if adapter:
        weights = with_adapter(weights)
    if attends:
        weights = with_attention(weights)
    backend = LlamaCpuBackend(weights)
    assert (backend.decoder.attention is not None) == attends
    found = following(backend)
    for step in (2, 3, 5, 7):
        assert torch.equal(following(backend, step), found)
    if not adapter:
        assert abs(apart(lean.naive(kind, IDS)[60:], found)) < 2e-4


def test_wrong_attention_is_removed_and_not_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = with_attention(lean.unrounded("llama", torch.bfloat16).decoder.weights)
    library = weights.layers[0].qkv.kernel.file
    monkeypatch.setattr(attention, "_NEAR", 0.0)
    backend = LlamaCpuBackend(weights)
    assert backend.decoder.attention is None
    assert not library.parent.exists()
    assert abs(apart(lean.naive("llama", IDS)[60:], following(backend))) < 2e-4
