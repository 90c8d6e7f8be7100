"""The chain does what llama.cpp's samplers do, in any order, and tells each effect."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmtui.engine.sampling.chain import (
    DrawConditions,
    NothingLeft,
    SamplerChain,
    filter_logits,
)
from lmtui.engine.sampling.dry import DrySettings, repeated_passages
from lmtui.engine.sampling.effects import stage_effects
from lmtui.engine.sampling.ranks import to_cpu
from lmtui.engine.sampling.sampled import SampledDistribution
from lmtui.engine.sampling.stages import BY_NAME, STAGES
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.token_ids import GrowingIds, ids_array
from tests.engine import tiny

OFF = SamplingSettings(temperature=1, top_k=0, top_p=1, min_p=0)
SIZE = 60


class Letters:
    """A vocabulary whose token i is the i-th letter, and then pairs of letters; token 4
    is a control token."""

    control_ids = frozenset({4})

    def spell(self, token: int) -> bytes:
        letters = b"abcdefghijklmnopqrstuvwxyz"
        first, second = divmod(token, 26)
        return (b"" if first == 0 else letters[first - 1 : first]) + (
            letters[second : second + 1]
        )

    def spelled(self, data: bytes) -> Sequence[int]:
        return [i for i in range(SIZE) if self.spell(i) == data]

    def containing(self, texts: tuple[bytes, ...]) -> frozenset[int]:
        return frozenset(
            i for i in range(SIZE) if any(text in self.spell(i) for text in texts)
        )


def random_logits(seed: int, size: int = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator) * 3


def applied(
    logits: Tensor,
    chain: SamplerChain,
    conditions: DrawConditions | None = None,
) -> SampledDistribution:
    conditions = conditions or DrawConditions()
    prepared = chain.prepare(logits, conditions)
    table = to_cpu(*chain.ranking_inputs(prepared))
    return chain.filter(prepared, table, conditions)


def probs(kept: SampledDistribution) -> list[float]:
    return kept.prob(torch.arange(kept.logits.numel())).tolist()


# Expected values of llama.cpp's tests/test-sampling.cpp, by token, as shares of what is
# kept, for the stages that transformers does not have.
TENTHS = (0.1, 0.2, 0.3, 0.4)
REVERSED = (0.4, 0.3, 0.2, 0.1)
FIFTHS = (0.2,) * 5
QUARTERS = (0.25,) * 4
LLAMA_CPP = [
    ({"xtc_threshold": 0.09}, REVERSED, (), (0, 0, 0, 1)),
    ({"xtc_threshold": 0.19}, REVERSED, (), (0, 0, 2 / 3, 1 / 3)),
    ({"xtc_threshold": 0.29}, REVERSED, (), (0, 0.5, 1 / 3, 1 / 6)),
    ({"xtc_threshold": 0.39}, REVERSED, (), REVERSED),
    (
        {"frequency_penalty": 5, "presence_penalty": 5}, FIFTHS, (0,),
        (0.000011, 0.249997, 0.249997, 0.249997, 0.249997),
    ),
    (
        {"frequency_penalty": 5, "presence_penalty": 5}, FIFTHS, (0, 1, 2),
        (0.000023, 0.000023, 0.000023, 0.499966, 0.499966),
    ),
    (
        {"frequency_penalty": 5, "presence_penalty": 5}, FIFTHS, (0, 1, 2, 0, 0),
        (0.000000, 0.000023, 0.000023, 0.499977, 0.499977),
    ),
    (
        {"dry_multiplier": 1, "dry_allowed_length": 2, "dry_window": 4}, QUARTERS,
        (0, 1), QUARTERS,
    ),
    (
        {"dry_multiplier": 1, "dry_allowed_length": 2, "dry_window": 5}, QUARTERS,
        (0, 1, 2, 0, 1), (0.296923, 0.296923, 0.109232, 0.296923),
    ),
    (
        {"dry_multiplier": 1, "dry_allowed_length": 2, "dry_breakers": ("d",)}, FIFTHS,
        (0, 1, 3, 4, 0, 1), FIFTHS,
    ),
    (
        {"dry_multiplier": 2, "dry_allowed_length": 2, "dry_window": 5}, FIFTHS,
        (0, 1, 2, 0, 1), (0.241818, 0.241818, 0.032727, 0.241818, 0.241818),
    ),
    (
        {"dry_multiplier": 1, "dry_allowed_length": 4, "dry_window": 7}, FIFTHS,
        (0, 1, 2, 3, 4, 0, 1), FIFTHS,
    ),
    ({"top_n_sigma": 1.0}, TENTHS, (), (0, 0, 0.428571, 0.571429)),
    ({"top_n_sigma": 0.0}, TENTHS, (), TENTHS),
    ({"top_n_sigma": 3.0}, TENTHS, (), TENTHS),
]  # fmt: skip


@pytest.mark.parametrize(("given_settings", "before", "context", "after"), LLAMA_CPP)
def test_stages_give_the_expected_values_of_llama_cpp(
    given_settings: dict[str, float],
    before: tuple[float, ...],
    context: tuple[int, ...],
    after: tuple[float, ...],
) -> None:
    own: dict[str, object] = {"dry_base": 1.1, "xtc_probability": 0.0}
    if "xtc_threshold" in given_settings:
        own["xtc_probability"] = 0.99
    wanted = replace(OFF, **{**own, **given_settings})  # type: ignore[arg-type]
    conditions = DrawConditions(ids_array(context), coin=0.5)
    chain = SamplerChain(wanted, Letters())
    assert probs(applied(torch.tensor(before).log(), chain, conditions)) == (
        pytest.approx(after, abs=1e-5)
    )


# Properties of the whole chain.

everything = st.builds(
    SamplingSettings,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 3, 20, 200]),
    top_p=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 1.0]),
    typical_p=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    top_n_sigma=st.sampled_from([0.0, 0.5, 1.5]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.7]),
    presence_penalty=st.sampled_from([0.0, 1.0, -2.0]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    penalty_window=st.sampled_from([0, 2]),
    dry_multiplier=st.sampled_from([0.0, 0.8]),
    xtc_probability=st.sampled_from([0.0, 0.5, 1.0]),
    xtc_threshold=st.sampled_from([0.0, 0.05, 0.2]),
    logit_bias=st.sampled_from([(), ("a=ban", "b=2"), ("c=-3", "zz=ban")]),
    sampler_order=st.permutations(STAGES).flatmap(
        lambda order: st.integers(0, len(order)).map(lambda n: tuple(order[:n]))
    ),
)
conditions = st.builds(
    lambda context, coin, seed: DrawConditions(
        ids_array(context),
        coin=coin,
        allowed=None if seed is None else random_logits(seed) > 1,
    ),
    st.lists(st.integers(0, 5), max_size=12),
    st.one_of(st.none(), st.floats(0, 0.999)),
    st.one_of(st.none(), st.integers(0, 50)),
)


def naive(
    logits: Tensor, wanted: SamplingSettings, position: DrawConditions
) -> dict[int, float]:
    """The same chain over plain lists: the probability of each token that is left."""
    left = {i: float(value) for i, value in enumerate(logits)}
    context = position.context.tolist()
    if "b=2" in wanted.logit_bias:
        left[1] += 2
        del left[0]
    elif "c=-3" in wanted.logit_bias:
        left[2] -= 3
    if position.allowed is not None:
        left = {i: value for i, value in left.items() if position.allowed[i]}
    for stage in wanted.sampler_order:
        left = _stage(stage, left, wanted, context, position.coin)
    return _softmax(left)


def _softmax(left: dict[int, float]) -> dict[int, float]:
    most = max(left.values())
    weights = {i: math.exp(value - most) for i, value in left.items()}
    return {i: weight / sum(weights.values()) for i, weight in weights.items()}


def _stage(
    stage: str,
    left: dict[int, float],
    wanted: SamplingSettings,
    context: list[int],
    coin: float | None,
) -> dict[int, float]:
    ranked = sorted(left, key=lambda i: (-left[i], i))
    p = _softmax(left)
    match stage:
        case "penalties":
            seen = context[-wanted.penalty_window :]
            for token in set(seen) & set(left):
                value, factor = left[token], wanted.repetition_penalty
                value = value / factor if value > 0 else value * factor
                value -= seen.count(token) * wanted.frequency_penalty
                left = {**left, token: value - wanted.presence_penalty}
            return left
        case "dry":
            for token, length in naive_repeats(context, 2).items():
                if wanted.dry_multiplier and token in left and token != 4:
                    weakened = wanted.dry_multiplier * 1.75 ** (length - 2)
                    left = {**left, token: left[token] - weakened}
            return left
        case "temperature":
            if wanted.temperature == 0:
                return {ranked[0]: left[ranked[0]]}
            return {i: value / wanted.temperature for i, value in left.items()}
        case "top_k":
            ranked = ranked[: wanted.top_k or None]
        case "top_p":
            if wanted.top_p < 1:
                before = np.cumsum([0.0, *(p[i] for i in ranked)])
                ranked = [
                    i for at, i in enumerate(ranked)
                    if at == 0 or before[at] < wanted.top_p
                ]  # fmt: skip
        case "min_p":
            ranked = [i for i in ranked if p[i] >= wanted.min_p * p[ranked[0]]]
        case "top_n_sigma":
            if wanted.top_n_sigma:
                spread = wanted.top_n_sigma * float(np.std(list(left.values())))
                ranked = [i for i in ranked if left[i] >= left[ranked[0]] - spread]
        case "typical_p":
            if wanted.typical_p < 1:
                entropy = -sum(each * math.log(each) for each in p.values())
                near = sorted(ranked, key=lambda i: abs(-math.log(p[i]) - entropy))
                before = np.cumsum([0.0, *(p[i] for i in near)])
                ranked = [
                    i for at, i in enumerate(near)
                    if at == 0 or before[at] < wanted.typical_p
                ]  # fmt: skip
        case "xtc":
            falls = coin is None or coin < wanted.xtc_probability
            if wanted.xtc_probability and falls:
                above = [i for i in ranked if p[i] >= wanted.xtc_threshold]
                ranked = [i for i in ranked if i not in above[:-1]]
    return {i: left[i] for i in ranked}


def naive_repeats(context: list[int], allowed: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for end in range(1, len(context)):
        length = 0
        while length < end and (
            context[end - 1 - length] == context[len(context) - 1 - length]
        ):
            length += 1
        if length >= allowed:
            found[context[end]] = max(length, found.get(context[end], 0))
    return found


@given(st.integers(0, 10_000), everything, conditions)
def test_chain_equals_a_naive_one_in_any_order(
    seed: int, wanted: SamplingSettings, position: DrawConditions
) -> None:
    logits = random_logits(seed)
    chain = SamplerChain(replace(wanted, dry_breakers=()), Letters())
    if position.allowed is not None and not bool(position.allowed[3:].any()):
        return
    kept = applied(logits, chain, position)
    expected = naive(logits, wanted, position)
    ours = dict(zip(kept.ids.tolist(), kept.probs.tolist(), strict=True))
    # Rounding may put a token on either side of a threshold.
    if edge := ours.keys() ^ expected.keys():
        assert len(edge) == 1
        return
    assert ours == pytest.approx(expected, abs=1e-5)


@given(st.integers(0, 10_000), everything, conditions)
def test_effects_and_marks_lead_from_the_model_to_what_is_drawn_from(
    seed: int, wanted: SamplingSettings, position: DrawConditions
) -> None:
    logits = random_logits(seed)
    chain = SamplerChain(wanted, Letters())
    kept = applied(logits, chain, position)
    effects = stage_effects(chain, logits, position)
    left = SIZE
    before = logits.double().softmax(0)
    for effect in effects:
        assert effect.left == left - effect.removed >= 1
        left = effect.left
        upto = SamplerChain(wanted, Letters(), until=effect.stage)
        after = applied(logits, upto, position).prob(torch.arange(SIZE))
        assert effect.moved_mass == pytest.approx(
            float((after - before).abs().sum() / 2), abs=1e-6
        )
        before = after
    assert left == len(kept)
    cuts = kept.cuts(torch.arange(SIZE), kept.logits)
    assert {token for token, cut in enumerate(cuts) if cut is None} == set(
        kept.ids.tolist()
    )
    removed = {BY_NAME[each.stage].mark: each.removed for each in effects}
    assert Counter(cut for cut in cuts if cut) == +Counter(removed)


@pytest.mark.parametrize("temperature", [1e-320, 0.001, 1.0])
def test_xtc_leaves_a_distribution_however_sharp(temperature: float) -> None:
    wanted = replace(
        OFF,
        temperature=temperature,
        xtc_probability=1,
        xtc_threshold=0.0,
        sampler_order=("temperature", "top_k", "xtc"),
        top_k=3,
    )
    kept = filter_logits(torch.tensor([1.0, 900.0, 2.0, 3.0]), wanted)
    assert (kept.ids.tolist(), kept.probs.tolist()) == ([2], [1.0])


def test_bans_of_all_tokens_say_that_nothing_is_left() -> None:
    wanted = replace(OFF, logit_bias=("a=ban",))
    only_a = torch.zeros(SIZE, dtype=torch.bool)
    only_a[0] = True
    chain, conditions = SamplerChain(wanted, Letters()), DrawConditions(allowed=only_a)
    with pytest.raises(NothingLeft):
        applied(random_logits(1), chain, conditions)


def test_entries_without_a_token_are_named() -> None:
    wanted = replace(OFF, logit_bias=("hello=ban", "a=1", "\\xff=ban"))
    chain = SamplerChain(wanted, Letters())
    assert chain.without_token == [b"hello", b"\xff"]
    (effect,) = stage_effects(chain, random_logits(1), DrawConditions())
    assert effect.without_token == ("hello", "\\xff")
    assert effect.removed == 0 < effect.moved_mass


@given(st.lists(st.integers(0, 3), max_size=200), st.integers(1, 4))
def test_repeated_passages_equal_a_naive_search(
    context: list[int], allowed: int
) -> None:
    dry = DrySettings(1, 1.75, allowed, control_ids=frozenset({3}))
    found = repeated_passages(ids_array(context), dry, Letters().spell)
    expected = naive_repeats(context, allowed)
    expected.pop(3, None)  # a control token: it is in passages, and never weakened
    assert {token: each.length for token, each in found.items()} == {
        token: min(length, dry.longest) for token, length in expected.items()
    }
    for each in found.values():
        end = each.start + each.length
        assert context[each.start : end] == context[len(context) - each.length :]
        assert context[end] == each.token


@given(st.lists(st.sampled_from([0, 1, 2, 27, 53]), max_size=40))
def test_breakers_end_a_passage_also_across_tokens(context: list[int]) -> None:
    spell = Letters().spell
    breakers = (b"c", b"ba")
    dry = DrySettings(1, 1.75, 1, breakers, Letters().containing(breakers))
    found = repeated_passages(ids_array(context), dry, spell)
    # The tokens after the last place where a breaker ends.
    most = next(
        (
            length
            for length in range(len(context))
            if any(
                b"".join(map(spell, context[: len(context) - length])).endswith(
                    text + own[end:]
                )
                for own in [spell(context[len(context) - 1 - length])]
                for end in range(1, len(own) + 1)
                for text in breakers
                if b"".join(map(spell, context[: len(context) - length]))[
                    : -len(own[end:]) or None
                ].endswith(text)
            )
        ),
        len(context),
    )
    expected = {
        token: min(length, most)
        for token, length in naive_repeats(context, 1).items()
        if min(length, most) >= 1 and token not in dry.breaker_ids
    }
    assert {token: each.length for token, each in found.items()} == expected


@given(st.lists(st.lists(st.integers(0, 9), max_size=70), max_size=6))
def test_growing_ids_keep_their_earlier_views(parts: list[list[int]]) -> None:
    growing, whole, views = GrowingIds(()), list[int](), []
    for part in parts:
        growing.append(*part)
        whole += part
        views.append((growing.view(), list(whole)))
    for view, expected in views:
        assert view.tolist() == expected


def test_a_filter_that_removes_nothing_moves_nothing() -> None:
    allowed = random_logits(3) > 2
    wanted = SamplingSettings(temperature=0.7, top_k=50, top_p=1, min_p=0)
    conditions = DrawConditions(allowed=allowed)
    effects = stage_effects(SamplerChain(wanted), random_logits(1), conditions)
    assert [effect.stage for effect in effects] == ["grammar", "temperature", "top_k"]
    assert effects[-1].removed == 0 == effects[-1].moved_mass < effects[1].moved_mass


def test_an_answer_that_was_given_before_can_end_under_dry() -> None:
    engine = tiny.engine()
    wanted = replace(OFF, dry_multiplier=5.0)
    for token, weakened in ((8, True), *((end, False) for end in engine.end_ids)):
        shown = engine.next_distribution(
            (5, 6, 7, token, 5, 6, 7), wanted, top_n=engine.info.vocabulary
        )
        marks = {row.id: row.changed for row in shown.candidates}
        assert (marks[token] == "d") == weakened
