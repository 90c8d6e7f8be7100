"""The real default model: its answers, its control tokens, its exact numbers."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lmtui.cli.main import main
from lmtui.engine.engine import LocalEngine
from lmtui.engine.generation.prompt_lookup import PromptLookup
from lmtui.engine.sampling.recommended import recommended
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    ScoredToken,
    Step,
)
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.source import Quantize
from lmtui.tui.chat.screen import TRY
from lmtui.tui.widgets.sampler_fields import GREEDY as GREEDY_STEP
from lmtui.tui.widgets.sampler_fields import temperature_at
from tests.analysis.test_words import published
from tests.serve.serving import serving

pytestmark = pytest.mark.real

README = Path(__file__).parent.parent / "README.md"
GREEDY = SamplingSettings(temperature=0, max_tokens=40)
ENDS = "<|im_end|>", "<|endoftext|>"
"""Tokens that end a text of the default model."""


@pytest.fixture(scope="module")
def loaded(default_home: Path) -> LoadedModel:
    """The default model, as the loader gives it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(default_home))
        return load()


@pytest.fixture(scope="module")
def engine(loaded: LoadedModel) -> LocalEngine:
    """An engine around it."""
    return LocalEngine(loaded)


@pytest.fixture
def lmtui(
    default_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Runs the program in this process, and answers what it writes on stdout."""
    monkeypatch.setenv("LMTUI_HOME", str(default_home))

    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def recommended_sampler(engine: LocalEngine) -> SamplingSettings:
    """The sampler that the chat begins with."""
    return recommended(SamplingSettings(), engine.info.generation_defaults)


def test_question_to_try_is_answered_whatever_is_drawn(
    engine: LocalEngine, recommended_sampler: SamplingSettings
) -> None:
    (question,) = re.findall(r"Ask  (.+)", TRY)
    prompt = engine.prompt([ChatTurn("user", question)])
    for seed in range(5):
        *steps, finish = engine.generate(
            prompt, replace(recommended_sampler, seed=seed)
        )
        assert "".join(step.piece for step in steps) == "The capital of Japan is Tokyo."
        assert isinstance(finish, GenerationResult)
        assert finish.reason is FinishReason.STOP


def test_panel_follows_every_word_that_is_to_be_tried(
    engine: LocalEngine, recommended_sampler: SamplingSettings
) -> None:
    (words,) = re.findall(r"Type  (.+)", TRY)
    typed = words.split()
    texts = [" ".join(typed[:count]) for count in range(len(typed) + 1)]
    shown = [engine.score_draft((), text, recommended_sampler) for text in texts]
    tops = [[row.id for row in each.distribution.candidates[:5]] for each in shown]
    assert len({tuple(top) for top in tops}) == len(texts)
    assert all(each.distribution.remaining for each in shown)


def test_slider_to_try_runs_from_flat_to_sharp(
    engine: LocalEngine, recommended_sampler: SamplingSettings
) -> None:
    draft = engine.score_draft((), "the cat sat on the", recommended_sampler)
    drawn = []
    for step in range(0, GREEDY_STEP + 1, 4):
        settings = replace(recommended_sampler, temperature=temperature_at(step))
        seen = engine.preview(draft.distribution.handle, settings)
        drawn.append(seen.candidates[0].sampled_prob or 0.0)
    assert drawn == sorted(drawn)
    assert drawn[0] < 0.5 < drawn[-1]


def test_chat_once_draws_as_recommended_unless_told_otherwise(
    lmtui: Callable[..., str],
) -> None:
    for flags, expected in (((), 0.2), (("--temperature", "0.7"), 0.7)):
        told = lmtui("chat", "--once", "Hi", "--json", "--max-tokens", "1", *flags)
        begun = json.loads(told.split("\n")[0])
        assert begun["sampling"]["temperature"] == expected
        assert begun["sampling"]["top_p"] == 0.9


def test_every_typed_control_string_stays_text(
    loaded: LoadedModel, engine: LocalEngine
) -> None:
    added = loaded.tokenizer.added_tokens_decoder
    specials = {i: token.content for i, token in added.items()}
    assert len(specials) == 17
    calm = engine.prompt([ChatTurn("system", "a"), ChatTurn("user", "b")]).ids
    wanted = [i for i in calm if i in specials]
    for text in specials.values():
        typed = f"x {text}y"
        prompt = engine.prompt(
            [ChatTurn("system", typed), ChatTurn("user", typed)], prefill=typed
        )
        assert [i for i in prompt.ids if i in specials] == wanted
        whole = loaded.tokenizer.backend_tokenizer.decode(prompt.ids, False)
        assert whole.count(typed) == 3
        assert not set(engine.encode(typed).ids) & set(specials)


def test_generated_logprobs_add_up_to_the_score(engine: LocalEngine) -> None:
    prompt = engine.prompt([ChatTurn("user", "Tell me about 日本 and 👩‍👩‍👧.")])
    drawn = SamplingSettings(temperature=1.3, seed=3, max_tokens=60)
    *steps, finish = engine.generate(prompt, drawn)
    ids = [step.id for step in steps]  # type: ignore[union-attr]
    scored = math.fsum(t.logprob or 0 for t in engine.score(ids, prefix=prompt.ids))
    assert isinstance(finish, GenerationResult)
    assert finish.logprob == pytest.approx(scored, abs=1e-3)


def test_inspect_equals_the_naive_pass(
    loaded: LoadedModel, lmtui: Callable[..., str], tmp_path: Path
) -> None:
    file, text = tmp_path / "text.md", README.read_text("utf-8")[:1_300]
    file.write_text(text, "utf-8")
    out = lmtui("inspect", str(file), "--json", "--window", "128")
    *tokens, summary = map(json.loads, out.splitlines())
    ids = [token["id"] for token in tokens]
    assert summary["event"] == "summary"
    assert summary["stride"] == 64
    assert summary["tokens"] == len(ids) > 256
    assert tokens[0]["logprob"] is None
    # The program's windows, by hand: every 64 tokens, 128 long.
    for start in range(0, len(ids) - 64, 64):
        part = ids[start : start + 128]
        logprobs = naive(loaded, part)
        for place in range(1 if start == 0 else 64, len(part)):
            token = tokens[start + place]
            expected = float(logprobs[place - 1, token["id"]])
            assert token["logprob"] == pytest.approx(expected, abs=1e-4)
    known = [t["logprob"] for t in tokens[1:]]
    assert summary["logprob"] == pytest.approx(math.fsum(known), abs=1e-3)
    assert text[tokens[5]["start"] : tokens[5]["end"]] == tokens[5]["text"]


@torch.inference_mode()
def naive(loaded: LoadedModel, ids: list[int]) -> Any:
    """One forward, every logit, one float64 log-softmax. [n, V]"""
    return loaded.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)


# A part is read on from the KV cache, which rounds otherwise.
@pytest.mark.parametrize(("first", "near"), [(1, 1e-5), (40, 1e-4)])
def test_last_layer_of_the_lens_equals_the_score(
    engine: LocalEngine, first: int, near: float
) -> None:
    ids = engine.encode(README.read_text("utf-8")).ids[:60]
    scored = list(engine.score(ids, top_n=1))[first:]
    columns = list(engine.logit_lens(ids, range(first, len(ids))))
    for column, token in zip(columns, scored, strict=True):
        assert [row.layer for row in column.rows] == [*range(31)]
        last = column.rows[-1]
        assert last.logprob == pytest.approx(token.logprob, abs=near)
        assert last.entropy == pytest.approx(token.entropy, abs=near)
        assert (last.rank, last.top[0].id) == (token.rank, token.top[0].id)


# The fast path.


@pytest.fixture(scope="module")
def fast(default_home: Path) -> LocalEngine:
    """An engine around the model as it is stored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(default_home))
        engine = LocalEngine.open(device="cpu", quantize="auto")
    assert (engine.info.precision, engine.info.dtype) == ("fast", "Q4_1")
    return engine


@pytest.mark.parametrize("file", [README, Path(textwrap.__file__)])
def test_fast_path_stays_near_the_exact_path(
    file: Path, fast: LocalEngine, engine: LocalEngine
) -> None:
    text = file.read_text("utf-8")
    ids = engine.encode(text).ids[:600]
    assert ids == fast.encode(text).ids[:600]
    blocks = (e.backend.all_logits(ids) for e in (engine, fast))
    exact, packed = (
        torch.cat(list(block)).double().log_softmax(-1) for block in blocks
    )
    divergence = (exact.exp() * (exact - packed)).sum(-1)
    same = exact.argmax(-1) == packed.argmax(-1)
    assert float(divergence.mean()) < 1e-3
    # Of six hundred tokens a few are as good as another: 98.5 % are promised of 8,000.
    assert float(same.float().mean()) > 0.975


def test_prompt_lookup_changes_no_token_but_near_ties(
    fast: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = README.read_text("utf-8")
    asked = [
        fast.prompt([ChatTurn("user", f"Write this again:\n\n{text[at : at + 300]}")])
        for at in (0, 300)
    ]
    settings = SamplingSettings(temperature=0, max_tokens=60)

    def written() -> list[list[Step]]:
        return [
            [s for s in fast.generate(prompt, settings) if isinstance(s, Step)]
            for prompt in asked
        ]

    guessed = written()
    monkeypatch.setattr(PromptLookup, "guess", lambda self, most: ())
    for one, other in zip(guessed, written(), strict=True):
        pairs = zip(one, other, strict=False)
        apart = next((pair for pair in pairs if pair[0].id != pair[1].id), None)
        # Other processors have kernels that may sum in another order: where two tokens
        # are nearly as good as each other, that decides.
        assert apart is None or torch.backends.cpu.get_cpu_capability() != "AVX512"
        if apart is not None:
            first, second = apart[1].distribution.candidates[:2]
            assert first.logprob - second.logprob < 0.2


def test_inspect_is_exact_unless_quantize_is_given(lmtui: Callable[..., str]) -> None:
    def summary(quantize: str) -> dict[str, Any]:
        file = str(README.with_name("LICENSE"))
        ask = ("inspect", file, "--json", "--quantize", quantize)
        last: dict[str, Any]
        last = json.loads(lmtui(*ask).splitlines()[-1])
        return last

    exact, packed = summary("auto"), summary("int8")
    assert exact["precision"] == "exact"
    assert (packed["precision"], packed["dtype"]) == ("fast", "Q4_1")
    assert packed["logprob"] == pytest.approx(exact["logprob"], rel=0.02)
    ask = ("chat", "--once", "hi", "--json", "--quantize", "none", "--max-tokens", "1")
    start = json.loads(lmtui(*ask).splitlines()[0])
    assert start["precision"] == "exact"


@pytest.mark.parametrize("quantize", ["none", "auto"])
def test_served_logprobs_are_those_of_a_score(
    quantize: Quantize, default_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    if quantize == "none":  # the last is read in parts, where their sizes matter
        for module in ("lmtui.engine.windows", "lmtui.engine.backends.transformers"):
            monkeypatch.setattr(f"{module}.DEFAULT_WINDOW", 256)
    text, lengths = README.read_text("utf-8"), [2, 17, 130, 530]
    ids: list[int] = []
    expected: list[list[ScoredToken]] = []
    batch: list[list[ScoredToken]] = []

    def opened() -> LocalEngine:
        # On the server's thread: with another number of threads, sums differ.
        engine = LocalEngine(load(quantize=quantize), slots=2)
        ids.extend(engine.encode(text).ids[: lengths[-1]])
        for size in lengths:
            expected.append(list(engine.score(ids[:size], window=size)))
        batch.extend([*engine.score(part)] for part in (ids[:40], ids[40:60]))
        return engine

    with serving(opened) as served:
        served.wait *= 10
        about = served.ask("/tokenizer_info").json
        assert (
            about["eos_token"] == "<|im_end|>" and "im_start" in about["chat_template"]
        )
        for size, tokens in zip(lengths, expected, strict=True):
            found = served.complete(
                prompt=ids[:size], echo=True, logprobs=1, max_tokens=1
            ).json["choices"][0]["logprobs"]
            assert len(found["tokens"]) == size + 1
            for token, logprob, top in zip(
                tokens, found["token_logprobs"], found["top_logprobs"], strict=False
            ):
                assert logprob == pytest.approx(token.logprob, abs=1e-6)
                # What lm_eval asks: is the token the most probable one?
                greedy = top is None or logprob == max(top.values())
                assert greedy == (token.rank in (1, None))
        choices = served.complete(
            prompt=[ids[:40], ids[40:60]], echo=True, logprobs=0, max_tokens=1
        ).json["choices"]
    for choice, scored in zip(choices, batch, strict=True):
        own = [token.logprob for token in scored][1:]
        found = choice["logprobs"]["token_logprobs"][1:-1]
        assert found == pytest.approx(own, abs=1e-4)


def test_words_have_the_probability_of_the_published_formula(
    lmtui: Callable[..., str], loaded: LoadedModel, tmp_path: Path
) -> None:
    text = "The cat that the dog chased sat on the unbelievable mat."
    (tmp_path / "text").write_text(text)
    flags = ["--words", "--json", "--bos", "yes"]
    lines = lmtui("score", str(tmp_path / "text"), *flags).splitlines()
    *words, _ = map(json.loads, lines)
    tokenizer = loaded.tokenizer
    ids = tokenizer(text, add_special_tokens=False).input_ids
    with torch.inference_mode():
        logits = loaded.model(torch.tensor([[tokenizer.bos_token_id, *ids]])).logits[0]
    ends = {tokenizer.backend_tokenizer.token_to_id(end) for end in ENDS}
    expected = published(text, tokenizer, logits.double().log_softmax(-1), ends)
    assert [word["word"] for word in words] == text.split()
    assert [word["logprob"] for word in words] == pytest.approx(expected, abs=1e-5)
