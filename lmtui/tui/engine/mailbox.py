"""Queue of questions for the engine thread, with one slot for each kind.

The newest question of a kind replaces the older one; the most urgent kind is taken
first. The mailbox also knows the running question, so a stop can't be lost between
waiting and running. Knows no engine.
"""

from __future__ import annotations

from threading import Condition

from lmtui.tui.engine.questions import Job, Kind, Load, Question


class Mailbox:
    """Thread-safe queue with one slot for each kind of question."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[Kind, Question] = {}
        self._running: Question | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the mailbox takes no more questions."""
        return self._closed

    def put(self, question: Question) -> list[Question]:
        """Queue a question; return those that now never get an answer."""
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
        # The other questions were meant for the model that is replaced.
        displaced = list(self._waiting.values())
        self._waiting.clear()
        if self._running:
            self._running.flag.set()
        return displaced

    def put_back(self, question: Question) -> bool:
        """Queue an interrupted question again, unless it was stopped or a newer one of
        its kind came; return whether it is queued."""
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
        """Mark the running question as answered, before the engine thread takes the
        next."""
        with self._changed:
            self._running = None

    def take_preview(self) -> Question | None:
        """Take a waiting preview, if any, to be answered during the running
        question."""
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
        """End a job: set the flag of a running one; take out and return a waiting
        one."""
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
        """Take no more questions, drop those that wait, and stop the running one."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            if self._running:
                self._running.flag.set()
            self._changed.notify_all()
