"""The engine thread: takes questions from the mailbox and posts the answers.

Holds the engine, makes every call to it, and frees it before another one is opened. A
failure ends one question, never the thread. Knows no screen.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from textual.message import Message

from lmtui import log
from lmtui.engine.drop_turns import dropped, fitted
from lmtui.engine.protocol import EditorEngine, Engine
from lmtui.engine.types import GenerationResult, Prompt, Step
from lmtui.errors import Cancelled, LmtuiError, panics_as_errors
from lmtui.models.progress import Progress
from lmtui.tui.engine import inspecting_work, scoring_work, writing_work
from lmtui.tui.engine.batching import Batch, Clock, LoadReports
from lmtui.tui.engine.inspecting_questions import InspectingQuestion, LookAt
from lmtui.tui.engine.mailbox import Mailbox
from lmtui.tui.engine.messages import (
    DraftLooked,
    GenerationFinished,
    GenerationStarted,
    JobDropped,
    ModelFact,
    ModelLoaded,
    PreviewReady,
    PromptProgressed,
    StepsArrived,
    TextsCounted,
)
from lmtui.tui.engine.questions import (
    Count,
    Cut,
    Generate,
    Job,
    Load,
    Look,
    LookAfter,
    Preview,
    Question,
    Score,
)
from lmtui.tui.engine.writing_questions import Expect, WritingJob


class EngineWork:
    """Loop that answers the questions in a mailbox one by one until it is closed."""

    def __init__(self, mailbox: Mailbox, clock: Clock) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._engine: EditorEngine | None = None
        self._other: EditorEngine | None = None  # to compare it with

    def run(self) -> None:
        """Run the engine thread's loop."""
        while question := self._mailbox.take():
            self._answer(question)

    def _reply(self, question: Question, report: Message) -> None:
        if self._mailbox.closed:
            return  # the program is closing
        try:
            question.reply(report)
        except Exception as error:  # a closed screen must not end the thread
            log.record_bug(error)

    def _answer(self, question: Question) -> None:
        try:
            with panics_as_errors():
                self._do(question)
        except Cancelled:
            self._give_up(question)
        except LmtuiError as error:
            self._fail(question, error)
        except Exception as error:
            self._fail(question, _bug(error))

    def _do(self, question: Question) -> None:
        match question:
            case Load():
                self._load(question)
            case Preview():
                self._preview(question)
            case Look():
                self._look(question)
            case LookAfter():
                self._look_after(question)
            case Count():
                self._count(question)
            case Generate():
                self._generate(question)
            case Cut():
                scoring_work.cut(
                    self._asked(question),
                    question,
                    tell=partial(self._reply, question),
                    should_stop=partial(self._unwanted, question),
                )
            case Score():
                scoring_work.answer(
                    self._asked(question),
                    question,
                    tell=partial(self._reply, question),
                    should_stop=partial(self._unwanted, question),
                    clock=self._clock,
                )
            case Expect() | WritingJob():
                writing_work.answer(
                    self._loaded(),
                    question,
                    tell=partial(self._reply, question),
                    should_stop=partial(self._unwanted, question),
                )
            case InspectingQuestion():
                inspecting_work.answer(
                    self._asked(question)
                    if isinstance(question, LookAt)
                    else self._loaded(),
                    question,
                    tell=partial(self._reply, question),
                    should_stop=partial(self._unwanted, question),
                )

    def _fail(self, question: Question, error: LmtuiError) -> None:
        if isinstance(question, Load) and question.flag.is_set():
            return  # another load has taken its place
        # A copy: the error's traceback would keep the engine and its model alive.
        copy = LmtuiError(error.title, error.detail, error.hint)
        self._reply(question, question.failed(copy))

    def _give_up(self, question: Question) -> None:
        if isinstance(question, Load | Generate) or not self._mailbox.put_back(
            question
        ):
            self._drop(question)

    def _drop(self, question: Question) -> None:
        if isinstance(question, Job):
            self._reply(question, JobDropped(question.job))

    def _loaded(self) -> EditorEngine:
        if self._engine is None:
            raise LmtuiError(
                "no model is loaded", "", "Choose one on the model screen."
            )
        return self._engine

    def _load(self, load: Load) -> None:
        if self._engine is not None:
            self._engine = self._other = None
            gc.unfreeze()
            gc.collect()  # a model is full of cycles, and two may not fit

        def post(fact: Message) -> None:
            assert isinstance(fact, ModelFact)
            self._reply(load, replace(fact, load=load.load))

        reports = LoadReports(post, self._clock)

        def report(progress: Progress) -> None:
            if load.flag.is_set():
                raise Cancelled
            reports.report(progress)

        try:
            opened = load.open_engine(report)
            engine, other = opened if isinstance(opened, tuple) else (opened, None)
            self._engine, self._other = engine, other
        finally:
            self._mailbox.done()  # from here on, ids and handles are of this engine
        # The model's objects live until the next load. Without the freeze, each full
        # garbage collection scans them and stops all threads for about 0.1 s.
        gc.collect()
        gc.freeze()
        if not load.flag.is_set():
            against = other.info if other else None
            post(ModelLoaded(engine.info, engine.capabilities, against))

    def _preview(self, preview: Preview) -> None:
        engine = self._asked(preview)
        try:
            distribution = engine.preview(
                preview.handle,
                preview.settings,
                start=preview.start,
                count=preview.count,
            )
        except KeyError as error:
            raise LmtuiError(
                "this position can't be drawn again",
                "its numbers are no longer in memory",
                "Type or generate more to see a new one.",
            ) from error
        self._reply(preview, PreviewReady(preview.revision, distribution))

    def _serve_previews(self) -> None:
        while preview := self._mailbox.take_preview():
            self._answer(preview)

    def _look(self, look: Look) -> None:
        trace = self._loaded().score_draft(
            look.messages,
            look.draft,
            look.settings,
            prefix_len=look.upto,
            thinking=look.thinking,
            top_n=look.top,
            should_stop=lambda: self._unwanted(look),
        )
        logprob = math.fsum(token.logprob or 0.0 for token in trace.tokens)
        shown, tokens, before = trace.distribution, trace.tokens, len(trace.context)
        looked = DraftLooked(look.revision, shown, tokens, logprob, before)
        self._reply(look, looked)

    def _look_after(self, look: LookAfter) -> None:
        shown = self._loaded().next_distribution(
            look.ids,
            look.settings,
            top_n=look.top,
            should_stop=lambda: self._unwanted(look),
        )
        looked = DraftLooked(look.revision, shown, (), 0.0, len(look.ids))
        self._reply(look, looked)

    def _count(self, count: Count) -> None:
        engine = self._loaded()
        tokens = [len(engine.encode(text, bos="no").ids) for text in count.texts]
        self._reply(count, TextsCounted(count.revision, tuple(tokens)))

    def _unwanted(self, question: Question) -> bool:
        """Return whether to break off: for good, or until a more urgent question is
        done."""
        return question.flag.is_set() or self._mailbox.outranked(question)

    def _generate(self, question: Generate) -> None:
        engine = self._loaded()
        prompt, left_out = _laid_out(engine, question)
        self._reply(question, GenerationStarted(question.job, prompt, left_out))

        def progress(done: int, total: int) -> None:
            self._reply(question, PromptProgressed(question.job, done, total))
            self._serve_previews()

        items = engine.generate(
            prompt,
            question.settings,
            top_n=question.top,
            should_stop=question.flag.is_set,
            progress=progress,
        )
        finish = self._stream(question, items)
        self._reply(question, GenerationFinished(question.job, finish))

    def _stream(
        self, question: Generate, items: Iterator[Step | GenerationResult]
    ) -> GenerationResult:
        batch: Batch[Step] = Batch(
            partial(StepsArrived, question.job),
            partial(self._reply, question),
            self._clock,
        )
        finish: GenerationResult | None = None
        try:
            for item in items:
                if isinstance(item, GenerationResult):
                    finish = item
                    continue
                batch.add(item)
                self._serve_previews()
        finally:
            batch.flush()
        assert finish is not None, "a generation ends with its Finish"
        return finish

    def _asked(self, question: Score | Cut | Preview | LookAt) -> EditorEngine:
        if not question.other:
            return self._loaded()
        if self._other is None:
            raise LmtuiError("there is no model to compare with")
        return self._other


def _laid_out(engine: Engine, question: Generate) -> tuple[Prompt, int]:
    """Return the prompt of a question, and how many messages are left out of it."""
    start, prefill = question.start, question.prefill
    thinking = question.thinking
    if isinstance(start, Prompt):
        return _with_text(engine, start, prefill), 0
    if not question.drop_oldest:
        prompt = engine.prompt(start, prefill=prefill, thinking=thinking)
        return prompt, dropped(start, prompt)
    room = question.settings.max_tokens
    return fitted(engine, start, prefill=prefill, thinking=thinking, answer=room)


def _with_text(engine: Engine, prompt: Prompt, text: str) -> Prompt:
    """Append a text to a prompt. The prompt's ids stay as they are; the text is encoded
    by itself, and nothing in it becomes a control token."""
    if not text:
        return prompt
    ids = (*prompt.ids, *_inside(engine, text))
    return Prompt(ids, prompt.text + text, prompt.stop_texts)


def _inside(engine: Engine, text: str) -> tuple[int, ...]:
    """Return the ids of a text that does not begin a document. Some tokenizers put a
    space before the first word, so the text is also encoded after a newline."""
    alone, line = (engine.encode(part, bos="no").ids for part in (text, "\n"))
    after = engine.encode(f"\n{text}", bos="no").ids
    return after[len(line) :] if after[: len(line)] == line else alone


def _bug(error: Exception) -> LmtuiError:
    """Wrap an unexpected error for the user; its traceback goes to the log."""
    file = log.record_bug(error)
    return LmtuiError(
        "this is a bug in lmtui",
        f"{type(error).__name__}: {error}",
        f"The details are in {file}." if file else "The log could not be written.",
    )
