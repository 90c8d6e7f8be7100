"""All but the model on any device: the same numbers, one small copy a token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from lmtui.engine.backend import Reuse
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.engine import LocalEngine
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.types import ChatTurn, Prompt, SamplingSettings, Step
from lmtui.errors import LmtuiError
from lmtui.worker.generation import run_continuations
from tests.engine import tiny
from tests.engine.far import Far, FarForward, watched

TEXT = "the cat sat on the mat and the dog sat on the log"
SETTINGS = (
    SamplingSettings(seed=1, max_tokens=12),
    SamplingSettings(seed=1, max_tokens=12, temperature=0),
    SamplingSettings(seed=1, max_tokens=12, top_k=0, top_p=0.3, temperature=0.7),
    SamplingSettings(seed=1, max_tokens=12, repetition_penalty=1.3),
)


def far_engine(monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    """An engine whose model is on the device."""
    monkeypatch.setattr(
        "lmtui.engine.engine.backend_of", lambda loaded, **_: FarForward(loaded.model)
    )
    monkeypatch.setattr(FarForward, "extra_token_costs", ())
    return tiny.engine("llama")


def steps(engine: LocalEngine, settings: SamplingSettings) -> list[Step]:
    """What a generation gives."""
    prompt = Prompt(engine.encode(TEXT).ids, TEXT)
    made = engine.generate(prompt, settings)
    return [_unnamed(step) for step in made if isinstance(step, Step)]


def _unnamed(step: Any) -> Any:
    unnamed = replace(step.distribution, handle=0)
    return replace(step, distribution=unnamed, guessed=False)


@pytest.mark.parametrize("settings", SETTINGS)
def test_generation_on_a_device_copies_once_per_token(
    settings: SamplingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = steps(tiny.engine("llama"), settings)
    engine = far_engine(monkeypatch)
    with watched() as device:
        far = steps(engine, settings)
    assert far == near
    if settings.repetition_penalty == 1:
        assert device.waits == ["a copy"] * len(near)
    else:  # where the penalty has moved a token far, its rank is asked for
        assert len(near) <= len(device.waits) <= 2 * len(near)


def verbs(engine: LocalEngine) -> list[Any]:
    """What is asked of an engine besides."""
    plain = SamplingSettings(top_k=5)
    ids = list(engine.encode(TEXT).ids)
    shown = engine.next_distribution(ids, plain)
    rules = SuggestionRules(seconds=None, min_prob=None)
    return [
        shown.candidates,
        engine.preview(shown.handle, SamplingSettings(), start=5, count=300).candidates,
        engine.search_vocabulary(shown.handle, "a", plain),
        run_continuations(engine, ids, [5, 6, 7], 6),
        list(engine.score(ids, top_n=3)),
        engine.score_draft([ChatTurn("user", "the")], "dog", plain).tokens,
        engine.document.predict_at(TEXT, len(TEXT) - 2).unexplored,
        [stretch.tokens for stretch in engine.document.score_span(TEXT, 0, len(TEXT))],
        engine.document.alternatives(TEXT, len(TEXT), rules),
        list(engine.document.replacements(TEXT, 4, 7))[-1],
    ]


def test_every_verb_gives_the_same_numbers_on_a_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The device is not asked whether it reads trees, since that probe is not watched.
    monkeypatch.setattr(TransformersBackend, "reads_trees", False)
    near = verbs(tiny.engine("llama"))
    near[6] = pytest.approx(near[6], rel=1e-4)  # what is left of 1 is all rounding
    engine = far_engine(monkeypatch)
    with watched():
        assert verbs(engine) == near


def test_a_text_is_scored_by_few_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = far_engine(monkeypatch)
    ids = list(engine.encode(TEXT * 4).ids)
    with watched() as device:
        list(engine.score(ids, top_n=3))
    assert len(device.waits) < len(ids) / 8


def test_nan_logits_on_a_device_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = far_engine(monkeypatch)
    forward = engine.backend
    bad = torch.full((1, 400), torch.nan)
    monkeypatch.setattr(forward, "logits", lambda *_, **__: Far(bad.clone()))
    cache = engine.cache = PrefixCache(forward)
    cache._reuse = Reuse.NOTHING
    with watched(), pytest.raises(LmtuiError, match="not a distribution"):
        engine.next_distribution([1, 2], SamplingSettings())
