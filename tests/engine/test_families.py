"""Architectures whose head, positions or state are unlike the usual ones.

The same three facts for each: a score is the naive one, a reused cache changes
nothing, and a text read anew is as good as one read on.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.scoring.score import score_rows
from lmtui.engine.token_tree import Tree
from lmtui.engine.windows import Windows
from tests.engine.test_prefix_cache import assert_follows

SIZE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},  # calls inner layers itself
    "gemma2": {"sliding_window": 16, "head_dim": 8},  # caps its logits
    "granite": {"logits_scaling": 3.0},  # scales its logits
    "bloom": {},  # positions in the attention
    "mistral": {"sliding_window": 16, "head_dim": 8},
    "mixtral": {"num_local_experts": 4},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},  # convolutions between
    "qwen3_5_text": {  # a recurrent state of every other layer
        "head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "initializer_range": 0.1,  # else it amplifies the order of sums
        "layer_types": ["linear_attention", "full_attention"] * 2,
    },
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"] * 2,
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "mamba_d_state": 8,
        "shared_intermediate_size": 64,
        "num_local_experts": 0,
        "num_experts_per_tok": 0,
    },
    "nemotron_h": {  # has layers without a state as well
        "hybrid_override_pattern": "M*-M",
        "head_dim": 8,
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "n_groups": 2,
        "time_step_min": 1e-9,  # the library's step of one token has no limit
    },
    "zaya": {  # both in one layer, with and without a window
        "layer_types": ["hybrid", "hybrid_sliding"] * 2,
        "sliding_window": 16,
        "head_dim": 8,
    },
    "mamba2": {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 2},
    "mamba": {"state_size": 8},  # can't go on from its state by several tokens
    "rwkv": {},  # keeps its state outside the library's cache
}
IDS = [3 + (7 * i * i + i) % 200 for i in range(60)]


@cache
def model(family: str) -> Any:
    """A tiny random model."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(SIZE | FAMILIES[family]))
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@torch.inference_mode()
def naive(family: str, ids: list[int]) -> torch.Tensor:
    """Logprobs after every one of `ids`, softmax in float64. [n, V]"""
    logprobs: torch.Tensor = (
        model(family)(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    )
    return logprobs


def close(ours: torch.Tensor, reference: torch.Tensor) -> None:
    torch.testing.assert_close(ours.double(), reference, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_score_equals_naive_logprobs(family: str) -> None:
    forward = TransformersBackend(model(family))
    forward.block_rows = 16
    rows = list(score_rows(forward, IDS, prefix=(), windows=Windows(100, 50)))
    ours = torch.tensor([row.logprob for row in rows[1:]])
    expected = naive(family, IDS)[:-1]
    close(ours, expected[range(59), IDS[1:]])
    away = expected - (expected.exp() * expected).sum(-1, keepdim=True)
    varentropies = torch.tensor([row.varentropy for row in rows[1:]])
    close(varentropies, (expected.exp() * away.square()).sum(-1))


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_cache_reuse_keeps_the_logits(family: str) -> None:
    forward = TransformersBackend(model(family))
    forward.prefill_chunk = 24
    cache = PrefixCache(forward)
    changed = [*IDS[:10], 299, *IDS[11:30]]
    for ids in (IDS[:30], IDS, [*IDS, 5], IDS[:40], changed, changed, IDS):
        reused = cache.read(ids)
        assert 0 <= reused <= len(ids)
        assert cache.ids == ids
        assert_follows(cache, naive(family, ids)[-1])
    cache.extend([7])
    assert_follows(cache, naive(family, [*IDS, 7])[-1])


def test_prefix_cache_reuses_what_the_family_allows() -> None:
    def reused(family: str, ids: list[int]) -> int:
        cache = PrefixCache(TransformersBackend(model(family)))
        cache.read(IDS[:30])
        return cache.read(ids)

    edited = [*IDS[:10], 299]
    assert [reused(f, IDS) for f in ("opt", "lfm2", "mamba", "rwkv")] == [30, 30, 0, 0]
    assert [reused(f, edited) for f in ("opt", "lfm2", "mamba")] == [10, 0, 0]
    assert [reused(f, IDS[:30]) for f in ("opt", "lfm2", "mamba")] == [30] * 3


def test_model_without_a_known_decoder_is_scored() -> None:
    forward = TransformersBackend(model("mistral"))
    forward._decoder, forward.block_rows = None, 16
    blocks = torch.cat(list(forward.all_logits(IDS, skip=3)))
    close(blocks.double().log_softmax(-1), naive("mistral", IDS)[3:])
    states = forward.hidden_states(IDS, keep=2)
    close(forward.head(states).double().log_softmax(-1), naive("mistral", IDS)[-2:])


def test_decoder_that_is_never_called_is_noticed() -> None:
    forward = TransformersBackend(model("opt"))
    forward._decoder = model("opt").model  # what the head does not call
    forward.block_rows = 16
    blocks = torch.cat(list(forward.all_logits(IDS)))
    close(blocks.double().log_softmax(-1), naive("opt", IDS))
    assert forward._layers_output_type is None


@pytest.mark.parametrize("family", FAMILIES)
def test_head_of_hidden_states_gives_the_logits(family: str) -> None:
    forward = TransformersBackend(model(family))
    forward.prefill_chunk = 24
    cache = PrefixCache(forward)
    for ids in (IDS, IDS[:40], [*IDS[:30], 5]):
        parts = list(cache.hidden_states(ids, len(ids) - 4))
        made = torch.cat([forward.head(states) for _, states in parts])
        assert parts[0][0] <= len(ids) - 4
        close(made.double().log_softmax(-1), naive(family, ids)[parts[0][0] :])


TREES = {"opt", "granite", "mixtral"}
PATHS = [[7], [7, 8], [9, 8, 7], [7, 9]]


@pytest.mark.parametrize("family", FAMILIES)
def test_paths_side_by_side_equal_each_alone(family: str) -> None:
    forward = TransformersBackend(model(family))
    cache = PrefixCache(forward)
    cache.read(IDS[:50])  # where a recurrent model has a checkpoint then
    cache.read(IDS)
    assert forward.reads_trees == (family in TREES)
    if cache.fork(1) is None:
        return
    single = torch.stack([naive(family, [*IDS[:50], *path])[-1] for path in PATHS])
    states = forward.hidden_states_after(PATHS, cache.fork(len(PATHS), 50))
    close(forward.head(states).double().log_softmax(-1), single)
    if forward.reads_trees:
        tree = Tree.of(PATHS)
        states = forward.hidden_states_tree(tree, cache.fork(1, 50))[tree.places]
        close(forward.head(states).double().log_softmax(-1), single)
