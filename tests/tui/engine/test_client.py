"""A client of the engine's worker: what it hands over, and in which order.

Nothing here sleeps. A test that needs the engine in the middle of its work holds it
there with a `Gate`; a test that needs an answer waits for its name.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

import pytest
from textual.app import App

from lmtui.engine.passages import (
    DocumentAlone,
    PartOf,
    Passage,
    TextAfter,
    TokensAfter,
    tokenize_document,
)
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    SamplingSettings,
    Step,
)
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.models.progress import OnProgress, Progress
from lmtui.tui.engine.batches import generation_batch
from lmtui.tui.engine.client import Deliver, EngineClient, ignore
from lmtui.worker.generation import run_generation, run_versions
from lmtui.worker.partial_answers import lens_parts, score_parts
from lmtui.worker.positions import of_position
from lmtui.worker.requests import EngineRequest, Slot
from lmtui.worker.worker import EngineWorker
from tests.fake_writing import FakeWriter
from tests.fakes import FakeEngine
from tests.models import panics
from tests.test_imports import loaded_by

SECONDS = 20  # until a test that waits in vain gives up
HELLO = (ChatTurn("user", "hello"),)
PLAIN = SamplingSettings(seed=1)
ANSWER = "one two three four five six"  # seven tokens with the end token
TEXT = "the cat sat"


class Answers:
    """Stores what clients hand over, as pairs of a name and a value, in order.

    The worker puts the calls in a queue. The test's thread makes them while it waits,
    like the program's event loop: until then an answer is on its way.
    """

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def deliver(self, call: Callable[[], object]) -> None:
        self._calls.put(call)

    def take(self, name: str) -> Callable[..., None]:
        """A function that stores its argument, or all if there is not just one."""

        def take(*values: Any) -> None:
            self.all.append((name, values[0] if len(values) == 1 else values))

        return take

    def of(self, name: str, *functions: str) -> dict[str, Any]:
        """Functions to give with a request: `then`, `failed` and more. What `then`
        takes is stored as "NAME then"."""
        each = ("then", "failed", *functions)
        return {function: self.take(f"{name} {function}") for function in each}

    def generation(self, name: str) -> dict[str, Any]:
        """All functions of a generation."""
        return self.of(name, "prompt_ready", "progress", "steps", "dropped")

    def names(self) -> list[str]:
        return [name for name, _ in self.all]

    def values(self, name: str) -> list[Any]:
        return [value for own, value in self.all if own == name]

    def ends(self) -> list[str]:
        """The names of the ends of requests."""
        ends = ("then", "failed", "dropped")
        return [name for name in self.names() if name.split()[-1] in ends]

    def steps(self, name: str) -> list[Step]:
        return [step for steps in self.values(f"{name} steps") for step in steps]

    def text(self, name: str) -> str:
        """What was generated under a name."""
        return "".join(step.piece for step in self.steps(name))

    def on_their_way(self) -> int:
        """How many calls wait to be made."""
        return self._calls.qsize()

    def call_next(self) -> None:
        """Make the next call, or wait for it."""
        try:
            call = self._calls.get(timeout=SECONDS)
        except Empty:
            pytest.fail(f"nothing more comes after {self.names()}")
        call()

    def wait(self, name: str, count: int = 1) -> Any:
        """The `count`th value of a name. Makes the calls until it is there, no more."""
        while len(self.values(name)) < count:
            self.call_next()
        return self.values(name)[count - 1]

    def drain(self) -> None:
        """Make the calls that are on their way, and wait for none."""
        while self.on_their_way():
            self.call_next()


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


class Asker(EngineClient):
    """A client that asks what the screens ask for."""

    def generate(
        self,
        start: Sequence[ChatTurn] | Prompt,
        *,
        prefill: str = "",
        prompt_ready: Any = ignore,
        progress: Any = ignore,
        steps: Any = ignore,
        **how: Any,
    ) -> None:
        self.ask(
            Slot.GENERATE,
            lambda engine, context: run_generation(
                engine, context, start, PLAIN, prefill=prefill
            ),
            batch=generation_batch(steps, prompt_ready, progress),
            bound=isinstance(start, Prompt),
            **how,
        )

    def score_draft(self, draft: str, **how: Any) -> None:
        self.ask(
            Slot.LOOK,
            lambda engine, _: engine.score_draft(HELLO, draft, PLAIN),
            **how,
        )

    def preview(self, handle: int, settings: SamplingSettings, **how: Any) -> None:
        run = of_position(
            lambda engine: engine.preview(handle, settings), "gone", "Come back."
        )
        self.ask(Slot.PREVIEW, run, bound=True, **how)

    def score(self, passage: Passage, *, scored: Any = ignore, **how: Any) -> None:
        bound = not isinstance(passage, TextAfter)
        run = score_parts(passage)
        self.ask(Slot.SCORE, run, batch=scored, bound=bound, **how)

    def count(self, text: str, **how: Any) -> None:
        self.ask(Slot.COUNT, lambda engine, _: len(engine.encode(text).ids), **how)


class Bridge(Asker):
    """A client together with its worker."""

    def __init__(self, deliver: Deliver, clock: Callable[[], float]) -> None:
        self.engine, self._deliver = EngineWorker(clock), deliver
        super().__init__(self.engine, deliver)
        self.close = self.engine.close

    def another(self) -> Asker:
        """Another client of the worker, with the same event loop."""
        return Asker(self.engine, self._deliver)

    def pending(self) -> list[Slot]:
        return [slot for slot in Slot if self.is_pending(slot)]

    def finish(self) -> None:
        """Wait until the worker has nothing to do; what it answered is on its way.

        Asks in `Slot.SCORE`, so no other request may be there.
        """
        done = Event()
        self.engine.ask(
            EngineRequest(
                id=self.engine.number(),
                slot=Slot.SCORE,
                run=lambda *_: None,
                reply=lambda _: done.set(),
            )
        )
        assert done.wait(SECONDS)


@contextmanager
def running(
    engine: FakeWriter | None = None, clock: Callable[[], float] | None = None
) -> Iterator[tuple[Answers, Bridge]]:
    """A client with what it hands over, and with a model where one is given."""
    answers, loading = Answers(), Answers()
    client = Bridge(answers.deliver, clock or running_clock())
    try:
        if engine is not None:
            loader = Asker(client.engine, loading.deliver)
            loader.load(lambda _: engine, **loading.of("model", "progress"))
            loading.wait("model then")
        yield answers, client
    finally:
        assert client.close(SECONDS)
        answers.drain()


Ask = Callable[..., None]
"""Asks a client, under a name, with options."""


@contextmanager
def trying(
    slot: Slot, gate: Gate | None = None
) -> Iterator[tuple[Answers, Bridge, Ask]]:
    """A client, and a function that asks one for something in a slot, under a name.

    With a gate, the worker is held by the generation of a client that nobody hears.
    """
    engine = FakeWriter(["a b"])
    with running(engine) as (answers, client):

        def ask(whose: EngineClient, name: str, **options: Any) -> None:
            if slot is Slot.LOAD:
                whose.load(lambda _: FakeWriter(), **answers.of(name, "progress"))
                return
            functions = answers.of(name, "dropped")
            whose.ask(slot, lambda engine, _: engine.info, **functions, **options)

        unheard = Answers()
        try:
            if gate:
                engine.on_token = gate
                holder = Asker(client.engine, unheard.deliver)
                holder.generate(HELLO, **unheard.generation("held"))
                gate.wait()
            yield answers, client, ask
        finally:
            if gate:
                gate.open()


def without_handles(steps: list[Step]) -> list[Step]:
    """The steps as any engine would make them: a handle is never given out twice."""
    return [
        replace(step, distribution=replace(step.distribution, handle=0))
        for step in steps
    ]


def verbs(engine: FakeEngine) -> list[str]:
    return [verb for verb, _ in engine.calls]


async def test_a_running_program_gets_its_answers_in_order() -> None:
    ended = asyncio.Event()
    texts: list[str] = []
    threads = {threading.current_thread()}

    def take(steps: Sequence[Step]) -> None:
        threads.add(threading.current_thread())
        texts.extend(step.piece for step in steps)

    answers = Answers()
    program: App[None] = App()
    async with program.run_test():
        client = Bridge(program.call_later, running_clock())
        client.load(lambda _: FakeWriter([ANSWER]), **answers.of("model", "progress"))
        client.generate(
            HELLO,
            **answers.of("answer", "dropped")
            | {"steps": take, "then": lambda _: ended.set()},
        )
        await asyncio.wait_for(ended.wait(), SECONDS)
        assert client.close(SECONDS)
    assert "".join(texts) == ANSWER
    assert answers.names() == ["model then"]
    assert threads == {threading.current_thread()}


def test_engine_client_imports_neither_textual_nor_torch() -> None:
    assert not loaded_by("lmtui.tui.engine.client") & {
        "textual",
        "torch",
        "transformers",
        "numpy",
    }


def test_a_generation_reports_from_prompt_to_end() -> None:
    with running(FakeWriter([ANSWER])) as (answers, client):
        client.generate(HELLO, **answers.generation("answer"))
        done = answers.wait("answer then")
    assert answers.names() == [
        "answer prompt_ready",
        "answer progress",
        *["answer steps"] * 7,
        "answer then",
    ]
    assert answers.text("answer") == ANSWER
    assert done.reason is FinishReason.STOP
    prompt, left_out = answers.wait("answer prompt_ready")
    assert (prompt.text, left_out) == ("user: hello\nassistant: ", 0)
    tokens = len(prompt.ids)
    assert answers.values("answer progress") == [(tokens, tokens)]


def test_steps_after_the_first_are_sent_in_batches() -> None:
    with running(FakeWriter([ANSWER]), standing_clock) as (answers, client):
        client.generate(HELLO, **answers.generation("answer"))
        answers.wait("answer then")
    assert [len(steps) for steps in answers.values("answer steps")] == [1, 6]


def test_an_answer_begins_with_its_prefill() -> None:
    with running(FakeWriter([ANSWER])) as (answers, client):
        client.generate(HELLO, prefill="Well, ", **answers.generation("answer"))
        prompt, _ = answers.wait("answer prompt_ready")
    assert prompt.text.endswith("assistant: Well, ")


def test_prefill_after_a_ready_prompt_is_tokenized_by_itself() -> None:
    with running(FakeWriter([ANSWER])) as (answers, client):
        start = Prompt((104, 105), "hi")
        client.generate(start, prefill=" <|end|>", **answers.generation("answer"))
        prompt, _ = answers.wait("answer prompt_ready")
    assert prompt == Prompt((104, 105, *b" <|end|>"), "hi <|end|>")


def test_two_generations_run_one_after_the_other() -> None:
    with running(FakeWriter(["first", "and second"])) as (answers, client):
        client.generate(HELLO, **answers.generation("one"))
        answers.wait("one then")
        client.generate(HELLO, **answers.generation("two"))
        answers.wait("two then")
    assert answers.text("one") == "first"
    assert answers.text("two") == "and second"
    assert answers.ends() == ["one then", "two then"]


def test_a_stop_takes_effect_within_a_token() -> None:
    gate = Gate(at=3)
    with running(FakeWriter([ANSWER], on_token=gate)) as (answers, client):
        client.generate(HELLO, **answers.generation("answer"))
        gate.wait()
        assert client.stop(Slot.GENERATE)
        assert client.is_pending(Slot.GENERATE)
        gate.open()
        done = answers.wait("answer then")
        assert not client.is_pending(Slot.GENERATE)
    assert done.reason is FinishReason.CANCELLED
    assert len(answers.steps("answer")) == done.tokens == 3
    assert answers.ends() == ["answer then"]


def test_gathered_steps_arrive_before_the_end_of_a_stopped_answer() -> None:
    gate = Gate(at=5)
    engine = FakeWriter([ANSWER], on_token=gate)
    with running(engine, standing_clock) as (answers, client):
        client.generate(HELLO, **answers.generation("answer"))
        gate.wait()
        client.stop(Slot.GENERATE)
        gate.open()
        answers.wait("answer then")
    assert [len(steps) for steps in answers.values("answer steps")] == [1, 4]
    assert answers.names()[-2:] == ["answer steps", "answer then"]


def test_an_answer_goes_on_from_where_it_was_stopped() -> None:
    gate = Gate(at=3)
    engine = FakeWriter([ANSWER, " four five six"], on_token=gate)
    with running(engine) as (answers, client):
        client.generate(HELLO, **answers.generation("begun"))
        gate.wait()
        client.stop(Slot.GENERATE)
        gate.open()
        answers.wait("begun then")
        prompt, _ = answers.wait("begun prompt_ready")
        ids = tuple(step.id for step in answers.steps("begun"))
        start = Prompt((*prompt.ids, *ids), prompt.text)
        client.generate(start, **answers.generation("rest"))
        answers.wait("rest then")
    assert answers.text("begun") + answers.text("rest") == ANSWER

    with running(FakeWriter([ANSWER])) as (other, client):
        client.generate(HELLO, **other.generation("whole"))
        other.wait("whole then")
    undisturbed = [step.logprob for step in other.steps("whole")]
    stopped = [step.logprob for step in answers.steps("begun")]
    assert math.fsum(stopped) == pytest.approx(math.fsum(undisturbed[:3]))


def test_newest_waiting_request_of_a_client_is_the_only_one_answered() -> None:
    gate = Gate(at=1)
    engine = FakeWriter(["a b", "c"], on_token=gate)
    with running(engine) as (answers, client):
        client.another().generate(HELLO, **answers.generation("runs"))
        gate.wait()
        for name in ("one", "two", "three"):
            client.generate(HELLO, **answers.generation(name))
        client.score(TokensAfter((1, 2)), **answers.of("short", "dropped"))
        client.score(TokensAfter((1, 2, 3)), **answers.of("long", "dropped"))
        gate.open()
        answers.wait("long then")
    assert answers.ends() == ["runs then", "three then", "long then"]
    assert answers.text("three") == "c"
    assert verbs(engine).count("generate") == 2
    assert verbs(engine).count("score") == 1


def test_newest_of_the_waiting_requests_drops_those_of_other_clients() -> None:
    gate = Gate(at=1)
    with running(FakeWriter(["a b", "c"], on_token=gate)) as (answers, client):
        client.generate(HELLO, **answers.generation("runs"))
        gate.wait()
        for name in ("one", "two", "three"):
            client.another().generate(HELLO, **answers.generation(name))
        client.another().score(TokensAfter((1, 2)), **answers.of("short", "dropped"))
        client.score(TokensAfter((1, 2, 3)), **answers.of("long", "dropped"))
        gate.open()
        answers.wait("long then")
    dropped = [name for name in answers.ends() if name.endswith("dropped")]
    assert dropped == ["one dropped", "two dropped", "short dropped"]
    answered = [name for name in answers.ends() if name.endswith("then")]
    assert answered == ["runs then", "three then", "long then"]


def test_newest_waiting_draft_is_the_one_that_is_scored() -> None:
    gate = Gate(at=1)
    engine = FakeWriter(["a b"], on_token=gate)
    with running(engine) as (answers, client):
        client.generate(HELLO, **answers.generation("answer"))
        gate.wait()
        for draft in ("w", "wh", "why"):
            client.score_draft(draft, **answers.of(draft))
        gate.open()
        looked = answers.wait("why then")
        client.score_draft("", **answers.of("empty"))
        empty = answers.wait("empty then")
    assert [token.text for token in looked.tokens] == ["w", "h", "y"]
    assert empty.tokens == ()
    assert verbs(engine).count("trace") == 2
    assert answers.ends() == ["answer then", "why then", "empty then"]


def test_newer_draft_breaks_off_the_scoring_of_the_older_one() -> None:
    gate = Gate(at=2)
    read: list[int] = []

    def on_token(index: int) -> None:
        read.append(index)
        gate(index)

    with running(FakeWriter(on_token=on_token)) as (answers, client):
        client.score_draft("a long draft", **answers.of("older"))
        gate.wait()
        client.score_draft("another", **answers.of("newer"))
        gate.open()
        answers.wait("newer then")
    assert answers.names() == ["newer then"]
    assert read == [0, 1, 2, *range(len("another"))]


def test_preview_interrupts_a_draft_score_that_then_resumes() -> None:
    gate, cold = Gate(at=7), SamplingSettings(temperature=0)
    with running(FakeWriter(on_token=gate)) as (answers, client):
        client.score_draft("short", **answers.of("short"))
        handle = answers.wait("short then").distribution.handle
        client.score_draft("a long draft", **answers.of("long"))
        gate.wait()
        client.preview(handle, cold, **answers.of("preview"))
        gate.open()
        scores = answers.wait("long then")
    assert answers.names() == ["short then", "preview then", "long then"]
    assert "".join(token.text for token in scores.tokens) == "a long draft"


def test_most_urgent_request_is_answered_first() -> None:
    gate = Gate(at=0)
    engine = FakeWriter(["a", "b"], on_token=gate)
    with running(engine) as (answers, client):
        client.score_draft("", **answers.of("empty"))
        handle = answers.wait("empty then").distribution.handle
        client.another().generate(HELLO, **answers.generation("runs"))
        gate.wait()
        client.score(TextAfter(HELLO, "hi"), **answers.of("score", "dropped"))
        client.generate(HELLO, **answers.generation("waits"))
        client.score_draft("h", **answers.of("draft"))
        client.preview(handle, PLAIN, **answers.of("preview"))
        gate.open()
        answers.wait("score then")
    assert answers.ends() == [
        "empty then",
        "preview then",
        "runs then",
        "draft then",
        "waits then",
        "score then",
    ]


def test_a_preview_is_served_during_a_generation_without_disturbing_it() -> None:
    with running(FakeWriter([ANSWER])) as (undisturbed, client):
        client.generate(HELLO, **undisturbed.generation("answer"))
        undisturbed.wait("answer then")

    gate, cold = Gate(at=2), SamplingSettings(temperature=0)
    with running(FakeWriter([ANSWER], on_token=gate)) as (answers, client):
        client.generate(HELLO, **answers.generation("answer"))
        gate.wait()
        handle = answers.wait("answer steps")[0].distribution.handle
        client.preview(handle, PLAIN, **answers.of("older"))
        client.preview(handle, cold, **answers.of("newer"))
        gate.open()
        answers.wait("answer then")
    assert answers.ends() == ["newer then", "answer then"]
    shown = answers.wait("newer then")
    assert (shown.remaining, shown.handle) == (1, handle)
    before = answers.names()[: answers.names().index("newer then")]
    assert before.count("answer steps") == 3
    assert without_handles(answers.steps("answer")) == without_handles(
        undisturbed.steps("answer")
    )


def test_an_unknown_position_fails_alone() -> None:
    with running(FakeWriter([ANSWER])) as (answers, client):
        client.preview(12345, PLAIN, **answers.of("unknown"))
        failed = answers.wait("unknown failed")
        client.generate(HELLO, **answers.generation("answer"))
        answers.wait("answer then")
    assert (failed.title, failed.hint) == ("gone", "Come back.")
    assert answers.ends() == ["unknown failed", "answer then"]


def test_a_message_is_scored_as_the_draft_it_was() -> None:
    with running(FakeWriter()) as (answers, client):
        client.score_draft("why?", **answers.of("draft"))
        looked = answers.wait("draft then")
        client.score(TextAfter(HELLO, "why?"), **answers.of("score", "scored"))
        assert answers.wait("score then") == looked.tokens
    assert not answers.values("score scored")  # only parts of a document tell


def test_generated_tokens_are_scored_as_they_were_drawn() -> None:
    with running(FakeWriter([ANSWER])) as (answers, client):
        client.generate(HELLO, **answers.generation("answer"))
        answers.wait("answer then")
        prompt, _ = answers.wait("answer prompt_ready")
        steps = answers.steps("answer")
        passage = TokensAfter(tuple(step.id for step in steps), prompt.ids, top_n=3)
        client.score(passage, **answers.of("score"))
        tokens = answers.wait("score then")
    assert [t.logprob for t in tokens] == [s.logprob for s in steps]
    assert {len(token.top) for token in tokens} == {3}


def test_draft_interrupts_a_score_that_then_resumes() -> None:
    gate = Gate(at=3)
    with running(FakeWriter(on_token=gate)) as (answers, client):
        client.score(TokensAfter(tuple(range(9))), **answers.of("score", "dropped"))
        gate.wait()
        client.score_draft("h", **answers.of("draft"))
        gate.open()
        tokens = answers.wait("score then")
    assert answers.names() == ["draft then", "score then"]
    assert [token.id for token in tokens] == list(range(9))


def test_a_part_of_a_document_is_scored_in_batches() -> None:
    engine = FakeWriter(adds_bos=True, context=7)
    document = tokenize_document(engine, DocumentAlone("naïve text"))
    ids, prefix = document.encoding.ids, document.encoding.prefix
    scored = list(engine.score(ids, prefix=prefix, top_n=3))
    assert [t.bytes for t in document.tokens] == [t.bytes for t in scored]
    assert all(token.logprob is None for token in document.tokens)
    assert document.windows == Windows.choose(context=engine.info.context, prefix=1)
    with running(engine, standing_clock) as (answers, client):
        _, (_, end, since), *_ = document.windows.over(len(ids))
        part = PartOf(ids, prefix, document.windows, since, end, top_n=3)
        client.score(part, **answers.of("part", "scored"))
        tokens = answers.wait("part then")
    assert list(tokens) == scored[since:end]
    batches = answers.values("part scored")
    assert [len(batch) for batch in batches] == [1, end - since - 1]
    assert tuple(token for batch in batches for token in batch) == tokens


def test_interrupted_lens_goes_on_behind_its_last_column() -> None:
    gate = Gate(at=3)
    engine = FakeWriter(on_token=gate)
    ids = engine.encode("a document").ids
    with running(engine) as (answers, client):
        part = PartOf(
            ids,
            (),
            Windows.choose(context=engine.info.context),
            start=0,
            end=len(ids) + 1,
        )
        client.ask(Slot.SUGGEST, lens_parts(part), **answers.of("lens", "batch"))
        gate.wait()
        client.score_draft("h", **answers.of("draft"))
        gate.open()
        answers.wait("lens then")
    columns = [each for batch in answers.values("lens batch") for each in batch]
    assert [column.index for column in columns] == [*range(len(ids) + 1)]
    assert answers.ends() == ["draft then", "lens then"]
    asked = [what for verb, what in engine.calls if verb == "lens"]
    assert len(asked) == 2 and asked[1] == tuple(range(3, len(ids) + 1))


def test_interrupted_part_of_a_document_is_scored_anew() -> None:
    gate = Gate(at=3)
    engine = FakeWriter(on_token=gate)
    ids = engine.encode("a document").ids
    with running(engine) as (answers, client):
        part = PartOf(
            ids, (), Windows.choose(context=engine.info.context), start=0, end=len(ids)
        )
        client.score(part, **answers.of("part", "scored"))
        gate.wait()
        client.score_draft("h", **answers.of("draft"))
        gate.open()
        answers.wait("part then")
    again = len("a document")
    assert answers.names() == [
        *["part scored"] * 3,
        "draft then",
        *["part scored"] * again,
        "part then",
    ]


def test_a_stopped_score_is_dropped() -> None:
    gate = Gate(at=3)
    with running(FakeWriter(on_token=gate)) as (answers, client):
        client.score(TokensAfter(tuple(range(9))), **answers.of("score", "dropped"))
        gate.wait()
        assert client.stop(Slot.SCORE)
        assert client.is_pending(Slot.SCORE)
        gate.open()
        answers.wait("score dropped")
        assert not client.is_pending(Slot.SCORE)
    assert answers.names() == ["score dropped"]


def test_a_generation_that_waits_is_stopped_at_once() -> None:
    gate = Gate(at=1)
    engine = FakeWriter(["a b"], on_token=gate)
    with running(engine) as (answers, client):
        client.another().generate(HELLO, **answers.generation("runs"))
        gate.wait()
        client.generate(HELLO, **answers.generation("waits"))
        client.stop(Slot.GENERATE)
        answers.drain()
        assert answers.ends() == ["waits dropped"]
        gate.open()
        answers.wait("runs then")
    assert answers.ends() == ["waits dropped", "runs then"]
    assert verbs(engine).count("generate") == 1


def test_a_stop_for_a_request_that_ended_changes_nothing() -> None:
    with running(FakeWriter(["a", "b"])) as (answers, client):
        client.generate(HELLO, **answers.generation("one"))
        answers.wait("one then")
        assert not client.stop(Slot.GENERATE)
        assert not client.stop(Slot.SCORE)
        client.generate(HELLO, **answers.generation("two"))
        done = answers.wait("two then")
    assert done.reason is FinishReason.STOP
    assert answers.ends() == ["one then", "two then"]


def test_closing_during_an_answer_hands_nothing_more_over() -> None:
    gate, answers = Gate(at=3), Answers()
    client = Bridge(answers.deliver, running_clock())
    engine = FakeWriter([ANSWER], on_token=gate)
    client.load(lambda _: engine, **answers.of("model", "progress"))
    client.generate(HELLO, **answers.generation("answer"))
    gate.wait()
    client.score_draft("h", **answers.of("draft"))
    answers.drain()
    before = answers.names()
    assert not client.close(timeout=0)  # it does not wait for a token that hangs
    gate.open()
    assert client.close(SECONDS)
    client.generate(HELLO, **answers.generation("late"))
    assert not answers.on_their_way()
    assert answers.names() == before
    assert len(answers.steps("answer")) == 3


def test_closing_an_idle_worker_ends_its_thread() -> None:
    client = Bridge(Answers().deliver, running_clock())
    assert client.close()
    assert client.close()


@pytest.mark.parametrize("broken", ["look", "generate", "message", "tokens"])
def test_engine_error_ends_one_request(broken: str) -> None:
    error = LmtuiError("it broke", "the detail", "Mend it.")
    engine = FakeWriter(["fine"], error=error)
    with running(engine) as (answers, client):
        if broken == "look":
            client.score_draft("h", **answers.of("broken"))
        elif broken == "generate":
            client.generate(HELLO, **answers.generation("broken"))
        else:
            message = broken == "message"
            passage = TextAfter(HELLO, "h") if message else TokensAfter((1,))
            client.score(passage, **answers.of("broken", "dropped"))
        failed = answers.wait("broken failed")
        assert not client.pending()
        engine.error = None
        client.generate(HELLO, **answers.generation("fine"))
        answers.wait("fine then")
    assert answers.ends() == ["broken failed", "fine then"]
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

    engine = FakeWriter([ANSWER, "fine"], on_token=fail)
    with running(engine, standing_clock) as (answers, client):
        client.generate(HELLO, **answers.generation("broken"))
        failed = answers.wait("broken failed")
        client.generate(HELLO, **answers.generation("fine"))
        answers.wait("fine then")
    assert "bug" in failed.title
    assert failed.detail == "ZeroDivisionError: oops"
    assert recorded == [bug]
    assert len(answers.steps("broken")) == 2  # what was gathered before is not lost
    assert answers.ends() == ["broken failed", "fine then"]


def test_library_panic_ends_one_request() -> None:
    def fail(index: int) -> None:
        if index == 2:
            panics.panic()

    engine = FakeWriter([ANSWER, "fine"], on_token=fail)
    with running(engine) as (answers, client):
        client.generate(HELLO, **answers.generation("broken"))
        failed = answers.wait("broken failed")
        client.generate(HELLO, **answers.generation("fine"))
        answers.wait("fine then")
    assert failed.title and failed.hint
    assert "retry-limit" in failed.detail


def test_an_event_loop_that_went_away_does_not_end_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmtui.log.record_bug", lambda error: None)
    answers, calls = Answers(), itertools.count()

    def deliver(call: Callable[[], object]) -> None:
        if next(calls) == 0:
            raise RuntimeError("the event loop is closed")
        answers.deliver(call)

    client = Bridge(deliver, running_clock())
    client.load(lambda _: FakeWriter(["a"]), **answers.of("model", "progress"))
    client.generate(HELLO, **answers.generation("answer"))
    answers.wait("answer then")
    assert client.close(SECONDS)


def test_requests_without_a_model_fail() -> None:
    with running() as (answers, client):
        client.score_draft("h", **answers.of("draft"))
        client.generate(HELLO, **answers.generation("answer"))
        client.score(TokensAfter((1,)), **answers.of("score", "dropped"))
        client.count("abc", **answers.of("count"))
        for name in ("draft", "answer", "score", "count"):
            assert answers.wait(f"{name} failed").title == "no model is loaded"
        assert not client.pending()
    assert len(answers.names()) == 4


def test_progress_of_a_load_is_forwarded() -> None:
    reports = [
        Progress("fetching", 0, 9),
        Progress("fetching", 4, 9),
        Progress("it is large", warning=True),
        Progress("fetching", 9, 9),
        Progress("loading", unit="layers"),
    ]

    def load(on_progress: OnProgress) -> FakeWriter:
        for report in reports:
            on_progress(report)
        return FakeWriter(name="tiny")

    with running(clock=standing_clock) as (answers, client):
        client.load(load, **answers.of("model", "progress"))
        opened = answers.wait("model then")
    # On a standing clock the one in the middle is one too many.
    assert answers.values("model progress") == [reports[0], *reports[2:]]
    assert answers.names() == [*["model progress"] * 4, "model then"]
    assert opened.info.model == "tiny"
    assert opened.capabilities == FakeWriter().capabilities


def test_load_after_a_failed_one_serves_the_waiting_request() -> None:
    def fail(on_progress: OnProgress) -> FakeWriter:
        raise LmtuiError("no such model", "x", "Name another.")

    gate = Event()

    def load(on_progress: OnProgress) -> FakeWriter:
        assert gate.wait(SECONDS)
        return FakeWriter([ANSWER])

    with running() as (answers, client):
        client.load(fail, **answers.of("bad", "progress"))
        assert answers.wait("bad failed").title == "no such model"
        client.load(load, **answers.of("good", "progress"))
        client.generate(HELLO, **answers.generation("answer"))  # waits for it
        gate.set()
        answers.wait("answer then")
    assert answers.names()[:3] == ["bad failed", "good then", "answer prompt_ready"]


def test_second_model_replaces_the_first_and_drops_its_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmtui.worker.worker.gc", gc)
    gate, old = Gate(at=2), [FakeWriter([ANSWER], name="old")]
    old[0].on_token = gate
    gone = weakref.ref(old[0])
    was_gone: list[bool] = []

    def load(on_progress: OnProgress) -> FakeWriter:
        was_gone.append(gone() is None)
        return FakeWriter(["new answer"], name="new")

    with running() as (answers, client):
        other = client.another()
        client.load(lambda _: old.pop(), **answers.of("old", "progress"))
        answers.wait("old then")
        client.generate(HELLO, **answers.generation("runs"))
        gate.wait()
        answers.wait("runs steps")
        handle = answers.steps("runs")[0].distribution.handle
        other.generate(HELLO, **answers.generation("waits"))
        client.score_draft("h", **answers.of("draft"))
        client.load(load, **answers.of("new", "progress"))
        client.preview(handle, PLAIN, **answers.of("preview"))
        client.score(TokensAfter((1,)), **answers.of("score", "dropped"))
        gate.open()
        assert answers.wait("new then").info.model == "new"
        assert not client.pending() and not other.is_pending(Slot.GENERATE)
        client.generate(HELLO, **answers.generation("second"))
        answers.wait("second then")
    assert answers.wait("runs then").reason is FinishReason.CANCELLED
    assert answers.wait("second then").reason is FinishReason.STOP
    assert sorted(answers.ends()) == [
        "new then",
        "old then",
        "runs then",
        "score dropped",
        "second then",
        "waits dropped",
    ]
    assert was_gone == [True]


@pytest.mark.parametrize("ends", ["by itself", "at a report", "with an error"])
@pytest.mark.parametrize("asks", ["the same client", "another client"])
def test_a_newer_load_overtakes_the_one_that_runs(ends: str, asks: str) -> None:
    begun, go_on = Event(), Event()
    outlived: list[str] = []

    def first(on_progress: OnProgress) -> FakeWriter:
        begun.set()
        assert go_on.wait(SECONDS)
        if ends == "at a report":
            on_progress(Progress("loading"))
            outlived.append(ends)
        if ends == "with an error":
            raise LmtuiError("failed")
        return FakeWriter(name="first")

    with running() as (answers, client):
        newer = client if asks == "the same client" else client.another()
        client.load(first, **answers.of("first", "progress"))
        assert begun.wait(SECONDS)
        newer.load(
            lambda _: FakeWriter(name="second"), **answers.of("second", "progress")
        )
        go_on.set()
        assert answers.wait("second then").info.model == "second"
        assert not client.pending()
    assert answers.names() == ["second then"]
    assert not outlived


def test_every_client_gets_only_its_own_answers() -> None:
    gate, first, second = Gate(at=2), Answers(), Answers()
    with running(FakeWriter([ANSWER, "another"], on_token=gate)) as (rest, client):
        one = Asker(client.engine, first.deliver)
        other = Asker(client.engine, second.deliver)
        one.generate(HELLO, **first.generation("answer"))
        gate.wait()
        one.count("abc", **first.of("count"))
        other.score_draft("h", **second.of("draft"))
        other.generate(HELLO, **second.generation("answer"))
        other.score(TextAfter(HELLO, "h"), **second.of("score", "dropped"))
        gate.open()
        second.wait("score then")
        first.drain()
    assert not rest.names()
    assert first.ends() == ["answer then", "count then"]
    assert second.ends() == ["draft then", "answer then", "score then"]
    assert first.text("answer") == ANSWER
    assert second.text("answer") == "another"


def test_preview_with_a_handle_of_a_replaced_model_fails() -> None:
    with running(FakeWriter(name="old")) as (answers, client):
        client.score_draft("h", **answers.of("old"))
        handle = answers.wait("old then").distribution.handle
        client.load(lambda _: FakeWriter(name="new"), **answers.of("load", "progress"))
        answers.wait("load then")
        client.score_draft("h", **answers.of("new"))
        other = answers.wait("new then").distribution.handle
        client.preview(handle, PLAIN, **answers.of("preview"))
        answers.wait("preview failed")
    assert handle != other
    assert not answers.values("preview then")


# What holds in each slot, and for the newest request of it.


@pytest.mark.parametrize("slot", Slot)
def test_a_request_is_pending_until_its_end_is_handed_over(slot: Slot) -> None:
    with trying(slot) as (answers, client, ask):
        assert not client.pending()
        ask(client, "it")
        while not answers.ends():
            assert client.pending() == [slot]
            answers.call_next()
        assert not client.pending()
    assert answers.ends() == ["it then"]


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("bound", [True, False])
def test_request_with_ids_or_handles_is_dropped_while_a_model_loads(
    slot: Slot, bound: bool
) -> None:
    gate = Gate(at=1)
    with trying(slot, gate) as (answers, client, ask):
        loading = Answers()
        loader = Asker(client.engine, loading.deliver)
        loader.load(lambda _: FakeWriter(), **loading.of("model", "progress"))
        ask(client, "it", bound=bound)
        answers.drain()
        if bound and slot is not Slot.LOAD:
            assert not client.pending()
            assert answers.names() == ["it dropped"]
        else:
            assert client.pending() == [slot] and not answers.names()
            gate.open()
            answers.wait("it then")


def test_generation_after_a_prompt_is_dropped_while_a_model_loads() -> None:
    with trying(Slot.LOAD, Gate(at=1)) as (answers, client, ask):
        ask(client, "model")
        prompt = Prompt((104, 105), "hi")
        client.generate(prompt, **answers.generation("answer"))
        answers.drain()
        assert client.pending() == [Slot.LOAD]
    assert answers.names() == ["answer dropped"]


def test_score_of_a_message_waits_while_a_model_loads() -> None:
    gate = Gate(at=1)
    with trying(Slot.LOAD, gate) as (answers, client, ask):
        ask(client, "model")
        client.score(TextAfter(HELLO, "hi"), **answers.of("score", "dropped"))
        gate.open()
        answers.wait("score then")
    assert answers.ends() == ["model then", "score then"]


def test_request_to_the_other_model_fails_where_there_is_none() -> None:
    with trying(Slot.LOOK) as (answers, client, ask):
        ask(client, "it", other=True)
        failed = answers.wait("it failed")
    assert "compare" in failed.title


def test_a_request_has_ended_when_its_answer_is_taken() -> None:
    """So the one who takes it may ask the next."""
    pending: list[list[Slot]] = []
    with running(FakeWriter()) as (answers, client):

        def then(_: object) -> None:
            pending.append(client.pending())
            client.score_draft("again", **answers.of("second"))

        functions = answers.of("first") | {"then": then}
        client.score_draft("h", **functions)
        answers.call_next()
        assert client.pending() == [Slot.LOOK]
        answers.wait("second then")
    assert pending == [[]]
    assert answers.names() == ["second then"]


@pytest.mark.parametrize("slot", set(Slot) - {Slot.SCORE})
def test_answer_on_its_way_is_dropped_for_a_newer_request(slot: Slot) -> None:
    with trying(slot) as (answers, client, ask):
        ask(client, "older")
        client.finish()
        assert answers.on_their_way() and client.pending() == [slot]
        ask(client, "newer")
        answers.wait("newer then")
        assert not client.pending()
    assert {name.split()[0] for name in answers.names()} == {"newer"}
    assert answers.ends() == ["newer then"]


def test_failure_on_its_way_is_dropped_for_a_newer_request() -> None:
    engine = FakeWriter(error=LmtuiError("it broke"))
    with running(engine) as (answers, client):
        client.score_draft("h", **answers.of("older"))
        client.finish()
        assert answers.on_their_way() == 1
        engine.error = None
        client.score_draft("hi", **answers.of("newer"))
        answers.wait("newer then")
    assert answers.names() == ["newer then"]


def test_answer_to_a_request_of_another_slot_is_handed_over() -> None:
    with running(FakeWriter()) as (answers, client):
        client.score_draft("h", **answers.of("draft"))
        client.finish()
        client.count("abc", **answers.of("count"))
        answers.wait("count then")
    assert answers.names() == ["draft then", "count then"]


@pytest.mark.parametrize("slot", Slot)
def test_nothing_of_a_cancelled_request_that_waits_is_handed_over(slot: Slot) -> None:
    gate = Gate(at=1)
    with trying(slot, gate) as (answers, client, ask):
        ask(client, "it")
        assert client.pending() == [slot]
        assert client.cancel(slot)
        assert not client.pending()
        gate.open()
        client.finish()
        answers.drain()
        assert not client.cancel(slot) and not client.stop(slot)
    assert not answers.names()


@pytest.mark.parametrize("slot", [Slot.LOOK, Slot.GENERATE, Slot.SCORE])
def test_nothing_of_a_cancelled_request_that_runs_is_handed_over(slot: Slot) -> None:
    gate = Gate(at=1)
    engine = FakeWriter([ANSWER], on_token=gate)
    with running(engine) as (answers, client):
        match slot:
            case Slot.LOOK:
                client.score_draft("a draft", **answers.of("it"))
            case Slot.GENERATE:
                client.generate(HELLO, **answers.generation("it"))
            case _:
                part = PartOf(
                    (1, 2, 3),
                    (),
                    Windows.choose(context=engine.info.context),
                    start=0,
                    end=3,
                )
                client.score(part, **answers.of("it", "scored"))
        gate.wait()
        assert client.cancel(slot)
        assert not client.pending()
        gate.open()
        client.finish()
        answers.drain()
    assert not answers.names()


def test_cancelled_generation_ends_within_a_token() -> None:
    gate = Gate(at=3)
    read: list[int] = []

    def on_token(index: int) -> None:
        read.append(index)
        gate(index)

    with running(FakeWriter([ANSWER], on_token=on_token)) as (answers, client):
        client.generate(HELLO, **answers.generation("answer"))
        gate.wait()
        client.cancel(Slot.GENERATE)
        gate.open()
        client.finish()
    assert read == [0, 1, 2, 3]


def test_cancelled_answer_on_its_way_is_not_handed_over() -> None:
    with running(FakeWriter()) as (answers, client):
        client.score_draft("h", **answers.of("draft"))
        client.finish()
        assert answers.on_their_way() == 1
        assert client.cancel(Slot.LOOK)
        assert not client.pending()
        answers.drain()
    assert not answers.names()


def test_request_after_a_cancelled_one_is_answered() -> None:
    gate = Gate(at=1)
    with running(FakeWriter(["a b", "c"], on_token=gate)) as (answers, client):
        client.generate(HELLO, **answers.generation("cancelled"))
        gate.wait()
        client.cancel(Slot.GENERATE)
        client.generate(HELLO, **answers.generation("next"))
        gate.open()
        done = answers.wait("next then")
    assert done.reason is FinishReason.STOP
    assert answers.text("next") == "c"
    assert answers.ends() == ["next then"]


def test_cancel_ends_the_named_slots_or_all() -> None:
    gate = Gate(at=1)
    with trying(Slot.LOOK, gate) as (answers, client, ask):
        other = client.another()
        other.count("a", **answers.of("other"))
        ask(client, "draft")
        for slot in (Slot.SUGGEST, Slot.REPLACE, Slot.SPAN):
            client.ask(slot, lambda *_: None, **answers.of(slot.name))
        assert client.cancel(Slot.REPLACE, Slot.SPAN, Slot.SCORE)
        assert client.pending() == [Slot.LOOK, Slot.SUGGEST]
        assert client.cancel()
        assert not client.pending()
        assert not client.cancel()
        gate.open()
        answers.wait("other then")
        client.finish()
        answers.drain()
    assert answers.names() == ["other then"]


@pytest.mark.parametrize("slot", Slot)
def test_stopped_request_that_waits_is_dropped_at_once(slot: Slot) -> None:
    with trying(slot, Gate(at=1)) as (answers, client, ask):
        ask(client, "it")
        assert client.stop(slot)
        assert client.pending() == [slot]  # its end is on its way
        answers.drain()
        assert not client.pending()
    assert answers.names() == ([] if slot is Slot.LOAD else ["it dropped"])


def test_answer_on_its_way_is_handed_over_after_a_stop() -> None:
    with running(FakeWriter()) as (answers, client):
        client.score_draft("h", **answers.of("draft"))
        client.finish()
        assert answers.on_their_way() == 1
        assert client.stop(Slot.LOOK)
        answers.drain()
        assert not client.pending()
    assert answers.names() == ["draft then"]


@pytest.mark.parametrize("slot", Slot)
def test_request_of_another_client_drops_the_one_that_waits(slot: Slot) -> None:
    gate = Gate(at=1)
    with trying(slot, gate) as (answers, client, ask):
        other = client.another()
        ask(client, "first")
        ask(other, "second")
        answers.drain()
        assert not client.pending() and other.is_pending(slot)
        assert answers.names() == ([] if slot is Slot.LOAD else ["first dropped"])
        gate.open()
        answers.wait("second then")
    assert "first then" not in answers.names()


def test_request_of_another_client_drops_the_one_that_runs() -> None:
    gate = Gate(at=1)
    with running(FakeWriter(on_token=gate)) as (answers, client):
        other = client.another()
        client.score(TokensAfter((1, 2, 3)), **answers.of("first", "dropped"))
        gate.wait()
        other.score(TokensAfter((1, 2)), **answers.of("second", "dropped"))
        gate.open()
        answers.wait("first dropped")
        assert not client.pending() and other.is_pending(Slot.SCORE)
        answers.wait("second then")
    assert answers.names() == ["first dropped", "second then"]


def test_versions_come_as_they_are_drawn_and_a_stop_ends_them_all() -> None:
    asked = [replace(PLAIN, seed=seed) for seed in (1, 2)]
    gate = Gate(2)
    engine = FakeWriter(["a b c d", "e f g h"], on_token=gate)
    with running(engine, standing_clock) as (answers, client):
        client.ask(
            Slot.GENERATE,
            lambda engine, context: run_versions(engine, context, HELLO, asked),
            batch=generation_batch(answers.take("it items"), answers.take("it prompt")),
            **answers.of("it", "dropped"),
        )
        gate.wait()
        client.stop(Slot.GENERATE)
        gate.open()
        answers.wait("it then")
        items = [each for batch in answers.values("it items") for each in batch]
    assert answers.names()[0] == "it prompt"
    drawn = [row for row, item in items if isinstance(item, Step)]
    assert drawn == [0, 1, 0, 1]  # none after the stop
    ends = [item.reason for _, item in items if isinstance(item, GenerationResult)]
    assert ends == [FinishReason.CANCELLED] * 2
    assert answers.ends() == ["it then"]
