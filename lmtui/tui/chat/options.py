"""How the chat is set up, besides its model and its sampler.

Values only; they come from the command line and the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef


def _all_here(wanted: ModelRef) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What is done where a conversation does not go on by itself."""

    drop_oldest: bool = False
    """Whether the oldest turns are left out where all of them do not fit."""
    thinking: bool | None = None
    """Whether the model is told to think first, or not to; None tells it nothing."""
    told: str | None = None
    """What a flag says of that, as `chat.thinking` has it: kept with the conversation,
    whatever that was told before."""
    is_here: Callable[[ModelRef], bool] = _all_here
    """Whether a model can be loaded without fetching it; may wait for a disk."""
    missing: LmtuiError | None = None
    """Why there is no model to begin with: the one of the opened conversation is not
    here."""
