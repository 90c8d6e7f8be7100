"""A draft is scored as it grows, with the numbers of a whole scoring."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from tests.byte_level import SPECIALS
from tests.engine import tiny
from tests.engine.test_prefix_cache import counted
from tests.examples import examples

PLAIN = SamplingSettings()
BEFORE = [ChatTurn("user", "the cat"), ChatTurn("assistant", "sat on")]

drafts = st.lists(
    st.text(st.sampled_from("the cat \né日👩<|"), max_size=30), min_size=1, max_size=6
)


@given(history=drafts)
@settings(max_examples=examples(12, 300))
def test_growing_draft_has_the_scores_of_a_whole_scoring(history: list[str]) -> None:
    engine = tiny.engine()
    for draft in history:
        trace = engine.score_draft(BEFORE, draft, PLAIN)
        context, ids = engine.prompts.draft(BEFORE, draft)
        assert [t.id for t in trace.tokens] == ids
        for traced, scored in zip(
            trace.tokens, engine.score(ids, prefix=context), strict=True
        ):
            assert traced.logprob == pytest.approx(scored.logprob, abs=1e-4)
            assert traced.entropy == pytest.approx(scored.entropy, abs=1e-3)
            assert traced.varentropy == pytest.approx(scored.varentropy, abs=1e-3)
        expected = tiny.engine().next_distribution([*context, *ids], PLAIN)
        assert [c.logprob for c in trace.distribution.candidates] == pytest.approx(
            [c.logprob for c in expected.candidates], abs=1e-4
        )


def test_keystroke_runs_only_changed_tokens() -> None:
    engine = tiny.engine()
    engine.score_draft(BEFORE, "the quick brown", PLAIN)
    with counted(tiny.model()) as lengths:
        engine.score_draft(BEFORE, "the quick brown fox", PLAIN)
    assert sum(lengths) <= 4
    with counted(tiny.model()) as lengths:
        engine.score_draft(BEFORE, "the quick brown fox", PLAIN)
    assert lengths == []


def test_keys_within_words_run_one_pass_each() -> None:
    engine, draft = tiny.engine(), "the quick brown fox jumps over the lazy dog"
    engine.score_draft(BEFORE, "", PLAIN)
    with counted(tiny.model()) as lengths:
        for end in range(1, len(draft) + 1):
            engine.score_draft(BEFORE, draft[:end], PLAIN)
    assert len(lengths) <= 1.2 * len(draft)


@pytest.mark.parametrize("draft", ["", " ", "\n\n", "x", f"a{SPECIALS[2]}b <think>"])
def test_the_draft_stands_in_an_open_turn_of_the_user(draft: str) -> None:
    engine = tiny.engine()
    context, ids = engine.prompts.draft(BEFORE, draft)
    text = tiny.tokenizer().decode([*context, *ids])
    assert text.endswith(f"<|im_start|>user\n{draft}")
    assert not {0, 1, 2, len(tiny.tokenizer()) - 1} & set(ids)


def test_draft_scores_survive_a_generation_in_between() -> None:
    engine = tiny.engine()
    first = engine.score_draft(BEFORE, "the quick", PLAIN)
    list(engine.generate(engine.prompt(BEFORE), SamplingSettings(max_tokens=3)))
    again = engine.score_draft(BEFORE, "the quick", PLAIN)
    assert again.tokens == first.tokens
    assert [c.id for c in again.distribution.candidates] == [
        c.id for c in first.distribution.candidates
    ]


def test_a_draft_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LmtuiError, match="does not fit"):
        tiny.engine(context=30).score_draft(BEFORE, "the cat " * 30, PLAIN)


def test_distribution_within_a_draft_follows_its_prefix() -> None:
    engine, draft = tiny.engine(), "the quick brown fox 日 jumps"
    context, ids = engine.prompts.draft(BEFORE, draft)
    for upto in (len(ids), 3, 0, 4):
        trace = engine.score_draft(BEFORE, draft, PLAIN, prefix_len=upto)
        assert [token.id for token in trace.tokens] == ids
        expected = tiny.engine().next_distribution([*context, *ids[:upto]], PLAIN)
        assert [c.logprob for c in trace.distribution.candidates] == pytest.approx(
            [c.logprob for c in expected.candidates], abs=1e-4
        )
        if upto < len(ids):
            chosen = [c for c in engine.preview(
                trace.distribution.handle, PLAIN, count=tiny.engine().info.vocabulary
            ).candidates if c.id == ids[upto]]  # fmt: skip
            assert chosen[0].logprob == pytest.approx(
                trace.tokens[upto].logprob, abs=1e-4
            )


def test_walking_back_through_a_draft_runs_few_tokens() -> None:
    engine, draft = tiny.engine(), "the quick brown fox jumps over the lazy dog"
    count = len(engine.score_draft(BEFORE, draft, PLAIN).tokens)
    for upto in range(count - 1, count - 4, -1):
        with counted(tiny.model()) as lengths:
            engine.score_draft(BEFORE, draft, PLAIN, prefix_len=upto)
        assert sum(lengths) <= 2
