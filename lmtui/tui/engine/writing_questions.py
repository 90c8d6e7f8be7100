"""Questions about a text that is being written, as values.

Each holds the whole text at that moment. Knows neither the thread nor the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message as Report

from lmtui.engine.suggestion import SuggestionRules
from lmtui.errors import LmtuiError
from lmtui.tui.engine.questions import Job, Kind, Question
from lmtui.tui.engine.writing_facts import ExpectationFailed, WritingFailed


@dataclass(frozen=True, kw_only=True, eq=False)
class Expect(Question):
    """Compute what the model predicts at a cursor."""

    kind = Kind.LOOK
    revision: int
    text: str
    cursor: int
    top: int

    def failed(self, error: LmtuiError) -> Report:
        """As `ExpectationFailed`."""
        return ExpectationFailed(self.revision, error)


@dataclass(frozen=True, kw_only=True, eq=False)
class WritingJob(Job):
    """A question about a text that is followed to its end."""

    text: str

    def failed(self, error: LmtuiError) -> Report:
        """As `WritingFailed`."""
        return WritingFailed(self.job, error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Suggest(WritingJob):
    """Write a suggestion at a cursor."""

    kind = Kind.GHOST
    cursor: int
    rules: SuggestionRules


@dataclass(frozen=True, kw_only=True, eq=False)
class Alternatives(WritingJob):
    """Write several suggestions at a cursor."""

    kind = Kind.GHOST
    cursor: int
    rules: SuggestionRules
    count: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat(WritingJob):
    """Score the tokens of a part of the text."""

    kind = Kind.HEAT
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Replace(WritingJob):
    """Find what could stand in place of a part of the text."""

    kind = Kind.REPLACE
    start: int
    end: int
    count: int
