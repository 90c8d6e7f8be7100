"""The page of one pass: its grid beside the naive forward, its mask and its counter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lmtui import notation
from lmtui.engine.engine import LocalEngine
from lmtui.engine.types import Distribution
from lmtui.learn.figure import Table
from lmtui.learn.instruments.passes import PassesInstrument
from lmtui.text import visible_token
from tests.engine import tiny
from tests.fakes import FakeEngine
from tests.learn.instruments import answer, column, made, parts_of, words_of

TEXT = "the cat sat on the mat and the dog"
WORDS = "the cat"
"""Its first two words, after which as many tokens are generated."""


def shown(engine: Any, text: str = TEXT) -> PassesInstrument:
    instrument = made(PassesInstrument, text=text)
    answer(engine, instrument.begin())
    return instrument


def tables(instrument: PassesInstrument) -> tuple[Table, Table]:
    grid, mask = parts_of(instrument, Table)
    return grid, mask


def marks(instrument: PassesInstrument) -> list[str]:
    """Which rows are the same, and which are new."""
    return [cells[0].text for cells in tables(instrument)[0].rows]


def test_grid_is_that_of_one_naive_forward(engine: LocalEngine) -> None:
    grid, _ = tables(shown(engine))
    ids = list(engine.encode(TEXT).ids)
    logprobs = tiny.reference_logprobs("llama", ids)
    texts = [visible_token(t.text)[:10] for t in engine.describe_tokens(ids)]
    assert column(grid, "after") == texts[:-1]
    assert column(grid, "came") == texts[1:]
    assert column(grid, "with") == [
        notation.percent(math.exp(float(logprobs[n, token])))
        for n, token in enumerate(ids[1:])
    ]
    for n, written in enumerate(column(grid, "expected")):
        top = logprobs[n].topk(3)
        parts = []
        for value, token in zip(top.values.tolist(), top.indices.tolist(), strict=True):
            (described,) = engine.describe_tokens([token])
            mark = "●" if token == ids[n + 1] else ""
            name = visible_token(described.text)[:10]
            parts.append(f"{mark}{name} {notation.percent(math.exp(value))}")
        assert written == " │ ".join(parts)


def test_scoring_is_one_call_and_generating_is_one_for_each_token(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int]] = []

    def counted(name: str) -> Callable[..., Any]:
        verb = getattr(engine, name)

        def call(ids: Any, *arguments: Any, **options: Any) -> Any:
            calls.append((name, len(ids)))
            return verb(ids, *arguments, **options)

        return call

    for name in ("score", "next_distribution", "generate"):
        monkeypatch.setattr(engine, name, counted(name))
    instrument = shown(engine)
    tokens = len(engine.encode(TEXT).ids)
    assert calls == [("score", tokens)]
    assert f"All at once: {tokens - 1} positions, 1 pass, " in words_of(instrument)
    calls.clear()
    answer(engine, instrument.act("generate"))
    begun = len(engine.encode(WORDS).ids)
    lengths = range(begun, begun + tokens - 1)
    ones = [("next_distribution", length) for length in lengths]
    assert calls == [("score", tokens), *ones]
    written = words_of(instrument)
    count = tokens - 1
    assert f"One by one: {count} of {count} tokens, {count} passes, " in written
    assert "times as long" in written
    assert instrument.done == {"generated"}


def test_later_word_changes_no_earlier_row(engine: LocalEngine) -> None:
    instrument = shown(engine)
    before = column(tables(instrument)[0], "expected")
    changed = TEXT.replace("mat", "dog")
    answer(engine, instrument.submit(changed))
    old, new = engine.encode(TEXT).ids, engine.encode(changed).ids
    shared = next(
        n for n, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]
    )
    found = marks(instrument)
    assert found[:shared] == ["same"] * shared
    assert set(found[shared:]) == {"new"}
    assert (
        column(tables(instrument)[0], "expected")[: shared - 1] == before[: shared - 1]
    )
    assert instrument.done == {"mask"}
    assert f"{shared} positions with the same numbers" in tables(instrument)[0].note


@pytest.mark.parametrize("words", [" dog and cat", ""])
def test_rounding_of_a_longer_or_shorter_pass_makes_no_row_new(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    score = engine.score

    def rounded(ids: Any, **options: Any) -> Any:
        """Scores that are off by an amount that depends on the number of tokens."""
        off = 0.02 * (len(ids) % 7)
        for token in score(ids, **options):
            top = [row._replace(logprob=row.logprob - off) for row in token.top]
            yield replace(token, top=tuple(top))

    monkeypatch.setattr(engine, "score", rounded)
    instrument = shown(engine)
    changed = TEXT.replace(" mat", words)
    answer(engine, instrument.submit(changed))
    old, new = engine.encode(TEXT).ids, engine.encode(changed).ids
    assert (len(old) - len(new)) % 7
    shared = next(
        n for n, ids in enumerate(zip(old, new, strict=False)) if ids[0] != ids[1]
    )
    found = marks(instrument)
    assert found[:shared] == ["same"] * shared
    assert set(found[shared:]) == {"new"}
    assert "scored again at the length of this one" in tables(instrument)[0].note
    answer(engine, instrument.submit(changed.replace("cat", "dog")))
    assert "scored again" not in tables(instrument)[0].note


def test_marks_follow_the_keys_and_compare_with_what_was_entered(
    engine: LocalEngine,
) -> None:
    instrument = shown(engine)
    answer(engine, instrument.follow(f"{TEXT} sat"))
    assert set(marks(instrument)[: len(engine.encode(TEXT).ids) - 1]) == {"same"}
    answer(engine, instrument.follow(TEXT.replace("cat", "dog")))
    assert {"same", "new"} == set(marks(instrument))
    assert instrument.done == {"typed"}
    answer(engine, instrument.follow(TEXT))
    assert set(marks(instrument)) <= {"same", ""}


def test_text_of_the_page_is_compared_with_where_its_measurement_was_ended(
    engine: LocalEngine,
) -> None:
    instrument = made(PassesInstrument, text=TEXT)
    assert instrument.begin() is not None  # what is typed takes its place
    changed = TEXT.replace("mat", "dog")
    for typed in (TEXT.replace(" mat", ""), TEXT.replace("mat", "do")):
        answer(engine, instrument.follow(typed))
    answer(engine, instrument.submit(changed))
    usual = shown(engine)
    answer(engine, usual.submit(changed))
    assert marks(instrument) == marks(usual)
    assert instrument.done == {"typed", "mask"}


@pytest.mark.parametrize("text", ["", "word " * 300])
def test_text_of_the_page_that_can_not_be_scored_is_not_compared_with(
    engine: LocalEngine, text: str
) -> None:
    instrument = made(PassesInstrument, text=text)
    instrument.begin()
    answer(engine, instrument.submit(TEXT))
    assert len(tables(instrument)[0].columns) == 5
    answer(engine, instrument.submit(TEXT.replace("mat", "dog")))
    assert instrument.done == {"mask"}


def test_last_word_alone_does_not_show_the_mask(engine: LocalEngine) -> None:
    instrument = shown(engine, "the cat sat on the dog")
    answer(engine, instrument.submit("the cat sat on the cat"))
    assert instrument.done == set()
    assert set(marks(instrument)) == {"same"}
    answer(engine, instrument.submit("the cat sat on the cat"))
    assert instrument.done == set()


def test_mask_is_a_triangle(engine: LocalEngine) -> None:
    _, mask = tables(shown(engine))
    assert [cells[-1].text for cells in mask.rows] == [
        "■" * number + "·" * (8 - number) for number in range(1, 9)
    ]
    assert column(mask, "looks at") == ["1", *(f"1 to {n}" for n in range(2, 9))]


def test_prefix_of_the_model_is_a_row_of_its_own() -> None:
    fake = FakeEngine(adds_bos=True)
    grid, _ = tables(shown(fake, "abc"))
    assert column(grid, "came") == ["a", "b", "c"]
    assert len(tables(shown(FakeEngine(), "abc"))[0].rows) == 2


def test_times_are_those_that_were_measured(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])
    score, look = engine.score, engine.next_distribution

    def slow_score(*arguments: Any, **options: Any) -> Any:
        clock["now"] += 0.050
        return score(*arguments, **options)

    def slow_look(*arguments: Any, **options: Any) -> Distribution:
        clock["now"] += 0.030
        return look(*arguments, **options)

    monkeypatch.setattr(engine, "score", slow_score)
    monkeypatch.setattr(engine, "next_distribution", slow_look)
    instrument = shown(engine)
    assert "1 pass, 50 ms." in words_of(instrument)
    answer(engine, instrument.act("generate"))
    count = len(engine.encode(TEXT).ids) - 1
    assert f"{count * 30:,} ms: {count * 30 / 50:,.1f} times as long." in words_of(
        instrument
    )


def test_generated_text_is_greedy(engine: LocalEngine) -> None:
    instrument = shown(engine)
    answer(engine, instrument.act("generate"))
    ids, begun = list(engine.encode(TEXT).ids), engine.encode(WORDS).ids
    made_ids: list[int] = []
    for _ in ids[1:]:
        row = tiny.reference_logprobs("llama", [*begun, *made_ids])[-1]
        made_ids.append(int(row.argmax()))
    text = "".join(token.text for token in engine.describe_tokens(made_ids))
    assert " ".join(text.split())[-39:] in words_of(instrument)
