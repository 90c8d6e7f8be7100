"""Going on at a cursor: the typed letters stay, and every number is the model's."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig

from lmtui.cancellation import cancelled_when
from lmtui.engine.document.completion import Completer, ContextPlanner
from lmtui.engine.document.fill_in_the_middle import Infill
from lmtui.engine.document.suggestion import (
    SuggestionBuilder,
    SuggestionRules,
)
from lmtui.engine.document.types import CursorContext
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Step,
)
from lmtui.errors import Cancelled, LmtuiError
from tests.engine import tiny
from tests.engine.document import test_fill_in_the_middle as test_infill
from tests.engine.naive_writing import CONTEXT, LAYOUT, NaiveReader, parts
from tests.examples import examples

TEXT = "The quick brown fox jumps over the lazy dog. The qui"
GREEDY = SamplingSettings(temperature=0, max_tokens=12)
FREE = SamplingSettings(temperature=1, top_k=0, top_p=1, min_p=0, max_tokens=12)
VOCABULARY = Vocabulary(tiny.tokenizer())
RULES = SuggestionRules(min_prob=None, seconds=None)
CUTS = [1, 9, 16, 45, len(TEXT)]


def reader(family: str = "llama") -> NaiveReader:
    return NaiveReader(tiny.model(family), tiny.tokenizer())


def going_on(family: str = "llama", end_ids: frozenset[int] = frozenset()) -> Completer:
    model, tokenizer = tiny.model(family), tiny.tokenizer()
    return Completer(parts(model, tokenizer, end_ids=end_ids))


def run(
    going: Completer,
    text: str = TEXT,
    wanted: SamplingSettings = GREEDY,
    *,
    cursor: int | None = None,
    single_line: bool = False,
) -> tuple[list[Step], GenerationResult]:
    at = len(text) if cursor is None else cursor
    read = going.completion_context(text, at, wanted.max_tokens)
    *steps, finish = going.steps(
        read, wanted, top_n=5, single_line=single_line, progress=None
    )
    assert isinstance(finish, GenerationResult)
    assert all(isinstance(step, Step) for step in steps)
    return steps, finish  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("family", "cut"),
    [("llama", 1), ("llama", 44), *((family, len(TEXT)) for family in tiny.FAMILIES)],
)
def test_greedy_completion_equals_the_naive_loop(family: str, cut: int) -> None:
    text, naive = TEXT[:cut], reader(family)
    place = naive.context_at(text, cut)
    found = naive.continuations(place.before, place.typed, top_n=5)
    steps, finish = run(going_on(family), text)
    first = found.rows[0]
    assert (steps[0].bytes, steps[0].rank) == (first.beyond, 1)
    assert steps[0].logprob == pytest.approx(first.logprob, abs=1e-4)
    ids = [*place.before, *first.cover.ids]
    for step in steps[1:]:
        logprobs = naive.logprobs(ids)
        assert step.id == int(logprobs.argmax())
        assert step.logprob == pytest.approx(float(logprobs.max()), abs=1e-4)
        ids.append(step.id)
    assert [step.index for step in steps] == list(range(12))
    assert finish.reason is FinishReason.LENGTH
    assert finish.logprob == pytest.approx(math.fsum(s.logprob for s in steps))
    assert (finish.tokens, finish.prompt_tokens) == (12, len(place.before))


@pytest.mark.parametrize("cut", CUTS)
def test_completion_context_and_typed_letters_spell_the_text(cut: int) -> None:
    going, text = going_on(), TEXT[:cut]
    read = going.completion_context(text, cut, 12)
    spelled = b"".join(VOCABULARY.bytes(i) for i in read.ids) + read.typed
    assert spelled == text.encode()
    assert not read.infilled


@given(
    cuts=st.lists(st.integers(1, len(TEXT)), min_size=2, max_size=4),
    seed=st.integers(0, 9),
)
@settings(max_examples=examples(6, 100))
def test_earlier_completions_do_not_change_the_next_one(
    cuts: list[int], seed: int
) -> None:
    warm, drawn = going_on(), SamplingSettings(seed=seed, max_tokens=5)
    for cut in cuts:
        again, finish = run(warm, TEXT[:cut], drawn)
        once, fresh = run(going_on(), TEXT[:cut], drawn)
        assert [s.bytes for s in again] == [s.bytes for s in once]
        assert finish.logprob == pytest.approx(fresh.logprob, abs=1e-3)
        assert fresh.reused_tokens == 0


@pytest.mark.parametrize("seed", range(3))
def test_completion_pieces_join_to_the_decoded_bytes(seed: int) -> None:
    text = TEXT + "\nDie M"
    steps, finish = run(going_on(), text, replace(FREE, seed=seed))
    written = "".join(step.piece for step in steps) + finish.piece
    whole = steps[:-1] if finish.reason is FinishReason.STOP else steps
    spelled = b"".join(step.bytes for step in whole).decode("utf-8", "replace")
    assert spelled.startswith(written)
    assert not spelled.removeprefix(written).strip("\ufffd")
    again, _ = run(going_on(), text, replace(FREE, seed=seed))
    assert [step.bytes for step in again] == [step.bytes for step in steps]


def test_first_step_follows_the_sampling_settings() -> None:
    going, text = going_on(), TEXT[:45]
    wanted = SamplingSettings(temperature=1.5, top_k=3, max_tokens=1, top_p=1, min_p=0)
    drawn = []
    for seed in range(20):
        (step,), _ = run(going, text, replace(wanted, seed=seed))
        rows = step.distribution.candidates
        drawn.append(step.bytes)
        weights = [math.exp(row.logprob / 1.5) for row in rows[:3]]
        expected = [w / sum(weights) for w in weights]
        assert [r.sampled_prob for r in rows[:3]] == pytest.approx(expected, abs=1e-5)
        assert [row.cut for row in rows] == [None, None, None, "k", "k"]
        assert step.sampled_prob == pytest.approx(
            next(r.sampled_prob for r in rows if r.bytes == step.bytes)
        )
        assert step.distribution.remaining == 3
        kept = math.fsum(row.prob for row in rows[:3])
        assert step.distribution.remaining_prob == pytest.approx(kept, abs=1e-5)
    assert len(set(drawn)) > 1


def test_end_token_as_first_step_ends_the_completion() -> None:
    first = run(going_on())[0][0]
    steps, finish = run(going_on(end_ids=frozenset([first.id])))
    assert [step.id for step in steps] == [first.id]
    assert (steps[0].piece, finish.piece) == ("", "")
    assert (finish.reason, finish.tokens) == (FinishReason.STOP, 1)


def test_single_line_completion_ends_before_its_newline() -> None:
    free, _ = run(going_on())
    assert any(b"\n" in step.bytes for step in free)
    steps, finish = run(going_on(), single_line=True)
    assert finish.reason is FinishReason.NEWLINE
    written = "".join(step.piece for step in steps) + finish.piece
    assert "\n" not in written
    assert "".join(step.piece for step in free).startswith(written)


@pytest.mark.parametrize("patience", [0, 1, 4, 7])
def test_completion_can_be_cancelled_at_any_time(patience: int) -> None:
    going, asked = going_on(), count()
    with cancelled_when(lambda: next(asked) >= patience):
        steps, finish = run(going)
    assert finish.reason is FinishReason.CANCELLED
    free, _ = run(going)
    assert [s.bytes for s in free[: len(steps)]] == [s.bytes for s in steps]


def test_empty_text_cannot_be_completed() -> None:
    with pytest.raises(LmtuiError, match="nothing to continue"):
        run(going_on(), "")


@cache
def infilling(family: str) -> tuple[Any, Any, Completer]:
    """A tiny random model whose vocabulary has the control tokens of a family."""
    tokenizer = test_infill.tokenizer(family)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.5,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    reader = NaiveReader(model, tokenizer)
    layout = replace(LAYOUT, infill=Infill.of(tokenizer))
    return reader, layout, Completer(parts(model, tokenizer, layout))


@pytest.mark.parametrize("family", test_infill.ORDERS)
def test_infill_reads_both_sides_and_heals_the_typed_letters(
    family: str,
) -> None:
    reader, layout, going = infilling(family)
    text, cursor = "one two thr\nfour", 11
    place = reader.context_at(text, cursor)
    assert (place.typed, text[place.start :]) == (b" thr", " thr\nfour")
    read = going.completion_context(text, cursor, 12)
    after = reader.part(text, cursor, len(text)).ids
    assert read.ids == layout.infill.ids(place.before, after, room=CONTEXT)
    assert (read.typed, read.infilled) == (b" thr", True)
    found = reader.continuations(read.ids, b" thr", top_n=3)
    (step, *_), _ = run(going, text, cursor=cursor)
    assert step.bytes == found.rows[0].beyond
    assert step.logprob == pytest.approx(found.rows[0].logprob, abs=1e-4)
    assert going.alternatives(text, cursor, RULES, count=3)


@pytest.mark.parametrize("family", test_infill.ORDERS)
def test_infill_is_not_used_where_no_text_follows(family: str) -> None:
    _, _, going = infilling(family)
    for text in ("one two thr", "one two thr \n\n"):
        assert not going.completion_context(text, 11, 12).infilled


def test_control_token_ends_an_infill() -> None:
    _, layout, going = infilling("qwen")
    controls = layout.infill.end_ids
    ends = set()
    for seed in range(12):
        wanted = replace(FREE, seed=seed, max_tokens=40)
        steps, finish = run(going, "one two thr\nfour", wanted, cursor=11)
        assert not controls & {step.id for step in steps[:-1]}
        ends.add(finish.reason)
        if steps[-1].id in controls:
            assert finish.reason is FinishReason.STOP
    assert FinishReason.STOP in ends


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize("cut", [9, 44, len(TEXT)])
def test_alternatives_continue_each_row_greedily(family: str, cut: int) -> None:
    text, naive = TEXT[:cut], reader(family)
    place = naive.context_at(text, cut)
    found = naive.continuations(place.before, place.typed, top_n=20)
    rules = replace(RULES, max_tokens=8, min_prob=0.02)
    expected: list[str] = []
    for row in found.rows:
        # The first step is not judged by the rules: who asks for others wants them.
        ghost = SuggestionBuilder(rules, before=text)
        ids, going = [*place.before, *row.cover.ids], ghost.feed(row.beyond, 1.0)
        if row.special is not None or not going or len(expected) == 5:
            continue
        while going:
            logprobs = naive.logprobs(ids)
            ids.append(int(logprobs.argmax()))
            if ids[-1] in VOCABULARY.specials:
                ghost.finish(done=True)
                break
            data = VOCABULARY.bytes(ids[-1])
            going = ghost.feed(data, float(logprobs.max().exp()))
        expected.append(ghost.finish())
    ghosts = alternatives(going_on(family), text, rules)
    assert ghosts == [ghost for ghost in expected if ghost]


def alternatives(
    going: Completer, text: str, rules: SuggestionRules = RULES
) -> list[str]:
    return going.alternatives(text, len(text), rules, count=5)


def test_alternatives_run_as_one_batch_after_one_prefill() -> None:
    going = going_on()
    batches: list[int] = []
    model = going._model
    run_one = model.cache.backend.next_logits

    def note(tokens: list[int], *rest: Any, **how: Any) -> Any:
        batches.append(len(tokens))
        return run_one(tokens, *rest, **how)

    model.cache.backend.next_logits = note  # type: ignore[method-assign]
    assert len(alternatives(going, TEXT)) > 1
    assert batches[0] == 5
    assert batches == sorted(batches, reverse=True)
    assert len(batches) < 16 + 3 < RULES.max_tokens  # enough to choose by
    assert model.cache.ids == list(going.completion_context(TEXT, len(TEXT), 48).ids)


@pytest.mark.parametrize("patience", [0, 2, 5])
def test_alternatives_can_be_stopped(patience: int) -> None:
    going, asked = going_on(), count()
    with pytest.raises(Cancelled), cancelled_when(lambda: next(asked) >= patience):
        alternatives(going, TEXT)
    assert alternatives(going, TEXT) == alternatives(going_on(), TEXT)


BIG = ContextPlanner(context=100, window=100, stride=50)


@given(before=st.integers(0, 99), typed=st.integers(0, 20), more=st.integers(1, 200))
def test_completion_context_starts_a_stride_later_without_room(
    before: int, typed: int, more: int
) -> None:
    ids = tuple(range(1000, 1000 + before))
    place = CursorContext((7,), ids, b"x" * typed, 0)
    read = BIG.completion_context(place, lambda _: (), more)
    assert read.ids[0] == 7
    kept = read.ids[1:]
    assert kept == ids[before - len(kept) :]
    assert len(read.ids) + typed + 1 <= 100
    if 1 + before + typed + 1 + more <= 100:
        assert kept == ids
    elif before > 50 and 1 + before - 50 + typed + 1 <= 100:
        assert kept == ids[50:]


def test_completion_without_bos_needs_a_token_before_the_cursor() -> None:
    with pytest.raises(LmtuiError, match="nothing to continue"):
        BIG.completion_context(CursorContext((), (), b"", 0), lambda _: (), 5)
    assert BIG.completion_context(
        CursorContext((7,), (), b"a", 0), lambda _: (), 5
    ).ids == (7,)
