"""A text that is edited: its numbers are those of a whole scoring, for little work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from lmtui.cancellation import cancelled_when
from lmtui.editing.scored_text import ScoredText
from lmtui.engine.document.cursor import SearchBudget
from lmtui.engine.document.token_healing import search
from lmtui.engine.document.types import ScoredSpan
from lmtui.engine.engine import LocalEngine
from lmtui.engine.text.tokenizer import TokenBytes
from lmtui.errors import Cancelled
from tests.engine import tiny
from tests.engine.test_families import FAMILIES, SIZE
from tests.examples import examples

Spans = Sequence[tuple[int, int]]
SMALL = 48  # tokens of context, so that a short text has several windows
SURE = math.log(1e-5)  # both searches leave at most a tenth of it unexplored
WORDS = [
    "the cat",
    " sat on",
    " the mat",
    "\n",
    " dog.",
    " ",
    "Möwe",
    "日本",
    "  x",
    "12",
]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=60).map("".join)
edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 4), st.sampled_from(["", *WORDS])),
    min_size=1,
    max_size=4,
)


@contextmanager
def run(family: str = "llama") -> Iterator[list[int]]:
    """The numbers of tokens that go through the layers."""
    lengths: list[int] = []

    def note(_: Any, __: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        lengths.append(hidden.shape[0] * hidden.shape[1])

    model = tiny.model(family)
    layers = model.transformer.h if family == "gpt2" else model.model.layers
    handle = layers[0].register_forward_hook(note)
    try:
        yield lengths
    finally:
        handle.remove()


def scored(engine: LocalEngine, text: str) -> list[float | None]:
    encoding = engine.encode(text)
    return [t.logprob for t in engine.score(encoding.ids, prefix=encoding.prefix)]


def read_up_to(engine: LocalEngine, cursor: int) -> tuple[int, ...]:
    """The ids that the model reads for a prediction at a cursor."""
    spot = engine.document.predictor.scorer.scored_cursor(cursor)
    return (*spot.context, *spot.typed)


def tokens(stretches: list[ScoredSpan]) -> list[Any]:
    return [token for stretch in stretches for token in stretch.tokens]


@given(
    family=st.sampled_from(tiny.FAMILIES),
    text=texts,
    history=edits,
    part=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=examples(24, 400))
def test_score_span_after_edits_equals_scoring_the_whole_text(
    family: str, text: str, history: Any, part: tuple[float, float]
) -> None:
    engine = tiny.engine(family, context=SMALL)
    for place, size, added in history:
        at = round(place * len(text))
        text = text[:at] + added + text[at + size :]
        start, end = sorted(round(p * len(text)) for p in part)
        encoding = engine.encode(text)
        expected = scored(tiny.engine(family, context=SMALL), text)
        engine.document.predict_at(text, at)
        heat = list(engine.document.score_span(text, start, end))
        for stretch in heat:
            for token, span in zip(stretch.tokens, stretch.spans, strict=True):
                assert encoding.spans[token.index] == span
                assert encoding.ids[token.index] == token.id
                assert token.logprob == pytest.approx(expected[token.index], abs=1e-4)
        found = [token.index for token in tokens(heat)]
        assert found == list(whole_characters(encoding.spans, start, end))


def whole_characters(spans: Spans, start: int, end: int) -> range:
    """The tokens of a part, with those that share a character with one of them."""
    found = [i for i, (a, b) in enumerate(spans) if a < end and b > start]
    if not found:
        return range(0)
    first, last = found[0], found[-1] + 1
    while first and spans[first - 1][1] > spans[first][0]:
        first -= 1
    while last < len(spans) and spans[last - 1][1] > spans[last][0]:
        last += 1
    return range(first, last)


@pytest.mark.parametrize("shift", range(4))
def test_scored_spans_never_end_within_a_character(shift: int) -> None:
    engine = tiny.engine()
    text = "x" * shift + " 日本🦉" * 40
    spans = engine.encode(text).spans
    read = engine.document.predict_at(text, len(text)).read
    assert read is not None and read.tokens
    first = read.tokens[0].index
    assert spans[first - 1][1] <= spans[first][0]
    parts = ScoredText(text.split("\n"))
    part = parts.next_span(0, 1, length=30)
    while part is not None:
        for stretch in tiny.engine().document.score_span(text, *part):
            parts.put(stretch)
        part = parts.next_span(0, 1, length=30)
    total = parts.sum()
    assert (total.tokens, total.characters) == (len(spans), len(text) - spans[0][1])
    expected = math.fsum(logprob or 0.0 for logprob in scored(tiny.engine(), text))
    assert total.logprob == pytest.approx(expected, abs=1e-3)


def to_the_end(engine: LocalEngine) -> None:
    """Let it search for as long as there is something to find."""
    engine.document.predictor.budget = SearchBudget(
        least=1e-6, least_scored=1e-6, runs=30
    )


def reference(engine: LocalEngine, text: str, cursor: int, top: int) -> Any:
    """The same answer, each run from the beginning."""
    reader = engine.document.predictor.scorer
    reader.update(text)
    spot = reader.scored_cursor(cursor)
    vocabulary = engine._vocabulary
    size = engine.info.vocabulary
    spelled = TokenBytes(
        [vocabulary.bytes(i) for i in range(size)], vocabulary.specials
    )
    family = engine.info.model.removeprefix("tiny-")
    context, typed = (spot.context, spot.typed) if spot.context else (spot.typed, ())

    def logprobs(paths: list[tuple[int, ...]]) -> list[torch.Tensor]:
        return [
            tiny.reference_logprobs(family, [*context, *path])[-1] for path in paths
        ]

    data = b"".join(map(vocabulary.bytes, typed))
    first = logprobs([()])[0]
    return search(
        spelled, first, data, logprobs, top_n=top, tolerance=1e-6, most_runs=30
    )


@given(
    family=st.sampled_from(tiny.FAMILIES),
    text=texts,
    places=st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
@settings(max_examples=examples(24, 400))
def test_predict_at_equals_a_fresh_run_of_every_path(
    family: str, text: str, places: list[float]
) -> None:
    engine = tiny.engine(family, context=SMALL)
    to_the_end(engine)
    for place in places:
        cursor = round(place * len(text))
        engine.document.predict_at(
            text[:cursor], max(0, cursor - 1), top_n=5
        )  # a letter before
        expectation = engine.document.predict_at(text, cursor, top_n=5)
        if cursor == 0:
            assert expectation.distribution is None
            continue
        expected = reference(engine, text, cursor, 5)
        assert expectation.distribution is not None
        rows = expectation.distribution.candidates
        # What is less probable one search may find and the other leave unexplored.
        found = [row for row in rows if row.logprob > SURE]
        sure = [row for row in expected.rows if row.logprob > SURE]
        assert [row.bytes for row in found if row.id > 2] == [
            row.beyond for row in sure if row.special is None
        ]
        assert [row.logprob for row in found] == pytest.approx(
            [row.logprob for row in sure], abs=1e-3
        )
        total = sum(row.prob for row in rows) + expectation.distribution.rest_prob
        assert total == pytest.approx(1, abs=1e-5)


TEXT = "the quick brown fox jumps over the lazy dog. the cat sat on the mat "


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_prediction_at_a_scored_place_runs_no_forward_pass(family: str) -> None:
    engine = tiny.engine(family)
    list(engine.document.score_span(TEXT, 0, len(TEXT)))
    engine.document.predict_at(TEXT, len(TEXT))
    engine.document.predictor.budget = SearchBudget(
        least=1e-3, least_scored=1.0, runs=2
    )
    with run(family) as lengths:
        for _, end in engine.encode(TEXT).spans:
            assert engine.document.predict_at(TEXT, end).distribution is not None
        assert list(engine.document.score_span(TEXT, 0, len(TEXT)))
    assert lengths == []


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_typing_at_the_end_runs_only_changed_tokens(family: str) -> None:
    engine = tiny.engine(family)
    engine.document.predictor.budget = SearchBudget(least=1.0, least_scored=1.0, runs=2)
    engine.document.predict_at(TEXT, len(TEXT))
    for size in range(1, 12):
        text = TEXT + "and the dog"[:size]
        with run(family) as lengths:
            engine.document.predict_at(text, len(text))
            list(engine.document.score_span(text, len(TEXT), len(text)))
        assert sum(lengths) <= 6
        encoding = engine.encode(text)
        whole = (*encoding.prefix, *encoding.ids)
        assert read_up_to(engine, len(text)) == whole


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_one_more_letter_takes_one_forward_pass(family: str) -> None:
    engine = tiny.engine(family)
    engine.document.predictor.budget = SearchBudget(
        least=1e-6, least_scored=1e-6, runs=1
    )
    _ = engine.backend.reads_trees  # found out only once
    engine.document.predict_at(TEXT + "q", len(TEXT) + 1)
    for size in range(2, 6):
        text = TEXT + "quick"[:size]
        with run(family) as lengths:
            assert engine.document.predict_at(text, len(text)).distribution
        assert len(lengths) == 1


def test_prediction_at_an_earlier_place_keeps_the_prefix_cache() -> None:
    engine = tiny.engine()
    engine.document.predict_at(TEXT, len(TEXT))
    held = list(engine.cache.ids)
    engine.document.predict_at(TEXT, TEXT.index("ick"))
    assert engine.cache.ids == held
    text = TEXT + "a"
    with run() as lengths:
        engine.document.predict_at(text, len(text))
    assert lengths[0] <= 3


def test_scoring_another_window_keeps_the_prefix_cache() -> None:
    engine = tiny.engine(context=SMALL)
    text = TEXT * 4
    engine.document.predict_at(text, len(text))
    held = list(engine.cache.ids)
    list(engine.document.score_span(text, 0, len(text) // 2))
    assert engine.cache.ids == held


def test_cancelled_score_span_is_resumed() -> None:
    engine = tiny.engine()
    text = TEXT * 10
    seen: list[ScoredSpan] = []
    with pytest.raises(Cancelled), cancelled_when(lambda: bool(seen)):
        for stretch in engine.document.score_span(text, 0, len(text)):
            seen.append(stretch)
    assert seen
    with run() as lengths:
        again = list(engine.document.score_span(text, 0, len(text)))
    assert len(tokens(again)) == len(engine.encode(text).ids)
    assert sum(lengths) <= len(tokens(again)) - len(tokens(seen)) + 1


def test_scores_outlive_their_evicted_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmtui.engine.document.scorer._STATE_BYTES", 70 * 32 * 4)
    engine = tiny.engine(context=SMALL)
    text = TEXT * 6
    expected = scored(tiny.engine(context=SMALL), text)
    for _ in range(2):
        found = tokens(list(engine.document.score_span(text, 0, len(text))))
        assert [t.logprob for t in found[1:]] == pytest.approx(expected[1:], abs=1e-4)
    assert len(engine.document.predictor.scorer._states) <= 70


def test_predict_at_never_exceeds_the_context() -> None:
    most = 64
    engine = tiny.engine("gpt2", context=most)
    text = TEXT * 8
    spans = engine.encode(text).spans
    for index in range(most - 3, most + 2):
        typed = text[: spans[index][1]] + "zqzqzqzqzqzq"
        expectation = engine.document.predict_at(typed, len(typed))
        assert expectation.distribution is not None
        assert len(read_up_to(engine, len(typed))) <= most


def test_model_without_rollback_scores_like_the_whole_text() -> None:
    config = AutoConfig.for_model(
        "mamba2", **(SIZE | FAMILIES["mamba2"] | {"vocab_size": 400})
    )
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    engine = LocalEngine(replace(tiny.loaded(), model=made))
    text = TEXT + "qu"
    for cursor in (len(text), len(TEXT), 20):
        assert engine.document.predict_at(text, cursor).distribution is not None
        heat = tokens(list(engine.document.score_span(text, 0, len(text))))
        expected = scored(engine, text)
        assert [t.logprob for t in heat[1:]] == pytest.approx(expected[1:], abs=1e-4)


@given(text=texts, place=st.floats(0, 1))
@settings(max_examples=examples(15, 400))
def test_following_token_has_the_logprob_of_its_row(text: str, place: float) -> None:
    engine = tiny.engine()
    cursor = round(place * len(text))
    expectation = engine.document.predict_at(text, cursor, top_n=1000)
    following, after = expectation.following, text[cursor:].encode()
    if following is None:
        assert not after or expectation.distribution is None
        return
    data = following.bytes
    assert data
    assert after.startswith(data)
    assert expectation.distribution is not None
    rows = expectation.distribution.candidates
    row = next(c for c in rows if c.bytes == data and c.id > 2)
    assert row.logprob == following.logprob


def test_predict_at_returns_the_scores_of_typed_tokens() -> None:
    engine = tiny.engine()
    expected = scored(engine, TEXT)
    known: dict[int, float | None] = {}
    for end in range(1, len(TEXT) + 1):
        if read := engine.document.predict_at(TEXT[:end], end).read:
            known |= {token.index: token.logprob for token in read.tokens}
    count = len(expected) - 1  # the space at the end is still being typed
    assert known.pop(0) is None
    assert [known[i] for i in range(1, count)] == pytest.approx(
        expected[1:count], abs=1e-4
    )


@pytest.mark.parametrize("text", ["", "the cat"])
def test_predict_at_the_beginning_has_no_distribution(text: str) -> None:
    expectation = tiny.engine().document.predict_at(text, 0)
    assert expectation.distribution is None
    assert expectation.typed == ""
    assert expectation.following is None


def test_the_first_word_is_context_and_not_healed() -> None:
    engine = tiny.engine()
    expectation = engine.document.predict_at("the", 3)
    row = tiny.reference_logprobs("llama", list(engine.encode("the").ids))[-1]
    assert expectation.distribution is not None
    best = expectation.distribution.candidates[0]
    assert best.logprob == pytest.approx(float(row.max()), abs=1e-4)
    assert expectation.typed == "the"
