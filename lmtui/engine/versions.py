"""Versions of an answer: several answers to one prompt, as one stream of items.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lmtui import cancellation
from lmtui.engine.types import GenerationResult, SamplingSettings, Step
from lmtui.errors import LmtuiError


@dataclass(frozen=True, slots=True)
class VersionItem:
    """A decode step of one version, its result, or the error that it broke off with."""

    version: int
    """Index of the version."""
    item: Step | GenerationResult | LmtuiError


def one_after_another(
    generate: Callable[[SamplingSettings], Iterator[Step | GenerationResult]],
    settings: Sequence[SamplingSettings],
) -> Iterator[VersionItem]:
    """Yield the items of versions that are generated one after the other, where they
    can't share a batch. Of those that had not begun when they were stopped, nothing
    comes."""
    for version, each in enumerate(settings):
        if cancellation.requested():
            return
        try:
            for item in generate(each):
                yield VersionItem(version, item)
        except LmtuiError as error:  # the other versions do not depend on it
            yield VersionItem(version, error)
