"""The page of decoding: each number beside the model's, the tree, loops and cuts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui import notation
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Prompt,
    ScoredToken,
    Step,
)
from lmtui.learn.beam import beam_search
from lmtui.learn.figure import ShadedText, Table
from lmtui.learn.instrument import Measurement
from lmtui.learn.instruments.branch_tree import Tokens, tree_lines
from lmtui.learn.instruments.continuations import DecodingInstrument
from lmtui.learn.loops import find_loop
from tests.engine import tiny
from tests.fakes import FakeEngine
from tests.learn.instruments import answer, bars_of, made, parts_of, texts_of

TEXT = "the cat sat on"


def shown(engine: Any, **options: Any) -> DecodingInstrument:
    instrument = made(DecodingInstrument, **{"text": TEXT, "tokens": 8, **options})
    answer(engine, instrument.begin())
    return instrument


def tree_of(instrument: DecodingInstrument) -> Table:
    tables = parts_of(instrument, Table)
    return next(table for table in tables if table.columns[1].heading == "by")


def numbers(instrument: DecodingInstrument) -> dict[str, tuple[str, str]]:
    """Σ log P and the mean, by the way of decoding."""
    rows = tree_of(instrument).rows
    return {r[1].text: (r[2].text, r[3].text) for r in rows if r[1].text}


def steps_of(engine: LocalEngine, settings: SamplingSettings) -> list[Step]:
    ids = engine.encode(TEXT).ids
    steps = engine.generate(Prompt(ids, TEXT), settings)
    return [step for step in steps if isinstance(step, Step)]


def reference_sum(engine: LocalEngine, more: list[int]) -> float:
    """Σ log P of tokens after the text, the naive way."""
    ids = list(engine.encode(TEXT).ids)
    rows = tiny.reference_logprobs("llama", [*ids, *more])[len(ids) - 1 :]
    return math.fsum(float(rows[n, token]) for n, token in enumerate(more))


def sampled_with(**changes: Any) -> SamplingSettings:
    plain = SamplingSettings(
        temperature=1, top_k=5, top_p=1, min_p=0, seed=1, max_tokens=8
    )
    return replace(plain, **changes)


def test_three_branches_have_the_sums_of_the_model(engine: LocalEngine) -> None:
    instrument = shown(engine)
    *_, beam = beam_search(engine, engine.encode(TEXT).ids, width=4, count=8)
    branches = {
        "greedy": [step.id for step in steps_of(engine, sampled_with(temperature=0))],
        "sampled": [step.id for step in steps_of(engine, sampled_with())],
        "beam": list(beam[0].ids),
    }
    shown_numbers = numbers(instrument)
    assert shown_numbers.keys() == branches.keys()
    for way, ids in branches.items():
        total = reference_sum(engine, ids)
        mean = total / len(ids)
        written = [float(n.replace("−", "-")) for n in shown_numbers[way]]
        assert written == pytest.approx([total, mean], abs=0.0051)


def test_beam_and_greedy_are_compared_in_words(engine: LocalEngine) -> None:
    *_, beam = beam_search(engine, engine.encode(TEXT).ids, width=4, count=8)
    greedy = [step.id for step in steps_of(engine, sampled_with(temperature=0))]
    gain = beam[0].total - reference_sum(engine, greedy)
    assert list(beam[0].ids) != greedy
    note = tree_of(shown(engine)).note
    assert f"{notation.perplexity(math.exp(abs(gain)))} times as probable" in note
    assert ("lost" in note) == (gain < 0)
    assert "the same text" in tree_of(shown(engine, width=1)).note


def test_nothing_is_done_by_opening_the_page(engine: LocalEngine) -> None:
    instrument = shown(engine)
    assert instrument.done == set()
    answer(engine, instrument.submit(TEXT))
    assert instrument.done == set()
    answer(engine, instrument.submit("the dog"))
    assert instrument.done == {"three"}
    assert tree_of(instrument).title == "After “the dog”"


def test_sample_is_drawn_with_the_top_p_of_the_slider(engine: LocalEngine) -> None:
    instrument = shown(engine)
    for _ in range(4):
        answer(engine, instrument.slide(-1))
    assert "top-p 1, seed 1" in tree_of(instrument).note  # of the sample that is there
    answer(engine, instrument.act("again"))
    assert "top-p 0.7, seed 2" in tree_of(instrument).note
    steps = steps_of(engine, sampled_with(seed=2, top_p=0.7))
    total = math.fsum(step.logprob or 0 for step in steps)
    assert numbers(instrument)["sampled"][0] == notation.log_prob(total)


def test_bars_show_what_is_cut(engine: LocalEngine) -> None:
    instrument = shown(engine)
    assert {row[-1] for row in texts_of(bars_of(instrument))} == {"", "top-k"}
    for _ in range(7):
        answer(engine, instrument.slide(-1))
    bars = bars_of(instrument)
    ids = engine.encode(TEXT).ids
    wanted = engine.next_distribution(ids, sampled_with(top_p=0.1), top_n=7)
    pairs = [(row.prob, row.sampled_prob) for row in wanted.candidates]
    assert [cells[1].bar for cells in bars.rows[:-1]] == pairs
    assert {row[-1] for row in texts_of(bars)} == {"", "top-p", "top-k"}
    assert instrument.figure[0] == bars  # on top, since it was asked for
    assert f"leaves {wanted.remaining:,} of {wanted.vocabulary:,}" in bars.title
    assert notation.percent(1 - wanted.remaining_prob) in bars.note
    assert instrument.done == {"cut"}
    assert instrument.slide(-1) is None
    assert "least top-p" in instrument.message


def test_long_continuation_and_its_loop(engine: LocalEngine) -> None:
    instrument = shown(engine, long=60)
    answer(engine, instrument.act("long"))
    steps = steps_of(engine, sampled_with(temperature=0, max_tokens=60))
    (shaded,) = parts_of(instrument, ShadedText)
    assert [token.text for token in shaded.tokens] == [step.text for step in steps]
    assert [token.logprob for token in shaded.tokens] == [s.logprob for s in steps]
    loop = find_loop([step.id for step in steps])
    assert "long" in instrument.done
    assert ("loop" in instrument.done) == (loop is not None)
    first = instrument.figure[0]
    if loop is None:
        assert first.text == f"No loop in these {len(steps)} tokens."
    else:
        assert f"{loop.covered} of {len(steps)} tokens" in first.text


class Interrupted(Exception):
    """Something else takes the place of a measurement."""


def interrupt(engine: Any, measurement: Measurement | None, after: int) -> None:
    assert measurement is not None
    reports = iter(range(after))

    class Context:
        """A context that breaks off."""

        def gather(self, value: Any) -> None:
            measurement.on_report(value)
            if next(reports, None) is None:
                raise Interrupted

    with pytest.raises(Interrupted):
        measurement.run(engine, Context())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "action"), [(1, "again"), (12, "long"), (20, "slide"), (5, "slide")]
)
def test_what_was_interrupted_is_finished(
    engine: LocalEngine, after: int, action: str
) -> None:
    instrument = made(DecodingInstrument, text=TEXT, tokens=8)
    instrument.begin()
    interrupt(engine, instrument.submit("the dog"), after)
    assert "three" not in instrument.done
    assert list(numbers(instrument).values()).count(("…", "…")) == 1  # not whole
    assert "probable" not in tree_of(instrument).note
    going_on = instrument.slide(-1) if action == "slide" else instrument.act(action)
    answer(engine, going_on)
    assert "three" in instrument.done
    whole = made(DecodingInstrument, text="the dog", tokens=8)
    answer(engine, whole.begin())
    expected = numbers(whole)
    found = numbers(instrument)
    assert found["greedy"] == expected["greedy"]
    assert found["beam"] == expected["beam"]
    assert (found["sampled"] == expected["sampled"]) == (action != "again")


def test_sums_that_a_server_does_not_tell_are_dashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeEngine([["a", "b"], ["c", "d"], ["e", "f"]])
    generate = fake.generate

    def untold(*arguments: Any, **options: Any) -> Any:
        for item in generate(*arguments, **options):
            first = isinstance(item, Step) and item.index == 0
            yield replace(item, logprob=None, rank=None) if first else item

    monkeypatch.setattr(fake, "generate", untold)
    instrument = shown(fake)
    assert numbers(instrument)["greedy"] == numbers(instrument)["sampled"] == ("–", "–")
    assert "probable" not in tree_of(instrument).note
    answer(fake, instrument.act("long"))
    (shaded,) = parts_of(instrument, ShadedText)
    assert shaded.tokens[0].logprob is None


# The tree.


def leaf_of(name: str, text: str) -> tuple[str, Tokens]:
    return name, [
        ScoredToken(n, ord(c), c, c.encode(), None, None, None)
        for n, c in enumerate(text)
    ]


def drawn(*leaves: tuple[str, Tokens]) -> list[tuple[str, str | None]]:
    return list(tree_lines(leaves))


def test_equal_and_shorter_continuations_have_their_names() -> None:
    assert drawn(leaf_of("a", "one"), leaf_of("b", "one"), leaf_of("c", "one two")) == [
        ("one", "a"),
        ("│", "b"),
        ("└─ two", "c"),
    ]


@given(st.lists(st.text("ab", max_size=60), min_size=1, max_size=4))
def test_each_continuation_can_be_read_from_the_tree(texts: list[str]) -> None:
    leaves = [leaf_of(str(number), text) for number, text in enumerate(texts)]
    lines = drawn(*leaves)
    assert sorted(n for _, n in lines if n) == sorted(name for name, _ in leaves)
    written: dict[str, str] = {}
    stack: list[tuple[int, str]] = [(-1, "")]
    for text, name in lines:
        content = text.lstrip("│├└─ ")
        depth = (len(text) - len(content)) // 3 if content else (len(text) + 2) // 3
        begins = "├" in text or "└" in text
        while begins and stack[-1][0] >= depth:
            stack.pop()
        before = stack[-1][1]
        if begins or len(stack) == 1:
            stack.append((depth, before + content))
        else:
            stack[-1] = stack[-1][0], before + content
        if name:
            written[name] = stack[-1][1]
    assert written == {
        name: text for (name, _), text in zip(leaves, texts, strict=True)
    }
