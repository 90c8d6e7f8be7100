"""What each part of a text does to the probability of what follows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.analysis.attribution import Attribution
from lmtui.cancellation import cancelled_when
from lmtui.engine.engine import LocalEngine
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.load import load
from lmtui.notation import LN2
from tests.engine import tiny
from tests.examples import examples
from tests.fakes import FakeEngine

TEXT = "The cat was hungry. Die Möwe schlief!\n\nSo the cat sat on the mat, and ate"


def naive(family: str, context: list[int], target: list[int]) -> float:
    """log P(target | context) by a pass of its own."""
    logprobs = tiny.reference_logprobs(family, [*context, *target])
    rows = logprobs[len(context) - 1 : -1]
    return sum(float(row[id_]) for row, id_ in zip(rows, target, strict=True))


def attribution(engine: LocalEngine, text: str, target: str, bos: str) -> Attribution:
    """Of a part of a text."""
    encoding = engine.encode(text, bos=bos)  # type: ignore[arg-type]
    start = text.rindex(target)
    return Attribution(engine, text, encoding, start, start + len(target))


@pytest.mark.parametrize("family", tiny.FAMILIES)
@given(
    contexts=st.lists(
        st.lists(st.integers(3, 9), min_size=1, max_size=24), min_size=1, max_size=4
    ),
    target=st.lists(st.integers(3, 9), min_size=1, max_size=6),
)
@settings(max_examples=examples(6, 100))
def test_target_logprob_is_that_of_a_fresh_pass(
    family: str, contexts: list[list[int]], target: list[int]
) -> None:
    engine = tiny.engine(family)
    for context in contexts:  # one after the other, with what they share
        found = engine.target_logprob(context, target)
        assert found == pytest.approx(naive(family, context, target), abs=1e-4)


def test_engine_that_reads_one_context_after_another_runs_only_what_differs() -> None:
    engine = tiny.engine("llama")
    ids, runs = list(range(3, 103)), []
    run = engine.backend.hidden_states

    def counted(part, *given, **how):  # type: ignore[no-untyped-def]
        runs.append(len(part))
        return run(part, *given, **how)

    engine.backend.hidden_states = counted  # type: ignore[method-assign]
    for index in range(99, 89, -1):
        engine.target_logprob([*ids[:index], *ids[index + 1 :]], [5])
    # All at first, then what follows the part that is left out (a token at the least).
    assert runs == [99, *range(1, 10)]


def test_effects_are_differences_of_logprobs() -> None:
    for bos in ("yes", "no"):
        subject = attribution(tiny.engine("llama"), TEXT, " mat", bos)
        encoding = tiny.engine("llama").encode(TEXT, bos=bos)  # type: ignore[arg-type]
        prefix, ids = list(encoding.prefix), list(encoding.ids)
        first = next(i for i, s in enumerate(encoding.spans) if s == subject.span)
        target = [ids[first]]
        whole = naive("llama", [*prefix, *ids[:first]], target)
        assert subject.logprob == pytest.approx(whole, abs=1e-4)
        if prefix:
            alone = naive("llama", prefix, target)
            assert subject.logprob_without_all == pytest.approx(alone, abs=1e-4)
        else:
            assert subject.logprob_without_all is None
        effects = list(subject.effects("token"))
        assert [(e.start, e.end) for e in effects[::-1]] == [*encoding.spans[:first]]
        for index, effect in enumerate(reversed(effects)):
            kept = [*prefix, *ids[:index], *ids[index + 1 : first]]
            expected = whole - naive("llama", kept, target)
            assert effect.bits == pytest.approx(expected / LN2, abs=3e-4)


def test_text_without_a_word_is_tokenized_anew() -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, TEXT, " mat", "yes")
    target = engine.encode(" mat").ids
    for effect in subject.effects("word"):
        left = TEXT[: effect.start] + TEXT[effect.end : TEXT.rindex(" mat")]
        context = [*engine.encode(left, bos="yes").prefix, *engine.encode(left).ids]
        expected = naive("llama", context, list(target))
        assert effect.logprob_without == pytest.approx(expected, abs=1e-4)


def test_leaving_out_one_unit_after_another_adds_up_to_all_of_them() -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, TEXT, " mat", "yes")
    encoding = engine.encode(TEXT, bos="yes")
    first = next(i for i, s in enumerate(encoding.spans) if s == subject.span)
    kept, steps, before = list(encoding.ids[:first]), [], subject.logprob
    assert before is not None and subject.logprob_without_all is not None
    while kept:
        kept.pop(len(kept) // 2)
        context = [*encoding.prefix, *kept]
        now = engine.target_logprob(context, [encoding.ids[first]])
        steps.append(before - now)
        before = now
    whole = (subject.logprob or 0) - subject.logprob_without_all
    assert sum(steps) == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("by", ["word", "sentence", "line"])
@given(text=st.text("ab .!\n\t“日", min_size=1, max_size=60))
@settings(max_examples=examples(60, 2000))
def test_units_are_all_of_the_text_but_white_space(by: str, text: str) -> None:
    engine = FakeEngine()
    text += "x"
    encoding = engine.encode(text)
    subject = Attribution(engine, text, encoding, len(text) - 1, len(text))
    units = subject.units(by)  # type: ignore[arg-type]
    ends = [0, *(end for _, end in units)]
    starts = [*(start for start, _ in units), subject.span[0]]
    for end, start in zip(ends, starts, strict=True):
        assert end <= start
        assert not text[end:start].strip()


def test_sentences_and_lines() -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, TEXT, " mat", "no")
    assert [TEXT[a:b] for a, b in subject.units("sentence")] == [
        "The cat was hungry. ",
        "Die Möwe schlief!\n\n",
        "So the cat sat on the",
    ]
    assert [TEXT[a:b] for a, b in subject.units("line")] == [
        "The cat was hungry. Die Möwe schlief!\n\n",
        "So the cat sat on the",
    ]


def test_first_unit_without_which_nothing_is_read_has_no_effect() -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, "cat sat", " sat", "no")
    [effect] = subject.effects("word")
    assert (effect.logprob_without, effect.bits) == (None, None)


def test_context_longer_than_the_models_is_cut_at_its_beginning() -> None:
    engine = tiny.engine("llama", context=16)
    subject = attribution(engine, "the cat sat on the mat " * 20, " mat", "yes")
    assert len(subject.units("token")) == 16 - 1 - 1
    assert len([*subject.effects("word")]) > 2


def test_attribution_ends_within_a_step_of_a_cancellation() -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, TEXT, " mat", "yes")
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 30

    with pytest.raises(Cancelled), cancelled_when(stop):
        list(subject.effects("token"))
    assert len(asked) == 31


def test_place_without_a_token_is_refused() -> None:
    with pytest.raises(LmtuiError, match="there is no token"):
        Attribution(FakeEngine(), "ab", FakeEngine().encode("ab"), 2, 3)


def test_target_that_does_not_fit_is_refused() -> None:
    engine = tiny.engine("llama", context=8)
    with pytest.raises(LmtuiError, match="does not fit the context"):
        engine.target_logprob([5] * 6, [5] * 6)


@pytest.mark.real
def test_effects_of_the_default_model_are_those_of_fresh_passes(
    default_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    engine = LocalEngine(load())
    text = "The cat was hungry. It was raining in Paris. The cat ate the mouse"
    subject = attribution(engine, text, " mouse", "yes")
    effects = list(subject.effects("sentence"))
    for effect in effects:
        left = text[: effect.start] + text[effect.end : -len(" mouse")]
        before = engine.encode(left, bos="yes")
        scored = engine.score(
            engine.encode(" mouse").ids, prefix=(*before.prefix, *before.ids)
        )
        expected = sum(token.logprob or 0.0 for token in scored)
        assert effect.logprob_without == pytest.approx(expected, abs=1e-4)
    strongest = max(effects, key=lambda effect: effect.bits or 0.0)
    assert text[strongest.start : strongest.end] == "The cat ate the"
