"""The engine as the editor asks it: puts questions into the mailbox.

Never waits; the answers are the messages of `writing_facts`. Knows no engine.
"""

from __future__ import annotations

from lmtui.engine.suggestion import SuggestionRules
from lmtui.tui.engine.screen_runner import ScreenRunner
from lmtui.tui.engine.writing_questions import (
    Alternatives,
    Expect,
    Heat,
    Replace,
    Suggest,
)


class WritingRunner(ScreenRunner):
    """A `Runner` for one screen, with the questions of an editor.

    The order is expect, generate, replacements, suggest or alternatives, heat, score;
    what is less urgent is broken off and comes back later, unless it was stopped.
    """

    def predict_at(
        self, revision: int, text: str, cursor: int, *, top_n: int = 40
    ) -> None:
        """Compute what the model predicts at a cursor: `ExpectationReady`,
        `ExpectationFailed`."""
        self.ask(
            Expect(
                reply=self._post, revision=revision, text=text, cursor=cursor, top=top_n
            )
        )

    def suggest(self, job: int, text: str, cursor: int, rules: SuggestionRules) -> None:
        """Write a suggestion: `GhostGrew`, then `GhostEnded` or `WritingFailed`."""
        self.ask(
            Suggest(reply=self._post, job=job, text=text, cursor=cursor, rules=rules)
        )

    def alternatives(
        self,
        job: int,
        text: str,
        cursor: int,
        rules: SuggestionRules,
        *,
        count: int = 5,
    ) -> None:
        """Write several suggestions: `AlternativesReady`, `WritingFailed`."""
        self.ask(
            Alternatives(
                reply=self._post,
                job=job,
                text=text,
                cursor=cursor,
                rules=rules,
                count=count,
            )
        )

    def score_span(self, job: int, text: str, start: int, end: int) -> None:
        """Score a part of a text: `HeatArrived`, then `HeatFinished` or
        `WritingFailed`."""
        self.ask(Heat(reply=self._post, job=job, text=text, start=start, end=end))

    def replacements(
        self, job: int, text: str, start: int, end: int, *, count: int = 8
    ) -> None:
        """Find replacements for a part of the text: `ReplacementsProgressed`, then
        `ReplacementsReady` or `WritingFailed`."""
        self.ask(
            Replace(
                reply=self._post,
                job=job,
                text=text,
                start=start,
                end=end,
                count=count,
            )
        )
