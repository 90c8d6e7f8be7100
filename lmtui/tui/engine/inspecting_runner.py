"""The engine as the inspector asks it: puts questions into the mailbox.

Never waits; the answers are the messages of `inspecting_facts`. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmtui.engine.types import SamplingSettings
from lmtui.tui.engine.inspecting_questions import FindTokens, LookAhead, LookAt
from lmtui.tui.engine.questions import Cut, DocumentAlone
from lmtui.tui.engine.screen_runner import ScreenRunner


class InspectingRunner(ScreenRunner):
    """A `Runner` for one screen, with the questions about a place of a text."""

    def cut(self, job: int, document: DocumentAlone, *, other: bool = False) -> None:
        """Cut a document into tokens: `DocumentCut`, `ScoreFailed`. `other` asks the
        model that is compared with."""
        self.ask(Cut(reply=self._post, job=job, document=document, other=other))

    def look_at(
        self,
        revision: int,
        ids: Sequence[int],
        settings: SamplingSettings,
        *,
        top_n: int = 20,
        other: bool = False,
    ) -> None:
        """Compute the distribution after these ids: `PlaceLooked`, `PlaceFailed`.
        `other` asks the model that is compared with."""
        self.ask(
            LookAt(
                reply=self._post,
                revision=revision,
                ids=tuple(ids),
                settings=settings,
                top=top_n,
                other=other,
            )
        )

    def find_tokens(
        self,
        revision: int,
        handle: int,
        text: str,
        settings: SamplingSettings,
        *,
        count: int = 50,
    ) -> None:
        """Find the tokens of an earlier distribution whose text matches: `TokensFound`,
        `FindFailed`. Answered between two decode steps of a running generation."""
        self.ask(
            FindTokens(
                reply=self._post,
                revision=revision,
                handle=handle,
                text=text,
                settings=settings,
                count=count,
            )
        )

    def continue_each(
        self,
        job: int,
        ids: Sequence[int],
        starts: Sequence[int],
        *,
        max_new_tokens: int = 6,
    ) -> None:
        """Continue after each of several candidate tokens: `WaysLookedAhead`,
        `LookAheadFailed`."""
        self.ask(
            LookAhead(
                reply=self._post,
                job=job,
                ids=tuple(ids),
                starts=tuple(starts),
                more=max_new_tokens,
            )
        )
