"""Handlers of what a request reports before its answer.

Know no verb of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lmtui.engine.types import Prompt
from lmtui.tui.engine.client import ignore
from lmtui.worker.events import CountReported, PromptReady


def generation_batch(
    drawn: Callable[[tuple[Any, ...]], object],
    prompt_ready: Callable[[Prompt, int], object] = ignore,
    progress: Callable[[int, int], object] = ignore,
) -> Callable[[tuple[Any, ...]], object]:
    """Return what takes the batches of a generation: the prompt and how many turns were
    left out of it, how many of its tokens were read of how many, and then what was
    `drawn` since the last report."""

    def batch(values: tuple[Any, ...]) -> object:
        match values:
            case (PromptReady(prompt, left_out),):
                return prompt_ready(prompt, left_out)
            case (CountReported(done, total),):
                return progress(done, total)
        return drawn(values)

    return batch
