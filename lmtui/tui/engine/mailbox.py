"""Where questions wait for the engine thread.

Owns the order: one slot for each kind of question, the newest wins, the most urgent
kind goes first; and which one is being answered now, so that a stop can't fall
between waiting and running. Knows no engine and answers nothing itself.
"""

from __future__ import annotations

from threading import Condition

from lmtui.tui.engine.questions import Job, Kind, Load, Question


class Mailbox:
    """One slot a kind; safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[Kind, Question] = {}
        self._running: Question | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it takes nothing any more."""
        return self._closed

    def put(self, question: Question) -> list[Question]:
        """Let a question wait; returns those that now never get an answer."""
        with self._changed:
            if self._closed or (question.bound and self._loading()):
                return [question]
            displaced = self._make_room(question)
            self._waiting[question.kind] = question
            self._changed.notify_all()
            return displaced

    def _loading(self) -> bool:
        return Kind.LOAD in self._waiting or isinstance(self._running, Load)

    def _make_room(self, question: Question) -> list[Question]:
        if not isinstance(question, Load):
            before = self._waiting.pop(question.kind, None)
            return [before] if before else []
        # All else was meant for the model that now goes.
        displaced = list(self._waiting.values())
        self._waiting.clear()
        if self._running:
            self._running.flag.set()
        return displaced

    def put_back(self, question: Question) -> bool:
        """Let a question that was broken off wait again, unless it was stopped or a
        newer one of its kind came; says whether it waits."""
        with self._changed:
            gone = self._closed or question.flag.is_set()
            if gone or question.kind in self._waiting:
                return False
            self._waiting[question.kind] = question
            return True

    def take(self) -> Question | None:
        """Wait for the most urgent question and make it the running one; None when
        the mailbox is closed."""
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return None
            self._running = self._waiting.pop(min(self._waiting))
            return self._running

    def done(self) -> None:
        """The running question is answered; what follows is asked knowing that."""
        with self._changed:
            self._running = None

    def take_preview(self) -> Question | None:
        """A waiting preview, if any, to be answered beside the running question."""
        # Without the lock at first: this is asked after every token.
        if Kind.PREVIEW not in self._waiting:
            return None
        with self._changed:
            return self._waiting.pop(Kind.PREVIEW, None)

    def outranked(self, question: Question) -> bool:
        """Whether a more urgent question waits, or a newer one of the same kind."""
        with self._changed:
            return any(kind <= question.kind for kind in self._waiting)

    def stop(self, job: int) -> Question | None:
        """End a job: the running one is told to; a waiting one is taken out and
        returned."""
        with self._changed:
            running = self._running
            if isinstance(running, Job) and running.job == job:
                running.flag.set()
                return None
            for kind, question in self._waiting.items():
                if isinstance(question, Job) and question.job == job:
                    return self._waiting.pop(kind)
            return None

    def close(self) -> None:
        """Take nothing more, forget what waits, stop what runs."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            if self._running:
                self._running.flag.set()
            self._changed.notify_all()
