"""The fast path computes what transformers does, on the same weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.backends.llama_cpu.backend import LlamaCpuBackend
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.scoring.score import score_rows
from lmtui.engine.token_tree import Tree
from lmtui.engine.windows import Windows
from lmtui.errors import Cancelled
from lmtui.models.llama.weights import unsupported_reason
from tests.engine.backends.llama_cpu import lean
from tests.engine.growing import grown, ids_of

IDS = [3 + (7 * i * i + i) % 290 for i in range(400)]
PATHS = [[7], [7, 8], [9, 8, 7], [7, 9]]


def close(ours: torch.Tensor, reference: torch.Tensor) -> None:
    torch.testing.assert_close(ours.double(), reference, atol=2e-4, rtol=0)


MODELS = [
    *(("llama", dtype) for dtype in lean.UNROUNDED),
    *((kind, torch.float32) for kind in lean.KINDS if kind != "llama"),
]
"""Each shape, and each format of weights."""


@pytest.fixture(params=MODELS, ids=str)
def model(request: pytest.FixtureRequest) -> tuple[str, torch.dtype]:
    found: tuple[str, torch.dtype] = request.param
    return found


@pytest.fixture
def kind(model: tuple[str, torch.dtype]) -> str:
    return model[0]


@pytest.fixture
def forward(model: tuple[str, torch.dtype]) -> LlamaCpuBackend:
    return lean.unrounded(*model)


@pytest.mark.parametrize("kind", lean.KINDS)
def test_unsupported_reason_is_none_for_every_kind(kind: str) -> None:
    assert unsupported_reason(lean.model(kind).config.to_dict()) is None


def test_score_equals_naive_logprobs(kind: str, forward: LlamaCpuBackend) -> None:
    rows = list(score_rows(forward, IDS, prefix=(), windows=Windows(500, 250)))
    ours = torch.tensor([row.logprob for row in rows[1:]])
    close(ours, lean.naive(kind, IDS)[range(399), IDS[1:]])
    blocks = list(forward.all_logits(IDS[:50], skip=7))
    close(torch.cat(blocks).double().log_softmax(-1), lean.naive(kind, IDS[:50])[7:])
    assert list(forward.all_logits(IDS[:50], skip=50)) == []


def test_decode_steps_after_a_long_text_equal_naive_logprobs(
    kind: str, forward: LlamaCpuBackend
) -> None:
    ids = [3 + (5 * i * i + i) % 290 for i in range(1030)]
    cache = PrefixCache(forward)
    cache.read(ids[:1020])
    steps = [cache.extend([token])[0].double().log_softmax(-1) for token in ids[1020:]]
    close(torch.stack(steps), lean.naive(kind, ids)[1020:])


@pytest.mark.parametrize(("before", "count"), [(1, 8), (40, 2), (40, 8), (399, 4)])
@pytest.mark.parametrize("kind", lean.KINDS)
def test_few_tokens_together_give_the_logits_of_one_by_one(
    kind: str, before: int, count: int
) -> None:
    forward = lean.blocks(kind)
    ids = [3 + (5 * i * i + i) % 290 for i in range(before + count)]
    one, other = PrefixCache(forward), PrefixCache(forward)
    one.read(ids[:before])
    other.read(ids[:before])
    single = torch.cat([one.extend([token]) for token in ids[before:]])
    assert torch.equal(other.extend(ids[before:]), single)


def contexts() -> st.SearchStrategy[list[list[int]]]:
    """A few contexts one after the other, that often begin alike."""
    some = st.lists(st.integers(3, 6), min_size=1, max_size=60)
    longer = st.tuples(some, st.integers(0, 300)).map(lambda x: IDS[: x[1]] + x[0])
    return st.lists(longer, min_size=1, max_size=4)


@given(model=st.sampled_from(MODELS), history=contexts(), chunk=st.integers(1, 70))
def test_prefix_cache_reuse_keeps_the_logits(
    model: tuple[str, torch.dtype], history: list[list[int]], chunk: int
) -> None:
    kind = model[0]
    with pytest.MonkeyPatch.context() as patch:
        forward = lean.unrounded(*model)
        patch.setattr(forward, "prefill_chunk", chunk)
        cache = PrefixCache(forward)
        for ids in history:
            cache.read(ids)
            assert cache.ids == ids
            assert cache.logits is not None
            close(cache.logits.double().log_softmax(-1), lean.naive(kind, ids)[-1])
        more = cache.extend([7, 8, 9]).double().log_softmax(-1)
        close(more, lean.naive(kind, [*history[-1], 7, 8, 9])[-3:])


def test_paths_side_by_side_equal_each_alone(
    kind: str, forward: LlamaCpuBackend
) -> None:
    cache = PrefixCache(forward)
    cache.read(IDS)
    for held in {cache.rollback_len(count) for count in (1, 40, 300, 400)} - {0}:
        single = [lean.naive(kind, [*IDS[:held], *path])[-1] for path in PATHS]
        states = forward.hidden_states_after(PATHS, cache.fork(len(PATHS), held))
        close(forward.head(states).double().log_softmax(-1), torch.stack(single))
        if not forward.reads_trees:
            continue
        tree = Tree.of(PATHS)
        states = forward.hidden_states_tree(tree, cache.fork(1, held))
        close(
            forward.head(states[tree.places]).double().log_softmax(-1),
            torch.stack(single),
        )
    assert cache.ids == IDS
    close(cache.extend([5]).double().log_softmax(-1), lean.naive(kind, [*IDS, 5])[-1:])


def test_rows_of_a_batch_equal_naive_logprobs(
    kind: str, forward: LlamaCpuBackend
) -> None:
    cache = PrefixCache(forward)
    cache.read(IDS[:90])
    begins = [[5], [6], [7, 8], [9]]
    for begin, steps in zip(begins, grown(cache, IDS[:90], begins, 40), strict=True):
        ids = ids_of(steps)
        assert ids[: len(begin)] == begin
        assert len(ids) == len(begin) + 40
        logprobs = lean.naive(kind, [*IDS[:90], *ids])[89:-1]
        for row, step in zip(logprobs, steps, strict=True):
            assert step.logprob == pytest.approx(float(row[step.id]), abs=2e-4)
    assert cache.ids == IDS[:90]


def test_selected_rows_of_a_fork_equal_naive_logprobs() -> None:
    forward = lean.unrounded("llama", torch.float32)
    held = forward.new_cache()
    forward.hidden_states(IDS[:20], held)
    forked = held.fork(3)
    forward.next_logits([4, 5, 6], forked)
    forked.select_rows([0, 2])
    found = forward.next_logits([8, 9], forked).double().log_softmax(-1)
    expected = [
        lean.naive("llama", [*IDS[:20], *more])[-1] for more in ([4, 8], [6, 9])
    ]
    close(found, torch.stack(expected))
    assert (held.length, forked.length) == (20, 22)
    with pytest.raises(ValueError, match="forked"):
        forked.fork(2)
    with pytest.raises(ValueError, match="continue"):
        forked.crop(19)


@pytest.mark.parametrize("asked", range(6))
@pytest.mark.parametrize("kind", ["llama", "qwen3_5_text"])
def test_a_pass_can_be_stopped_between_two_layers(kind: str, asked: int) -> None:
    forward = lean.unrounded(kind, torch.float32)
    cache = PrefixCache(forward)
    cache.read(IDS[:30])
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > asked

    if asked <= forward.decoder.shape.layers:  # once before the part, and each layer
        with pytest.raises(Cancelled), cancelled_when(stop):
            cache.read(IDS[:50])
        assert (calls, cache.ids) == (asked + 1, IDS[:30])
    assert cache.read(IDS[:50]) == 30
    assert cache.logits is not None
    close(cache.logits.double().log_softmax(-1), lean.naive(kind, IDS[:50])[-1])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model_type": "gpt2"}, "not shaped like Llama"),
        ({"layer_types": ["chunked_attention"]}, "look back"),
        ({"use_bidirectional_attention": True}, "layers lack"),
        ({"attn_logit_softcapping": 50.0}, "layers lack"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "unusual"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "unusual"),
        ({"hidden_act": "gelu"}, "layers lack"),
        ({"mlp_bias": True}, "layers lack"),
        ({"hidden_size": 48}, "multiples"),
        ({"intermediate_size": 100}, "multiples"),
    ],
)
def test_unsupported_reason_names_what_the_backend_lacks(
    changes: dict[str, object], why: str
) -> None:
    config = lean.model("mistral").config.to_dict() | changes
    assert why in str(unsupported_reason(config))


def test_unsupported_reason_names_a_scaled_rope_of_a_part_of_each_head() -> None:
    config = lean.model("qwen3_5_text").config.to_dict()
    config["rope_parameters"] |= {"rope_type": "linear", "factor": 4.0}
    assert unsupported_reason(config) is None
    config["rope_parameters"] |= lean.YARN
    assert "unusual" in str(unsupported_reason(config))
