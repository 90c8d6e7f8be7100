"""A screen's client of the worker: sequences of messages.

Nothing here sleeps. A test that needs the engine in the middle of its work holds it
there with a `Gate`; a test that needs an answer waits for its message.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Condition, Event
from typing import TypeVar

import pytest
from textual.app import App
from textual.message import Message as Report

from lmtui.engine.passages import DocumentAlone, PartOf, TextAfter, TokensAfter
from lmtui.engine.types import ChatTurn, FinishReason, Prompt, SamplingSettings, Step
from lmtui.errors import LmtuiError
from lmtui.models.progress import OnProgress, Progress
from lmtui.tui.engine.message_client import EngineClient, load
from lmtui.tui.engine.messages import (
    DocumentTokenized,
    DraftFailed,
    DraftScored,
    GenerationFailed,
    GenerationFinished,
    GenerationStarted,
    JobDropped,
    ModelFailed,
    ModelLoaded,
    ModelLoadProgressed,
    ModelLoadWarned,
    Post,
    PreviewFailed,
    PreviewReady,
    PromptProgressed,
    ScoreFailed,
    ScoresArrived,
    StepsArrived,
    TextsCounted,
    TokensScored,
)
from lmtui.worker.requests import OpenEngine
from lmtui.worker.worker import EngineWorker
from tests.fakes import FakeEngine
from tests.models import panics
from tests.test_imports import loaded_by

SECONDS = 20  # until a test that waits in vain gives up
HELLO = (ChatTurn("user", "hello"),)
PLAIN = SamplingSettings(seed=1)
ANSWER = "one two three four five six"  # seven tokens with the end token

R = TypeVar("R", bound=Report)
ENDS = (GenerationFinished, GenerationFailed, TokensScored, ScoreFailed, JobDropped)


class Screen:
    """Keeps what is posted, and waits for it."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self._changed = Condition()

    def post(self, report: Report) -> None:
        with self._changed:
            self.reports.append(report)
            self._changed.notify_all()

    def all(self, kind: type[R]) -> list[R]:
        return [report for report in self.reports if isinstance(report, kind)]

    def wait(self, kind: type[R], count: int = 1) -> R:
        """The `count`th report of a kind."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.all(kind)) >= count, SECONDS)
        assert came, f"no {kind.__name__}, only {self.reports}"
        return self.all(kind)[count - 1]

    def steps(self, job: int) -> list[Step]:
        batches = [b for b in self.all(StepsArrived) if b.job == job]
        return [step for batch in batches for step in batch.steps]

    def ended(self) -> list[int]:
        return [report.job for report in self.reports if isinstance(report, ENDS)]

    def wait_for_end(self, job: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: job in self.ended(), SECONDS)

    def kinds(self) -> list[str]:
        return [type(report).__name__ for report in self.reports]


class Gate:
    """Holds the engine before a token until it is let through, once."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.reached, self.opened = Event(), Event()

    def __call__(self, index: int) -> None:
        if index == self._at and not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(SECONDS)

    def wait(self) -> None:
        assert self.reached.wait(SECONDS)

    def open(self) -> None:
        self.opened.set()


def standing_clock() -> float:
    """A clock on which no time passes: everything after the first is gathered."""
    return 0.0


def running_clock() -> Callable[[], float]:
    """A clock on which a second passes with each look: nothing is gathered."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


class Bridge(EngineClient):
    """One screen's client, and its worker; all messages go to the screen."""

    def __init__(self, post: Post, clock: Callable[[], float]) -> None:
        self.engine = EngineWorker(clock)
        super().__init__(self.engine, post)
        self.close = self.engine.close

    def load(self, open_engine: OpenEngine) -> int:
        return load(self.engine, open_engine, self._post)


@contextmanager
def running(
    engine: FakeEngine | None = None, clock: Callable[[], float] | None = None
) -> Iterator[tuple[Screen, Bridge]]:
    """A client with its screen, and with a model where one is given."""
    screen = Screen()
    client = Bridge(screen.post, clock or running_clock())
    try:
        if engine:
            client.load(lambda _: engine)
            screen.wait(ModelLoaded)
        yield screen, client
    finally:
        assert client.close(SECONDS)


def without_handles(steps: list[Step]) -> list[Step]:
    """The steps as any engine would make them: a handle is never given out twice."""
    return [
        replace(step, distribution=replace(step.distribution, handle=0))
        for step in steps
    ]


def verbs(engine: FakeEngine) -> list[str]:
    return [verb for verb, _ in engine.calls]


async def test_a_running_program_gets_its_messages_in_order() -> None:
    ended = asyncio.Event()
    texts: list[str] = []

    class Program(App[None]):
        def on_steps_arrived(self, report: StepsArrived) -> None:
            texts.extend(step.piece for step in report.steps)

        def on_generation_finished(self, report: GenerationFinished) -> None:
            ended.set()

    program = Program()
    async with program.run_test():
        client = Bridge(program.post_message, running_clock())
        client.load(lambda _: FakeEngine([ANSWER]))
        client.generate(1, HELLO, PLAIN)
        await asyncio.wait_for(ended.wait(), SECONDS)
        assert client.close(SECONDS)
    assert "".join(texts) == ANSWER


def test_engine_client_imports_no_torch() -> None:
    assert not loaded_by("lmtui.tui.engine.message_client") & {
        "torch",
        "transformers",
        "numpy",
    }


def test_a_generation_reports_from_prompt_to_end() -> None:
    with running(FakeEngine([ANSWER])) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        done = screen.wait(GenerationFinished)
        started = screen.wait(GenerationStarted)
    assert screen.kinds() == [
        "ModelLoaded",
        "GenerationStarted",
        "PromptProgressed",
        *["StepsArrived"] * 7,
        "GenerationFinished",
    ]
    assert {r.job for r in screen.reports[1:]} == {1}  # type: ignore[attr-defined]
    assert "".join(step.piece for step in screen.steps(1)) == ANSWER
    assert done.finish.reason is FinishReason.STOP
    assert started.prompt.text == "user: hello\nassistant: "
    assert screen.all(PromptProgressed)[0].done == len(started.prompt.ids)


def test_steps_after_the_first_are_sent_in_batches() -> None:
    with running(FakeEngine([ANSWER]), standing_clock) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        screen.wait(GenerationFinished)
    assert [len(batch.steps) for batch in screen.all(StepsArrived)] == [1, 6]


def test_an_answer_begins_with_its_prefill() -> None:
    with running(FakeEngine([ANSWER])) as (screen, client):
        client.generate(1, HELLO, PLAIN, prefill="Well, ")
        assert screen.wait(GenerationStarted).prompt.text.endswith("assistant: Well, ")


def test_prefill_after_a_ready_prompt_is_tokenized_by_itself() -> None:
    with running(FakeEngine([ANSWER])) as (screen, client):
        start = Prompt((104, 105), "hi")
        client.generate(1, start, PLAIN, prefill=" <|end|>")
        begun = screen.wait(GenerationStarted)
        assert begun.prompt == Prompt((104, 105, *b" <|end|>"), "hi <|end|>")


def test_next_distribution_after_ids_is_reported() -> None:
    engine = FakeEngine([ANSWER])
    with running(engine) as (screen, client):
        client.next_distribution(7, (104, 105), PLAIN)
        looked = screen.wait(DraftScored)
        expected = engine.next_distribution((104, 105), PLAIN)
        assert (looked.revision, looked.before, looked.tokens) == (7, 2, ())
        assert looked.distribution.candidates == expected.candidates
        client.next_distribution(8, tuple(range(9_000)), PLAIN)
        assert screen.wait(DraftFailed).revision == 8


def test_two_generations_run_one_after_the_other() -> None:
    with running(FakeEngine(["first", "and second"])) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        screen.wait(GenerationFinished)
        client.generate(2, HELLO, PLAIN)
        screen.wait(GenerationFinished, 2)
    assert "".join(step.piece for step in screen.steps(1)) == "first"
    assert "".join(step.piece for step in screen.steps(2)) == "and second"
    assert [done.job for done in screen.all(GenerationFinished)] == [1, 2]


def test_a_stop_takes_effect_within_a_token() -> None:
    gate = Gate(at=3)
    with running(FakeEngine([ANSWER], on_token=gate)) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        gate.wait()
        client.stop(1)
        gate.open()
        done = screen.wait(GenerationFinished)
    assert done.finish.reason is FinishReason.CANCELLED
    assert len(screen.steps(1)) == done.finish.tokens == 3


def test_gathered_steps_arrive_before_the_end_of_a_stopped_answer() -> None:
    gate = Gate(at=5)
    engine = FakeEngine([ANSWER], on_token=gate)
    with running(engine, standing_clock) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        gate.wait()
        client.stop(1)
        gate.open()
        screen.wait(GenerationFinished)
    assert [len(batch.steps) for batch in screen.all(StepsArrived)] == [1, 4]
    assert screen.kinds()[-2:] == ["StepsArrived", "GenerationFinished"]


def test_an_answer_goes_on_from_where_it_was_stopped() -> None:
    gate = Gate(at=3)
    engine = FakeEngine([ANSWER, " four five six"], on_token=gate)
    with running(engine) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        gate.wait()
        client.stop(1)
        gate.open()
        screen.wait(GenerationFinished)
        prompt = screen.wait(GenerationStarted).prompt
        ids = tuple(step.id for step in screen.steps(1))
        client.generate(2, Prompt((*prompt.ids, *ids), prompt.text), PLAIN)
        screen.wait(GenerationFinished, 2)
    whole = [*screen.steps(1), *screen.steps(2)]
    assert "".join(step.piece for step in whole) == ANSWER

    with running(FakeEngine([ANSWER])) as (other, client):
        client.generate(1, HELLO, PLAIN)
        other.wait(GenerationFinished)
    undisturbed = [step.logprob for step in other.steps(1)]
    assert math.fsum(step.logprob for step in screen.steps(1)) == pytest.approx(
        math.fsum(undisturbed[:3])
    )


def test_newest_of_the_waiting_jobs_drops_the_older_ones() -> None:
    gate = Gate(at=1)
    with running(FakeEngine(["a b", "c"], on_token=gate)) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        gate.wait()
        for job in (2, 3, 4):
            client.generate(job, HELLO, PLAIN)
        client.score(5, TokensAfter((1, 2)))
        client.score(6, TokensAfter((1, 2, 3)))
        gate.open()
        screen.wait(TokensScored)
    assert [dropped.job for dropped in screen.all(JobDropped)] == [2, 3, 5]
    assert [done.job for done in screen.all(GenerationFinished)] == [1, 4]
    assert [scored.job for scored in screen.all(TokensScored)] == [6]


def test_newest_waiting_draft_is_scored_and_names_its_revision() -> None:
    gate = Gate(at=1)
    engine = FakeEngine(["a b"], on_token=gate)
    with running(engine) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        gate.wait()
        for revision, draft in enumerate(["w", "wh", "why"]):
            client.score_draft(revision, HELLO, draft, PLAIN)
        gate.open()
        looked = screen.wait(DraftScored)
        client.score_draft(7, HELLO, "", PLAIN)
        empty = screen.wait(DraftScored, 2)
    assert (looked.revision, empty.revision) == (2, 7)
    assert [token.text for token in looked.tokens] == ["w", "h", "y"]
    assert looked.logprob == pytest.approx(
        math.fsum(token.logprob or 0 for token in looked.tokens)
    )
    assert (empty.tokens, empty.logprob) == ((), 0)
    assert verbs(engine).count("trace") == 2
    assert screen.kinds().index("GenerationFinished") < screen.kinds().index(
        "DraftScored"
    )


def test_newer_draft_breaks_off_the_scoring_of_the_older_one() -> None:
    gate = Gate(at=2)
    with running(FakeEngine(on_token=gate)) as (screen, client):
        client.score_draft(1, HELLO, "a long draft", PLAIN)
        gate.wait()
        client.score_draft(2, HELLO, "another", PLAIN)
        gate.open()
        screen.wait(DraftScored)
    assert [looked.revision for looked in screen.all(DraftScored)] == [2]


def test_preview_interrupts_a_draft_score_that_then_resumes() -> None:
    gate = Gate(at=7)
    with running(FakeEngine(on_token=gate)) as (screen, client):
        client.score_draft(1, HELLO, "short", PLAIN)
        handle = screen.wait(DraftScored).distribution.handle
        client.score_draft(2, HELLO, "a long draft", PLAIN)
        gate.wait()
        client.preview(3, handle, SamplingSettings(temperature=0))
        gate.open()
        screen.wait(DraftScored, 2)
    assert screen.kinds()[-2:] == ["PreviewReady", "DraftScored"]
    assert screen.all(DraftScored)[1].revision == 2


def test_most_urgent_request_is_answered_first() -> None:
    gate = Gate(at=0)
    engine = FakeEngine(["a", "b"], on_token=gate)
    with running(engine) as (screen, client):
        client.score_draft(1, HELLO, "", PLAIN)
        handle = screen.wait(DraftScored).distribution.handle
        client.generate(1, HELLO, PLAIN)
        gate.wait()
        client.score(2, TextAfter(HELLO, "hi"))
        client.generate(3, HELLO, PLAIN)
        client.score_draft(2, HELLO, "h", PLAIN)
        client.preview(3, handle, PLAIN)
        gate.open()
        screen.wait(TokensScored)
    answers = [
        kind
        for kind in screen.kinds()[2:]
        if kind not in ("GenerationStarted", "PromptProgressed", "StepsArrived")
    ]
    assert answers == [
        "PreviewReady",
        "GenerationFinished",
        "DraftScored",
        "GenerationFinished",
        "TokensScored",
    ]


def test_a_preview_is_served_during_a_generation_without_disturbing_it() -> None:
    with running(FakeEngine([ANSWER])) as (undisturbed, client):
        client.generate(1, HELLO, PLAIN)
        undisturbed.wait(GenerationFinished)

    gate, cold = Gate(at=2), SamplingSettings(temperature=0)
    with running(FakeEngine([ANSWER], on_token=gate)) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        gate.wait()
        handle = screen.steps(1)[0].distribution.handle
        client.preview(4, handle, PLAIN)
        client.preview(5, handle, cold, 1, 3)
        gate.open()
        screen.wait(GenerationFinished)
    (ready,) = screen.all(PreviewReady)
    assert ready.revision == 5
    shown = ready.distribution
    assert (shown.start, len(shown.candidates), shown.remaining) == (1, 3, 1)
    assert shown.handle == handle
    assert screen.kinds().index("PreviewReady") == screen.kinds().index(
        "StepsArrived"
    ) + len(screen.steps(1)[:3])
    assert without_handles(screen.steps(1)) == without_handles(undisturbed.steps(1))


def test_a_preview_of_an_unknown_position_fails_alone() -> None:
    with running(FakeEngine([ANSWER])) as (screen, client):
        client.preview(9, 12345, PLAIN)
        failed = screen.wait(PreviewFailed)
        client.generate(1, HELLO, PLAIN)
        screen.wait(GenerationFinished)
    assert failed.revision == 9
    assert "can't be drawn again" in failed.error.title


def test_a_message_is_scored_as_the_draft_it_was() -> None:
    with running(FakeEngine()) as (screen, client):
        client.score_draft(1, HELLO, "why?", PLAIN)
        looked = screen.wait(DraftScored)
        client.score(1, TextAfter(HELLO, "why?"))
        scored = screen.wait(TokensScored)
    assert scored.tokens == looked.tokens


def test_generated_tokens_are_scored_as_they_were_drawn() -> None:
    with running(FakeEngine([ANSWER])) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        screen.wait(GenerationFinished)
        prompt = screen.wait(GenerationStarted).prompt
        ids = tuple(step.id for step in screen.steps(1))
        client.score(2, TokensAfter(ids, prompt.ids, top_n=3))
        tokens = screen.wait(TokensScored).tokens
    assert [t.logprob for t in tokens] == [s.logprob for s in screen.steps(1)]
    assert {len(token.top) for token in tokens} == {3}


def test_draft_interrupts_a_score_that_then_resumes() -> None:
    gate = Gate(at=3)
    with running(FakeEngine(on_token=gate)) as (screen, client):
        client.score(1, TokensAfter(tuple(range(9))))
        gate.wait()
        client.score_draft(1, HELLO, "h", PLAIN)
        gate.open()
        scored = screen.wait(TokensScored)
    assert screen.kinds() == ["ModelLoaded", "DraftScored", "TokensScored"]
    assert [token.id for token in scored.tokens] == list(range(9))


def test_document_is_tokenized_and_a_part_of_it_is_scored() -> None:
    engine = FakeEngine(adds_bos=True, context=7)
    whole = engine.encode("naïve text")
    scored = list(engine.score(whole.ids, prefix=whole.prefix, top_n=3))
    windows = engine.windows(1)
    with running(engine, standing_clock) as (screen, client):
        client.tokenize(1, DocumentAlone("naïve text"))
        cut = screen.wait(DocumentTokenized)
        assert (cut.encoding, cut.windows) == (whole, windows)
        assert [t.bytes for t in cut.tokens] == [t.bytes for t in scored]
        assert all(token.logprob is None for token in cut.tokens)
        _, (_, end, since), *_ = windows.over(len(whole.ids))
        client.score(1, PartOf(whole.ids, whole.prefix, windows, since, end, top_n=3))
        part = screen.wait(TokensScored)
    assert list(part.tokens) == scored[since:end]
    batches = screen.all(ScoresArrived)
    assert [len(batch.tokens) for batch in batches] == [1, end - since - 1]
    assert tuple(t for batch in batches for t in batch.tokens) == part.tokens


def test_interrupted_part_of_a_document_is_scored_anew() -> None:
    gate = Gate(at=3)
    engine = FakeEngine(on_token=gate)
    ids = engine.encode("a document").ids
    with running(engine) as (screen, client):
        part = PartOf(ids, (), engine.windows(), start=0, end=len(ids))
        client.score(1, part)
        gate.wait()
        client.score_draft(1, HELLO, "h", PLAIN)
        gate.open()
        screen.wait(TokensScored)
    kinds = screen.kinds()
    again = kinds.index("DraftScored") + 1
    assert kinds[again:] == ["ScoresArrived"] * len("a document") + ["TokensScored"]


def test_a_stopped_score_is_dropped() -> None:
    gate = Gate(at=3)
    with running(FakeEngine(on_token=gate)) as (screen, client):
        client.score(1, TokensAfter(tuple(range(9))))
        gate.wait()
        client.stop(1)
        gate.open()
        assert screen.wait(JobDropped).job == 1
    assert not screen.all(TokensScored)


def test_a_job_that_waits_is_stopped_at_once() -> None:
    gate = Gate(at=1)
    engine = FakeEngine(["a b"], on_token=gate)
    with running(engine) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        gate.wait()
        client.generate(2, HELLO, PLAIN)
        client.stop(2)
        assert screen.all(JobDropped) == [JobDropped(2)]
        gate.open()
        screen.wait(GenerationFinished)
    assert verbs(engine).count("generate") == 1


def test_a_stop_for_a_job_that_ended_changes_nothing() -> None:
    with running(FakeEngine(["a", "b"])) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        screen.wait(GenerationFinished)
        client.stop(1)
        client.stop(99)
        client.generate(2, HELLO, PLAIN)
        done = screen.wait(GenerationFinished, 2)
    assert done.finish.reason is FinishReason.STOP


def test_closing_during_an_answer_posts_no_more_reports() -> None:
    gate, screen = Gate(at=3), Screen()
    client = Bridge(screen.post, running_clock())
    client.load(lambda _: FakeEngine([ANSWER], on_token=gate))
    client.generate(1, HELLO, PLAIN)
    gate.wait()
    client.score_draft(1, HELLO, "h", PLAIN)
    before = list(screen.reports)
    assert not client.close(timeout=0)  # it does not wait for a token that hangs
    gate.open()
    assert client.close(SECONDS)
    client.generate(2, HELLO, PLAIN)
    assert screen.reports == before
    assert len(screen.steps(1)) == 3


def test_closing_an_idle_worker_ends_its_thread() -> None:
    client = Bridge(Screen().post, running_clock())
    assert client.close()
    assert client.close()


@pytest.mark.parametrize("broken", ["look", "generate", "message", "tokens"])
def test_engine_error_ends_one_request(broken: str) -> None:
    error = LmtuiError("it broke", "the detail", "Mend it.")
    engine = FakeEngine(["fine"], error=error)
    with running(engine) as (screen, client):
        expected: type[DraftFailed | GenerationFailed | ScoreFailed] = ScoreFailed
        if broken == "look":
            client.score_draft(1, HELLO, "h", PLAIN)
            expected = DraftFailed
        elif broken == "generate":
            client.generate(1, HELLO, PLAIN)
            expected = GenerationFailed
        else:
            message = broken == "message"
            passage = TextAfter(HELLO, "h") if message else TokensAfter((1,))
            client.score(1, passage)
        failed = screen.wait(expected).error
        engine.error = None
        client.generate(2, HELLO, PLAIN)
        screen.wait(GenerationFinished)
    assert (failed.title, failed.detail, failed.hint) == (
        "it broke",
        "the detail",
        "Mend it.",
    )
    assert failed.__traceback__ is None  # it would keep the model in memory


def test_an_unexpected_error_says_that_it_is_a_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded: list[BaseException] = []
    monkeypatch.setattr("lmtui.log.record_bug", recorded.append)
    bug = ZeroDivisionError("oops")

    def fail(index: int) -> None:
        if index == 2:
            raise bug

    engine = FakeEngine([ANSWER, "fine"], on_token=fail)
    with running(engine, standing_clock) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        failed = screen.wait(GenerationFailed)
        client.generate(2, HELLO, PLAIN, top_n=5)
        screen.wait(GenerationFinished)
    assert "bug" in failed.error.title
    assert failed.error.detail == "ZeroDivisionError: oops"
    assert recorded == [bug]
    assert len(screen.steps(1)) == 2  # what was gathered before it is not lost
    assert screen.kinds()[-1] == "GenerationFinished"


def test_library_panic_ends_one_request() -> None:
    def fail(index: int) -> None:
        if index == 2:
            panics.panic()

    engine = FakeEngine([ANSWER, "fine"], on_token=fail)
    with running(engine) as (screen, client):
        client.generate(1, HELLO, PLAIN)
        failed = screen.wait(GenerationFailed).error
        client.generate(2, HELLO, PLAIN)
        screen.wait(GenerationFinished)
    assert failed.title and failed.hint
    assert "retry-limit" in failed.detail


def test_a_screen_that_went_away_does_not_end_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmtui.log.record_bug", lambda error: None)
    screen, calls = Screen(), itertools.count()

    def post(report: Report) -> None:
        if next(calls) == 0:
            raise RuntimeError("the event loop is closed")
        screen.post(report)

    client = Bridge(post, running_clock())
    client.load(lambda _: FakeEngine(["a"]))
    client.generate(1, HELLO, PLAIN)
    screen.wait(GenerationFinished)
    assert client.close(SECONDS)


def test_requests_without_a_model_fail() -> None:
    with running() as (screen, client):
        client.score_draft(1, HELLO, "h", PLAIN)
        client.generate(2, HELLO, PLAIN)
        client.score(3, TokensAfter((1,)))
        assert screen.wait(DraftFailed).error.title == "no model is loaded"
        assert screen.wait(GenerationFailed).job == 2
        assert screen.wait(ScoreFailed).job == 3


def test_progress_of_a_load_is_forwarded() -> None:
    reports = [
        Progress("fetching", 0, 9),
        Progress("fetching", 4, 9),
        Progress("it is large", warning=True),
        Progress("fetching", 9, 9),
        Progress("loading", unit="layers"),
    ]

    def load(on_progress: OnProgress) -> FakeEngine:
        for report in reports:
            on_progress(report)
        return FakeEngine(name="tiny")

    with running(clock=standing_clock) as (screen, client):
        client.load(load)
        loaded = screen.wait(ModelLoaded)
    # On a standing clock the one in the middle is one too many.
    assert screen.reports == [
        ModelLoadProgressed("fetching", 0, 9, load=1),
        ModelLoadWarned("it is large", load=1),
        ModelLoadProgressed("fetching", 9, 9, load=1),
        ModelLoadProgressed("loading", None, None, "layers", load=1),
        loaded,
    ]
    assert loaded.info.model == "tiny"
    assert loaded.capabilities.previews


def test_load_after_a_failed_one_serves_the_waiting_request() -> None:
    def fail(on_progress: OnProgress) -> FakeEngine:
        raise LmtuiError("no such model", "x", "Name another.")

    gate = Event()

    def load(on_progress: OnProgress) -> FakeEngine:
        assert gate.wait(SECONDS)
        return FakeEngine([ANSWER])

    with running() as (screen, client):
        client.load(fail)
        assert screen.wait(ModelFailed).error.title == "no such model"
        client.load(load)
        client.generate(1, HELLO, PLAIN)  # waits for the model
        gate.set()
        screen.wait(GenerationFinished)
    assert screen.kinds()[:3] == ["ModelFailed", "ModelLoaded", "GenerationStarted"]


def test_second_model_replaces_the_first_and_drops_its_jobs() -> None:
    gate, old = Gate(at=2), [FakeEngine([ANSWER], name="old")]
    old[0].on_token = gate
    gone = weakref.ref(old[0])
    was_gone: list[bool] = []

    def load(on_progress: OnProgress) -> FakeEngine:
        was_gone.append(gone() is None)
        return FakeEngine(["new answer"], name="new")

    with running() as (screen, client):
        client.load(lambda _: old.pop())
        screen.wait(ModelLoaded)
        client.generate(1, HELLO, PLAIN)
        gate.wait()
        client.generate(2, HELLO, PLAIN)
        client.score_draft(1, HELLO, "h", PLAIN)
        client.load(load)
        client.preview(2, screen.steps(1)[0].distribution.handle, PLAIN)
        client.score(3, TokensAfter((1,)))
        gate.open()
        assert screen.wait(ModelLoaded, 2).info.model == "new"
        client.generate(4, HELLO, PLAIN)
        screen.wait(GenerationFinished, 2)
    first, second = screen.all(GenerationFinished)
    assert (first.job, first.finish.reason) == (1, FinishReason.CANCELLED)
    assert (second.job, second.finish.reason) == (4, FinishReason.STOP)
    assert {dropped.job for dropped in screen.all(JobDropped)} == {2, 3}
    assert not screen.all(PreviewReady) and not screen.all(DraftScored)
    assert was_gone == [True]


@pytest.mark.parametrize("ends", ["by itself", "at a report", "with an error"])
def test_a_newer_load_overtakes_the_one_that_runs(ends: str) -> None:
    begun, go_on = Event(), Event()
    outlived: list[str] = []

    def first(on_progress: OnProgress) -> FakeEngine:
        begun.set()
        assert go_on.wait(SECONDS)
        if ends == "at a report":
            on_progress(Progress("loading"))
            outlived.append(ends)
        if ends == "with an error":
            raise LmtuiError("failed")
        return FakeEngine(name="first")

    with running() as (screen, client):
        client.load(first)
        assert begun.wait(SECONDS)
        client.load(lambda _: FakeEngine(name="second"))
        go_on.set()
        screen.wait(ModelLoaded)
    assert [loaded.info.model for loaded in screen.all(ModelLoaded)] == ["second"]
    assert screen.kinds() == ["ModelLoaded"]
    assert not outlived


def test_every_screen_gets_only_its_own_reports() -> None:
    gate, first, second = Gate(at=2), Screen(), Screen()
    with running(FakeEngine([ANSWER, "another"], on_token=gate)) as (app, client):
        one = EngineClient(client.engine, first.post)
        other = EngineClient(client.engine, second.post)
        jobs = one.number(), other.number(), one.number()
        one.generate(jobs[0], HELLO, PLAIN)
        gate.wait()
        one.generate(jobs[2], HELLO, PLAIN)
        other.generate(jobs[1], HELLO, PLAIN)  # takes the place of the one before
        other.score(other.number(), TextAfter(HELLO, "h"))
        gate.open()
        second.wait(TokensScored)
    assert len({*jobs}) == 3
    assert app.kinds() == ["ModelLoaded"]
    assert set(first.ended()) == {jobs[0], jobs[2]}
    assert first.all(JobDropped) == [JobDropped(jobs[2])]
    assert second.ended()[0] == jobs[1]
    assert "".join(step.piece for step in first.steps(jobs[0])) == ANSWER
    assert "".join(step.piece for step in second.steps(jobs[1])) == "another"


def test_preview_with_a_handle_of_a_replaced_model_fails() -> None:
    with running(FakeEngine(name="old")) as (screen, client):
        client.score_draft(1, HELLO, "h", PLAIN)
        handle = screen.wait(DraftScored).distribution.handle
        client.load(lambda _: FakeEngine(name="new"))
        screen.wait(ModelLoaded, 2)
        client.score_draft(2, HELLO, "h", PLAIN)
        other = screen.wait(DraftScored, 2).distribution.handle
        client.preview(3, handle, PLAIN)
        assert screen.wait(PreviewFailed).revision == 3
    assert handle != other
    assert not screen.all(PreviewReady)


def test_count_tokens_counts_texts_one_by_one_without_bos() -> None:
    with running(FakeEngine([ANSWER], adds_bos=True)) as (screen, client):
        client.count_tokens(1, ["abc", "", "é"])
        assert screen.wait(TextsCounted) == TextsCounted(1, (3, 0, 2))


def test_count_tokens_without_a_model_is_empty() -> None:
    with running() as (screen, client):
        client.count_tokens(1, ["abc"])
        assert screen.wait(TextsCounted) == TextsCounted(1, ())
