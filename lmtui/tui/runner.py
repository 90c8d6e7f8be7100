"""The only bridge between the screens and the engine thread.

Owns the thread. Screens ask through the `Runner` and never wait; answers come as
messages, each with the revision or the job it belongs to. Knows no widget; the
engine comes from whoever calls `load`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Thread
from typing import Protocol

from lmtui.engine.types import Message, Prompt, SamplingSettings
from lmtui.tui.batches import Clock, Post
from lmtui.tui.engine_thread import EngineWork
from lmtui.tui.mailbox import Mailbox
from lmtui.tui.messages import JobDropped
from lmtui.tui.questions import (
    Generate,
    Job,
    Load,
    Look,
    OpenEngine,
    Preview,
    Question,
    Score,
    TextAfter,
    TokensAfter,
)


class Runner(Protocol):
    """What a screen can ask of the engine; nothing here waits for an answer.

    Of each kind of question one waits, the newest. The most urgent goes first:
    preview, look, generate, score. Every job ends with exactly one message:
    finished, scored, failed or dropped. Of looks and previews only the last is sure
    to be answered. Job ids are the caller's and never used twice.
    """

    def load(self, open_engine: OpenEngine) -> None:
        """Open an engine in place of the one there is, which is let go of first.

        Whatever runs is stopped and whatever waits is dropped. What is asked while
        the engine opens waits for it, except what speaks in ids or handles, which
        were the old one's. Ends with `ModelLoaded` or `ModelFailed`.
        """

    def look(
        self,
        revision: int,
        messages: Sequence[Message],
        draft: str,
        settings: SamplingSettings,
        *,
        top: int = 20,
    ) -> None:
        """Read a message that is being written: `DraftLooked`, `LookFailed`.

        Waits while an answer is generated.
        """

    def preview(
        self,
        revision: int,
        handle: int,
        settings: SamplingSettings,
        start: int = 0,
        count: int = 20,
    ) -> None:
        """Draw an earlier distribution again: `PreviewReady`, `PreviewFailed`.

        Answered between two tokens of whatever is being generated.
        """

    def generate(
        self,
        job: int,
        start: Sequence[Message] | Prompt,
        settings: SamplingSettings,
        *,
        prefill: str = "",
        top: int = 20,
    ) -> None:
        """Answer a conversation (its answer beginning with `prefill`), or go on after
        the ids of a prompt.

        `GenerationStarted`, `PromptProgressed`, `StepsArrived`, then
        `GenerationFinished` (also when stopped) or `GenerationFailed`.
        """

    def score(self, job: int, passage: TextAfter | TokensAfter) -> None:
        """Say what the model thinks of a text: `TokensScored`, `ScoreFailed`."""

    def stop(self, job: int) -> None:
        """End a job within one token; a job that has ended stays as it is."""

    def close(self, timeout: float = 0.8) -> bool:
        """Stop everything and post nothing more; whether the thread has ended after
        at most `timeout` seconds."""


class EngineRunner:
    """A `Runner` on one daemon thread, which makes every call to the engine.

    `post` is called from that thread and from the caller's, and must not block.
    """

    def __init__(self, post: Post, clock: Clock = time.monotonic) -> None:
        self._mailbox = Mailbox()
        self._post = post
        work = EngineWork(self._mailbox, post, clock)
        self._thread = Thread(target=work.run, name="engine", daemon=True)
        self._thread.start()

    def load(self, open_engine: OpenEngine) -> None:
        """Open an engine in place of the one there is."""
        self._ask(Load(open_engine=open_engine))

    def look(
        self,
        revision: int,
        messages: Sequence[Message],
        draft: str,
        settings: SamplingSettings,
        *,
        top: int = 20,
    ) -> None:
        """Read a message that is being written."""
        self._ask(
            Look(
                revision=revision,
                messages=tuple(messages),
                draft=draft,
                settings=settings,
                top=top,
            )
        )

    def preview(
        self,
        revision: int,
        handle: int,
        settings: SamplingSettings,
        start: int = 0,
        count: int = 20,
    ) -> None:
        """Draw an earlier distribution again."""
        self._ask(
            Preview(
                revision=revision,
                handle=handle,
                settings=settings,
                start=start,
                count=count,
            )
        )

    def generate(
        self,
        job: int,
        start: Sequence[Message] | Prompt,
        settings: SamplingSettings,
        *,
        prefill: str = "",
        top: int = 20,
    ) -> None:
        """Answer a conversation, or go on after the ids of a prompt."""
        begin = start if isinstance(start, Prompt) else tuple(start)
        self._ask(
            Generate(job=job, start=begin, settings=settings, prefill=prefill, top=top)
        )

    def score(self, job: int, passage: TextAfter | TokensAfter) -> None:
        """Say what the model thinks of a text."""
        self._ask(Score(job=job, passage=passage))

    def stop(self, job: int) -> None:
        """End a job within one token."""
        if dropped := self._mailbox.stop(job):
            self._drop(dropped)

    def close(self, timeout: float = 0.8) -> bool:
        """Stop everything; whether the thread has ended."""
        self._mailbox.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _ask(self, question: Question) -> None:
        for displaced in self._mailbox.put(question):
            self._drop(displaced)

    def _drop(self, question: Question) -> None:
        if isinstance(question, Job) and not self._mailbox.closed:
            self._post(JobDropped(question.job))
