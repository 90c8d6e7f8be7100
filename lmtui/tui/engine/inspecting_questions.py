"""Questions about a position of an inspected text, as values.

A position is given by the ids before it. Knows neither the thread nor the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message as Report

from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.tui.engine.inspecting_facts import FindFailed, LookAheadFailed, PlaceFailed
from lmtui.tui.engine.questions import Job, Kind, Question


class InspectingQuestion(Question):
    """A question in ids or handles, which belong to the model that is loaded."""

    @property
    def bound(self) -> bool:
        """Return True: ids and handles belong to one model."""
        return True


@dataclass(frozen=True, kw_only=True, eq=False)
class LookAt(InspectingQuestion):
    """Compute the distribution after these ids."""

    kind = Kind.LOOK
    revision: int
    ids: tuple[int, ...]
    settings: SamplingSettings
    top: int
    other: bool = False
    """Whether the model that is compared with is asked."""

    def failed(self, error: LmtuiError) -> Report:
        """As `PlaceFailed`."""
        return PlaceFailed(self.revision, error)


@dataclass(frozen=True, kw_only=True, eq=False)
class FindTokens(InspectingQuestion):
    """Find the tokens of a position whose text matches, with their ranks."""

    kind = Kind.PREVIEW
    revision: int
    handle: int
    text: str
    settings: SamplingSettings
    count: int

    def failed(self, error: LmtuiError) -> Report:
        """As `FindFailed`."""
        return FindFailed(self.revision, error)


@dataclass(frozen=True, kw_only=True, eq=False)
class LookAhead(InspectingQuestion, Job):
    """Continue after each of several candidate tokens."""

    kind = Kind.GHOST
    ids: tuple[int, ...]
    starts: tuple[int, ...]
    more: int

    def failed(self, error: LmtuiError) -> Report:
        """As `LookAheadFailed`."""
        return LookAheadFailed(self.job, error)
