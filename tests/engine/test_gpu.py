"""Every verb of the engine on a GPU: the CPU's numbers, and one wait a token."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
import torch

from lmtui.engine.backend import Reuse
from lmtui.engine.backends.cuda_graph import CudaGraphBackend
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.engine import LocalEngine
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.models import hardware
from lmtui.models.load import load
from lmtui.models.run_plan import plan_for
from lmtui.worker.generation import run_continuations
from tests.engine import gpu, tiny
from tests.engine.gpu import watched
from tests.models import tiny as models

TEXT = "the cat sat on the mat and the dog"
DRAWN = SamplingSettings(seed=1, max_tokens=12)
SETTINGS = (
    DRAWN,
    replace(DRAWN, temperature=0),
    replace(DRAWN, top_k=0, top_p=0.3),
    replace(DRAWN, top_n_sigma=1.0, xtc_probability=0.5, xtc_threshold=0.05),
    replace(DRAWN, dry_multiplier=0.8, banned_phrases=("the",)),
    replace(DRAWN, grammar="root ::= [a-z ]*"),
    replace(DRAWN, repetition_penalty=1.3),
)


def generated(
    engine: LocalEngine, settings: SamplingSettings
) -> Iterator[Step | GenerationResult]:
    return engine.generate(Prompt(engine.encode(TEXT).ids, TEXT), settings)


def steps(engine: LocalEngine, settings: SamplingSettings) -> list[Step]:
    return [step for step in generated(engine, settings) if isinstance(step, Step)]


@pytest.mark.parametrize(
    ("family", "settings"),
    [*product(["llama"], SETTINGS), *product(tiny.FAMILIES[1:], SETTINGS[:1])],
)
def test_the_same_tokens_are_generated_with_one_wait_each(
    family: str, settings: SamplingSettings
) -> None:
    expected = steps(tiny.engine(family), settings)
    with watched() as device:
        engine = gpu.engine(family)
        made = generated(engine, settings)
        begun = list(islice(made, 3))  # a step is recorded by then
        before = len(device.waits)
        found = begun + [step for step in made if isinstance(step, Step)]
        waits = device.waits[before:]
    for one, other in zip(found, expected, strict=True):
        assert (one.id, one.text, one.rank) == (other.id, other.text, other.rank)
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert one.sampled_prob == pytest.approx(other.sampled_prob, abs=1e-4)
        assert one.entropy == pytest.approx(other.entropy, abs=1e-4)
        assert one.varentropy == pytest.approx(other.varentropy, abs=1e-4)
        shown, wanted = one.distribution.candidates, other.distribution.candidates
        assert [row.cut for row in shown] == [row.cut for row in wanted]
    # Where a penalty has moved a token far, its rank is asked for.
    most = 2 if settings.repetition_penalty != 1 else 1
    assert len(waits) <= most * (len(expected) - 3), waits


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_gpus_of_apple_and_intel_give_the_numbers_of_the_cpu(kind: str) -> None:
    def numbers(engine: LocalEngine) -> list[Any]:
        ids = list(engine.encode(TEXT).ids)
        made = [(step.id, step.logprob) for step in steps(engine, DRAWN)]
        return [*made, *((t.rank, t.logprob) for t in engine.score(ids))][:-1]

    expected = numbers(tiny.engine("llama"))
    with watched(kind):
        engine = gpu.engine("llama")
        assert type(engine.backend) is TransformersBackend
        found = numbers(engine)
    for (one, logprob), (other, wanted) in zip(found, expected, strict=True):
        assert one == other
        assert logprob == pytest.approx(wanted, abs=1e-4)


def test_recorded_step_is_replayed_without_the_model() -> None:
    with watched() as device:
        engine = gpu.engine("llama")
        model, passes = engine.backend.model, 0

        def counted(*_: object) -> None:
            nonlocal passes
            passes += 1

        made = generated(engine, DRAWN)
        for _ in range(3):
            next(made)
        model.register_forward_pre_hook(counted)
        before = device.launches
        assert len([*made]) > 5
        assert passes == 0
        assert device.launches - before <= 9 * 16  # and the statistics are, too
        assert engine.backend._records


def verbs(engine: LocalEngine) -> dict[str, Callable[[], Any]]:
    """What is asked of an engine besides, as numbers."""
    plain = SamplingSettings(top_k=5)
    ids = list(engine.encode(TEXT).ids)
    rules = SuggestionRules(seconds=None, min_prob=None)
    document = engine.document

    def next_token() -> Any:
        shown = engine.next_distribution(ids, plain)
        wide = SamplingSettings()
        more = engine.preview(shown.handle, wide, start=5, count=300).candidates
        matches = engine.search_vocabulary(shown.handle, "a", plain)
        return shown.candidates, more, matches

    def drafted() -> Any:
        return engine.score_draft([ChatTurn("user", "the")], "dog", plain).tokens

    return {
        "next": next_token,
        "continuations": lambda: run_continuations(engine, ids, [5, 6, 7], 6),
        "score": lambda: list(engine.score(ids, top_n=3)),
        "words": lambda: list(engine.score([*ids, 0], word_ends=True)),
        "target": lambda: engine.target_logprob(ids[:5], ids[5:8]),
        "windows": lambda: list(engine.score(ids * 2, window=16, stride=8)),
        "draft": drafted,
        "lens": lambda: list(engine.logit_lens(ids, range(3, 8))),
        "prompts": lambda: list(
            engine.score_prompts([ids[:5], ids[:9]], plain, top_n=2)
        ),
        "predict": lambda: document.predict_at(TEXT, len(TEXT) - 2).distribution,
        "span": lambda: [s.tokens for s in document.score_span(TEXT, 0, len(TEXT))],
        "alternatives": lambda: document.alternatives(TEXT, len(TEXT), rules),
        "replacements": lambda: list(document.replacements(TEXT, 4, 7))[-1],
        "proofread": lambda: list(document.proofread(TEXT, 0, len(TEXT))),
        "complete": lambda: list(document.complete(TEXT, len(TEXT), DRAWN)),
    }


NOT_COMPARED = {"handle", "seconds", "prompt_seconds", "first_token_seconds"}
NOT_COMPARED |= {"guessed", "guessed_tokens"}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a result that is a value, by where it is."""
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        for name, part in value.items():
            if name not in NOT_COMPARED:
                yield from leaves(part, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        yield f"{path}.len", len(value)
        for index, part in enumerate(value):
            yield from leaves(part, f"{path}[{index}]")
    elif isinstance(value, torch.Tensor):
        yield from leaves(value.tolist(), path)
    else:
        yield path, value


def numbers(engine: LocalEngine) -> dict[str, Any]:
    """All numbers of all verbs."""
    return dict(leaves({name: run() for name, run in verbs(engine).items()}))


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_every_verb_gives_the_numbers_of_the_cpu(family: str) -> None:
    expected = numbers(tiny.engine(family))
    with watched():
        found = numbers(gpu.engine(family))
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        if isinstance(value, float):
            value = pytest.approx(value, abs=2e-4, rel=2e-4)
        assert found[path] == value, path


def test_every_verb_runs_in_bfloat16() -> None:
    with watched():
        engine = gpu.engine("llama", torch.bfloat16)
        assert numbers(engine)
        assert engine.backend.model.dtype is torch.bfloat16
        assert engine.backend.logits([1, 2]).dtype is torch.float32


def test_a_text_is_scored_by_few_waits() -> None:
    with watched() as device:
        engine = gpu.engine("llama")
        ids = list(engine.encode(TEXT * 4).ids)
        list(engine.score(ids, top_n=3))
    assert len(device.waits) < len(ids) / 8


def test_nan_logits_on_a_gpu_are_an_error() -> None:
    with watched():
        engine = gpu.engine("llama")
        bad = torch.full((1, 400), torch.nan, device="cuda")
        engine.backend.logits = lambda *_, **__: bad.clone()
        cache = engine.cache = PrefixCache(engine.backend)
        cache._reuse = Reuse.NOTHING
        with pytest.raises(LmtuiError, match="not a distribution"):
            engine.next_distribution([1, 2], SamplingSettings())


def test_a_model_is_loaded_onto_the_gpu(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "model"
    copy.deepcopy(tiny.model("llama")).to(torch.bfloat16).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    with watched():
        assert hardware.devices() == ("cuda", "cpu")
        loaded = load(str(folder), quantize="auto")
        assert (str(loaded.device), loaded.dtype) == ("cuda", torch.bfloat16)
        assert loaded.precision == "exact"
        engine = LocalEngine(loaded)
        assert type(engine.backend) is CudaGraphBackend
        found = [step.id for step in steps(engine, DRAWN)]
        expected = steps(gpu.engine("llama", torch.bfloat16), DRAWN)
        assert found == [step.id for step in expected]


def test_gguf_file_becomes_bfloat16_on_a_gpu_as_is_said_before(
    tmp_path: Path, home: Path
) -> None:
    folder = models.save_llama(tmp_path / "model")
    file = models.write_gguf(folder, tmp_path / "model.gguf", "Q4_0")
    with watched():
        words, _ = plan_for(file, device="auto", dtype="auto", quantize="auto")
        assert words.startswith("in bfloat16 on cuda")
        loaded = load(str(file), quantize="auto")
        assert (loaded.dtype, loaded.precision) == (torch.bfloat16, "fast")
        assert next(loaded.model.parameters()).dtype is torch.bfloat16
