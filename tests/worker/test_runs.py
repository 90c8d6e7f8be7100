"""What the worker runs: generations, and answers in parts that can be interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lmtui.cancellation import cancelled_when, never
from lmtui.engine.document.types import ProofreadPart
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.scoring.passages import (
    DocumentSpan,
    TextInContext,
    WholeDocument,
    tokenize_document,
)
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import Cancelled, LmtuiError
from lmtui.worker.events import CountReported, PromptReady
from lmtui.worker.generation import run_generation, run_replies
from lmtui.worker.partial_answers import (
    emit_each,
    lens_parts,
    proofread_parts,
    score_parts,
)
from lmtui.worker.requests import Context
from lmtui.worker.stale_handles import of_position
from tests.fake_writing import FakeWriter

HELLO = (ChatTurn("user", "hello"),)
PLAIN = SamplingSettings(seed=1)
ANSWER = "one two three four"
TEXT = "the cat sat on the mat"


class Reports:
    """A `Context` that stores what is reported."""

    stopped = staticmethod(never)

    def __init__(self) -> None:
        self.all: list[Any] = []

    def emit(self, *values: Any) -> None:
        self.all += values

    gather = emit


def generated(engine: FakeWriter, start: Any, **how: Any) -> tuple[list[Any], Any]:
    """What a generation reports, and what it returns."""
    reports = Reports()
    return reports.all, run_generation(engine, reports, start, PLAIN, **how)


def test_a_generation_reports_from_prompt_to_end() -> None:
    (ready, read, *steps), done = generated(FakeWriter([ANSWER]), HELLO)
    assert (ready.prompt.text, ready.left_out) == ("user: hello\nassistant: ", 0)
    assert read == CountReported(len(ready.prompt.ids), len(ready.prompt.ids))
    assert "".join(step.piece for step in steps) == ANSWER
    assert done.reason is FinishReason.STOP and done.tokens == len(steps)


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (HELLO, "user: hello\nassistant: <|end|>"),
        (Prompt((104, 105), "hi"), "hi<|end|>"),
    ],
)
def test_an_answer_begins_with_its_prefill_which_is_text(start: Any, text: str) -> None:
    reports = Reports()
    run_replies(FakeWriter([ANSWER]), reports, start, [PLAIN], prefill="<|end|>")
    assert reports.all[0] == PromptReady(Prompt(tuple(text.encode()), text), 0)


def test_versions_come_as_they_are_drawn_and_a_stop_ends_them_all() -> None:
    asked = [replace(PLAIN, seed=seed) for seed in (1, 2)]
    engine, reports = FakeWriter(["a b c d", "e f g h"]), Reports()
    with cancelled_when(lambda: len(reports.all) >= 2 + 4):
        run_replies(engine, reports, HELLO, asked)
    ready, _, *items = reports.all
    assert isinstance(ready, PromptReady)
    assert [row for row, item in items if isinstance(item, Step)] == [0, 1, 0, 1]
    ends = [item.reason for _, item in items if isinstance(item, GenerationResult)]
    assert ends == [FinishReason.CANCELLED] * 2


def whole_part(engine: FakeWriter, end: int) -> DocumentSpan:
    windows = engine.info.windows()
    return DocumentSpan(engine.encode(TEXT).ids, (), windows, start=0, end=end)


def interrupted(engine: FakeWriter, run: Callable[[Engine, Context], Any]) -> list[Any]:
    """What a request reports that is interrupted after two reports; then, after None,
    what it reports when it runs again."""
    reports = Reports()
    with pytest.raises(Cancelled), cancelled_when(lambda: len(reports.all) == 2):
        run(engine, reports)
    reports.emit(None)
    run(engine, reports)
    return reports.all


def test_an_interrupted_lens_goes_on_behind_its_last_column() -> None:
    engine, end = FakeWriter(), len(TEXT) + 1
    columns = interrupted(engine, lens_parts(whole_part(engine, end)))
    assert [column and column.index for column in columns] == [
        0,
        1,
        None,
        *range(2, end),
    ]
    assert [what for _, what in engine.calls] == [(*range(end),), (*range(2, end),)]


def test_interrupted_proofreading_goes_on_after_the_last_part() -> None:
    parts = [ProofreadPart(end, ()) for end in (4, 8, len(TEXT))]
    engine = FakeWriter(parts=parts)
    found = interrupted(engine, proofread_parts(TEXT, 0, len(TEXT)))
    assert found == [*parts[:2], None, parts[2]]


def test_an_interrupted_score_of_a_part_begins_anew() -> None:
    engine = FakeWriter()
    tokens = interrupted(engine, score_parts(whole_part(engine, 9)))
    assert [token and token.index for token in tokens] == [0, 1, None, *range(9)]


def test_a_part_of_a_document_is_scored_token_by_token() -> None:
    engine, reports = FakeWriter(adds_bos=True, context=7), Reports()
    document = tokenize_document(engine, WholeDocument("naïve text"))
    ids, prefix = document.encoding.ids, document.encoding.prefix
    scored = list(engine.score(ids, prefix=prefix, top_n=3))
    assert [t.bytes for t in document.tokens] == [t.bytes for t in scored]
    assert all(token.logprob is None for token in document.tokens)
    assert document.windows == engine.info.windows(1)
    _, (_, end, since), *_ = document.windows.over(len(ids))
    part = DocumentSpan(ids, prefix, document.windows, since, end, top_n=3)
    assert list(score_parts(part)(engine, reports)) == scored[since:end] == reports.all


def test_a_message_is_scored_as_the_draft_it_was_and_reports_no_part() -> None:
    engine, reports = FakeWriter(), Reports()
    looked = engine.score_draft(HELLO, "why?", PLAIN)
    assert score_parts(TextInContext(HELLO, "why?"))(engine, reports) == looked.tokens
    assert not reports.all


def test_span_scores_cover_the_span() -> None:
    reports = Reports()
    run = emit_each(lambda engine: engine.document.score_span(TEXT, 4, 22))
    run(FakeWriter(), reports)
    assert len(reports.all) > 1
    tokens = [token for part in reports.all for token in part.tokens]
    assert "".join(token.text for token in tokens) == TEXT[4:22]


def test_the_error_of_an_unknown_position_is_the_one_that_was_given() -> None:
    run = of_position(lambda engine: engine.preview(12345, PLAIN), "gone", "Come back.")
    with pytest.raises(LmtuiError) as caught:
        run(FakeWriter(), Reports())
    assert (caught.value.title, caught.value.hint) == ("gone", "Come back.")
