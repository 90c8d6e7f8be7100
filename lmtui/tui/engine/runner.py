"""The engine runner: one engine thread, shared by all screens.

Each screen asks through a `Runner` of its own and never waits. The answers go to that
screen as messages with their revision or job. Knows no widget; the engine comes from
whoever calls `load`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from threading import Thread
from typing import Protocol

from lmtui.engine.types import ChatTurn, Prompt, SamplingSettings
from lmtui.tui.engine.batching import Clock, Post
from lmtui.tui.engine.engine_thread import EngineWork
from lmtui.tui.engine.inspecting_runner import InspectingRunner
from lmtui.tui.engine.mailbox import Mailbox
from lmtui.tui.engine.questions import Load, OpenEngine, Passage
from lmtui.tui.engine.screen_runner import ScreenRunner, put
from lmtui.tui.engine.writing_runner import WritingRunner


class Runner(Protocol):
    """A screen's interface to the engine; no method waits for its answer.

    Of each kind of question one waits, the newest of the whole program. The most urgent
    goes first: preview, look, count, generate, score. Every job ends with exactly one
    message: finished, scored, failed or dropped. Of looks, counts and previews only the
    last is sure to be answered.
    """

    def number(self) -> int:
        """Return a number for a revision or a job that no screen has had before."""

    def look(
        self,
        revision: int,
        messages: Sequence[ChatTurn],
        draft: str,
        settings: SamplingSettings,
        *,
        prefix_len: int | None = None,
        thinking: bool | None = None,
        top_n: int = 20,
    ) -> None:
        """Read a message that is being written: `DraftLooked`, `LookFailed`.

        With `prefix_len`, what comes after so many of its tokens is told, not after
        all; `thinking` is that of `Engine.prompt`, here and below. Waits while an
        answer is generated."""

    def look_after(
        self,
        revision: int,
        ids: Sequence[int],
        settings: SamplingSettings,
        *,
        top_n: int = 20,
    ) -> None:
        """Compute the distribution after ids of the loaded model.

        Answers `DraftLooked` or `LookFailed`; dropped where another model is loaded
        meanwhile.
        """

    def count(self, revision: int, texts: Sequence[str]) -> None:
        """Count the tokens of each text, encoded by itself: `TextsCounted`.

        Waits while an answer is generated.
        """

    def preview(
        self,
        revision: int,
        handle: int,
        settings: SamplingSettings,
        start: int = 0,
        count: int = 20,
        *,
        other: bool = False,
    ) -> None:
        """Draw an earlier distribution again: `PreviewReady`, `PreviewFailed`; with
        `other` one of the model that is compared with.

        Answered between two tokens of whatever is being generated.
        """

    def generate(
        self,
        job: int,
        start: Sequence[ChatTurn] | Prompt,
        settings: SamplingSettings,
        *,
        prefill: str = "",
        top_n: int = 20,
        drop_oldest: bool = False,
        thinking: bool | None = None,
    ) -> None:
        """Answer a conversation (its answer beginning with `prefill`), or go on after
        the ids of a prompt and those of `prefill`, read by itself. With `drop_oldest`
        the oldest turns are left out where all of them do not fit.

        `GenerationStarted`, `PromptProgressed`, `StepsArrived`, then
        `GenerationFinished` (also when stopped) or `GenerationFailed`.
        """

    def score(self, job: int, passage: Passage, *, other: bool = False) -> None:
        """Score a text: `TokensScored`, `ScoreFailed`; a part of a document is reported
        by `ScoresArrived` first. `other` asks the model that is compared with."""

    def stop(self, job: int) -> None:
        """End a job within one token; a job that has ended stays as it is."""


class EngineRunner:
    """One daemon thread, which makes every call to the engine.

    `post` takes what becomes known of the model. It and every screen's own are called
    from that thread and from the asker's, and must not block.
    """

    def __init__(self, post: Post, clock: Clock = time.monotonic) -> None:
        self._mailbox = Mailbox()
        self._post = post
        self._numbers = count(1)
        work = EngineWork(self._mailbox, clock)
        self._thread = Thread(target=work.run, name="engine", daemon=True)
        self._thread.start()

    def load(self, open_engine: OpenEngine) -> int:
        """Open an engine in place of the one there is, which is let go of first;
        returns the number that every fact about this load carries.

        Whatever runs is stopped and whatever waits is dropped. What is asked while
        the engine opens waits for it, except what speaks in ids or handles, which
        were the old one's. Ends with `ModelLoaded` or `ModelFailed`, or silently when
        another load has taken its place.
        """
        load = next(self._numbers)
        question = Load(reply=self._post, load=load, open_engine=open_engine)
        put(self._mailbox, question)
        return load

    def for_screen(self, post: Post) -> Runner:
        """Return a runner whose answers all go to `post`."""
        return ScreenRunner(self._mailbox, post, self._numbers)

    def for_writing(self, post: Post) -> WritingRunner:
        """Return a runner for the editor, with the questions of `WritingRunner`."""
        return WritingRunner(self._mailbox, post, self._numbers)

    def for_inspecting(self, post: Post) -> InspectingRunner:
        """Return a runner for the inspector, with those of `InspectingRunner`."""
        return InspectingRunner(self._mailbox, post, self._numbers)

    def close(self, timeout: float = 0.8) -> bool:
        """Stop everything and post no more; return whether the thread has ended after
        at most `timeout` seconds."""
        self._mailbox.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()
