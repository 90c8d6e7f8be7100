"""Models with a recurrent state go back to a copy of it, and run what lies behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from lmtui.cancellation import Condition, cancelled_when
from lmtui.engine import prefix_cache
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.engine import LocalEngine
from lmtui.engine.generation.generate import generate
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.types import GenerationResult
from lmtui.errors import Cancelled
from tests.engine import tiny
from tests.engine.document.test_scorer import TEXT
from tests.engine.growing import answer
from tests.engine.test_families import FAMILIES, IDS, SIZE, model, naive
from tests.engine.test_prefix_cache import assert_follows, contexts, counted
from tests.engine.text.test_known_answers import CHATML
from tests.examples import examples

RECURRENT = ("qwen3_5_text", "lfm2", "granitemoehybrid", "nemotron_h")
LONG = [3 + (11 * i * i + i) % 200 for i in range(200)]


def opened(family: str, *, part: int = 16) -> PrefixCache:
    """A cache that runs prompts in small parts."""
    forward = TransformersBackend(model(family))
    forward.prefill_chunk = part
    return PrefixCache(forward)


def run(cache: PrefixCache, ids: list[int]) -> list[int]:
    """Read `ids`; the lengths of the passes that it took."""
    with counted(cache.backend.model) as lengths:  # type: ignore[attr-defined]
        cache.read(ids)
    return lengths


def after(patience: int) -> Condition:
    """A condition that is true once it was asked so often."""
    asked = count()
    return lambda: next(asked) >= patience


@pytest.mark.parametrize("family", [*RECURRENT, "zaya"])
@given(
    history=contexts(),
    ways=st.lists(st.sampled_from(["read", "states", "extend", "stop"]), min_size=6),
)
@settings(deadline=None, max_examples=examples(5, 100))
def test_any_history_gives_the_logits_of_a_fresh_read(
    family: str, history: list[list[int]], ways: list[str]
) -> None:
    cache = opened(family, part=8)
    for ids, way in zip(history, ways, strict=False):
        if way == "read":
            cache.read(ids)
        elif way == "states":
            list(cache.hidden_states(ids, len(ids) // 2))
        elif way == "extend":
            cache.read(ids[: max(1, len(ids) - 3)])
            for token in ids[max(1, len(ids) - 3) :]:
                cache.extend([token])
        else:
            with suppress(Cancelled), cancelled_when(after(len(ids) % 7)):
                cache.read(ids)
            assert cache.ids == ids[: len(cache.ids)]
            cache.read(ids)
        assert cache.ids == ids
        assert_follows(cache, naive(family, ids)[-1], atol=4e-4)


@pytest.mark.parametrize("family", RECURRENT)
def test_text_that_changes_at_its_end_runs_its_end(family: str) -> None:
    cache = opened(family)
    cache.read(LONG)
    assert sum(run(cache, [*LONG[:190], 7, 8])) <= 16 + 2
    for token in range(20, 40):
        assert run(cache, [*LONG[:190], 7, token]) in ([1], [1, 1])
        assert_follows(cache, naive(family, cache.ids)[-1])
    assert run(cache, LONG[:190]) == []
    assert_follows(cache, naive(family, LONG[:190])[-1])


@pytest.mark.parametrize("family", RECURRENT)
def test_answer_made_again_reads_no_prompt_token(family: str) -> None:
    cache = opened(family)
    texts = []
    for _ in range(2):
        with counted(cache.backend.model) as lengths:  # type: ignore[attr-defined]
            *_, end = generate(cache, answer([], 12), IDS)
        assert isinstance(end, GenerationResult)
        texts.append(cache.ids[len(IDS) :])
    assert texts[0] == texts[1]
    assert lengths == [1] * 11
    assert end.reused_tokens == len(IDS)


@pytest.mark.parametrize("family", RECURRENT)
def test_stopped_answer_keeps_its_tokens(family: str) -> None:
    cache = opened(family)
    cache.read(IDS)
    with cancelled_when(after(20)):
        for _ in generate(cache, answer([], 40), IDS):
            pass
    kept = len(cache.ids)
    assert kept > len(IDS)
    assert sum(run(cache, [*cache.ids, 5])) == 1
    assert_follows(cache, naive(family, cache.ids)[-1])


@pytest.mark.parametrize("family", RECURRENT)
@pytest.mark.parametrize("patience", [1, 3, 6])
def test_stopped_read_goes_on_from_the_last_checkpoint(
    family: str, patience: int
) -> None:
    cache = opened(family)
    cache.read(LONG[:96])
    with pytest.raises(Cancelled), cancelled_when(after(patience)):
        cache.read(LONG)
    assert len(cache.ids) >= 96
    assert sum(run(cache, LONG)) <= 104
    assert_follows(cache, naive(family, LONG)[-1])


@given(places=st.lists(st.integers(1, 190), max_size=14), room=st.integers(0, 12))
@settings(deadline=None, max_examples=examples(5, 50))
def test_checkpoints_stay_within_number_and_bytes(places: list[int], room: int) -> None:
    cache = opened("lfm2")
    cache.read(LONG[:1])
    size = cache._cache.fork(1, 0).row_bytes
    assert size == sum(
        layer.conv_states[0].nbytes
        for layer in cache._cache.cache.layers[::2]  # type: ignore[attr-defined]
    )
    cache.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_cache, "_CHECKPOINT_BYTES", room * size)
        for place in places:
            cache.read([*LONG[:place], 7, 8])
            kept = list(cache._checkpoints)
            assert len(kept) == min(len(kept), room, prefix_cache._CHECKPOINTS)
            assert kept == sorted(kept)
            assert not kept or kept[-1] == len(cache.ids)
        if places:
            assert_follows(cache, naive("lfm2", cache.ids)[-1])


def test_checkpoints_are_denser_near_the_end() -> None:
    cache = opened("lfm2", part=4)
    cache.read(LONG)
    for token in range(3, 20):
        cache.read([*LONG, *range(3, token)])
    end = len(cache.ids)
    for place in range(end):
        assert place - cache.rollback_len(place) <= 2 * (end - place + 1)


@pytest.mark.parametrize("family", RECURRENT)
def test_fork_at_a_checkpoint_leaves_the_text_behind_it(family: str) -> None:
    cache = opened(family)
    cache.read(IDS[:20])
    cache.read(IDS)
    paths = [[7], [8, 9]]
    with torch.inference_mode():
        states = cache.backend.hidden_states_after(paths, cache.fork(2, 20))
    made = cache.backend.head(states).double().log_softmax(-1)
    alone = torch.stack([naive(family, [*IDS[:20], *path])[-1] for path in paths])
    torch.testing.assert_close(made, alone, atol=1e-4, rtol=0)
    cache.extend([5])
    assert_follows(cache, naive(family, [*IDS, 5])[-1])


@contextmanager
def tokens_run(opened: LocalEngine) -> Iterator[list[int]]:
    """The tokens of each pass through the layers of an engine's model, in a row."""
    lengths: list[int] = []
    first = opened.loaded.model.model.layers[0]
    hook = first.register_forward_pre_hook(
        lambda _, inputs: lengths.append(inputs[0].shape[1])
    )
    try:
        yield lengths
    finally:
        hook.remove()


def engine(family: str = "qwen3_5_text") -> LocalEngine:
    """An engine around a tiny model with a recurrent state, which does not think."""
    tokenizer = copy(tiny.tokenizer())
    tokenizer.chat_template = CHATML
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 1024}
    torch.manual_seed(0)
    with torch.inference_mode(False):
        config = AutoConfig.for_model(family, **(SIZE | FAMILIES[family] | size))
        made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    return LocalEngine(replace(tiny.loaded(), model=made, tokenizer=tokenizer))


@pytest.mark.parametrize("family", ["qwen3_5_text", "lfm2"])
def test_key_in_a_half_typed_word_runs_the_word(family: str) -> None:
    opened = engine(family)
    text = TEXT * 9
    assert len(opened.encode(text).ids) > 140
    for end in range(len(text) - 20, len(text) - 12):
        opened.document.predict_at(text[:end], end)
    for end in range(len(text) - 12, len(text) + 1):
        with tokens_run(opened) as lengths:
            shown = opened.document.predict_at(text[:end], end)
        assert sum(lengths) <= 24, lengths
        assert shown.distribution is not None
