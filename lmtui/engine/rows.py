"""Rows: several answers to one prompt, as one stream of items.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lmtui import cancellation
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Step,
)
from lmtui.errors import Cancelled, LmtuiError


@dataclass(frozen=True, slots=True)
class RowRequest:
    """One of several answers to a prompt."""

    settings: SamplingSettings
    start: tuple[int, ...] = ()
    """Its first tokens, which are not drawn."""


RowItem = tuple[int, Step | GenerationResult | LmtuiError]
"""The index of one of several answers, and a step of it, its result, or the error that
it broke off with."""


def one_after_another(
    answers: Iterable[Iterator[Step | GenerationResult]],
) -> Iterator[RowItem]:
    """Yield the items of answers with their indexes, one answer after the other. Of
    those that had not begun when they were cancelled, nothing comes."""
    for index, items in enumerate(answers):
        if cancellation.requested():
            return
        try:
            for item in items:
                yield index, item
        except LmtuiError as error:  # the others do not depend on it
            yield index, error


def steps_of(items: Iterable[RowItem]) -> Iterator[tuple[int, Step]]:
    """Yield the steps alone, where all answers are wanted or none.

    Raises:
        LmtuiError: one broke off.
        Cancelled: one was cancelled.
    """
    for index, item in items:
        if isinstance(item, Step):
            yield index, item
        elif isinstance(item, LmtuiError):
            raise item
        elif item.reason is FinishReason.CANCELLED:
            raise Cancelled
    cancellation.check()  # of what had not begun, nothing comes
