"""One screen's `Runner`: puts questions into the mailbox with a reply address.

The asker of a displaced job is told. Never waits. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lmtui.engine.types import ChatTurn, Prompt, SamplingSettings
from lmtui.tui.engine.batching import Post
from lmtui.tui.engine.mailbox import Mailbox
from lmtui.tui.engine.messages import JobDropped
from lmtui.tui.engine.questions import (
    Count,
    Generate,
    Job,
    Look,
    LookAfter,
    Passage,
    Preview,
    Question,
    Score,
)


class ScreenRunner:
    """A `Runner` for one screen."""

    def __init__(self, mailbox: Mailbox, post: Post, numbers: Iterator[int]) -> None:
        self._mailbox, self._post, self._numbers = mailbox, post, numbers

    def number(self) -> int:
        """Return a number that was never used before."""
        return next(self._numbers)

    def ask(self, question: Question) -> None:
        """Queue a question for the engine."""
        put(self._mailbox, question)

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
        """Read a message that is being written."""
        self.ask(
            Look(
                reply=self._post,
                revision=revision,
                messages=tuple(messages),
                draft=draft,
                settings=settings,
                upto=prefix_len,
                thinking=thinking,
                top=top_n,
            ),
        )

    def look_after(
        self,
        revision: int,
        ids: Sequence[int],
        settings: SamplingSettings,
        *,
        top_n: int = 20,
    ) -> None:
        """Compute the distribution after ids."""
        self.ask(
            LookAfter(
                reply=self._post,
                revision=revision,
                ids=tuple(ids),
                settings=settings,
                top=top_n,
            )
        )

    def count(self, revision: int, texts: Sequence[str]) -> None:
        """Count the tokens of each text."""
        question = Count(reply=self._post, revision=revision, texts=tuple(texts))
        self.ask(question)

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
        """Draw an earlier distribution again."""
        self.ask(
            Preview(
                reply=self._post,
                revision=revision,
                handle=handle,
                settings=settings,
                start=start,
                count=count,
                other=other,
            ),
        )

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
        """Answer a conversation, or go on after the ids of a prompt."""
        begin = start if isinstance(start, Prompt) else tuple(start)
        self.ask(
            Generate(
                reply=self._post,
                job=job,
                start=begin,
                settings=settings,
                prefill=prefill,
                top=top_n,
                drop_oldest=drop_oldest,
                thinking=thinking,
            ),
        )

    def score(self, job: int, passage: Passage, *, other: bool = False) -> None:
        """Score a text."""
        self.ask(Score(reply=self._post, job=job, passage=passage, other=other))

    def stop(self, job: int) -> None:
        """End a job within one token."""
        if dropped := self._mailbox.stop(job):
            drop(self._mailbox, dropped)


def put(mailbox: Mailbox, question: Question) -> None:
    """Queue a question; the askers of displaced jobs are told."""
    for displaced in mailbox.put(question):
        drop(mailbox, displaced)


def drop(mailbox: Mailbox, question: Question) -> None:
    """Tell the asker that a job ends without a result."""
    if isinstance(question, Job) and not mailbox.closed:
        question.reply(JobDropped(question.job))
