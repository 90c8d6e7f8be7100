"""Options of the chat besides model and sampler.

Set from the command line and the settings.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmtui.errors import LmtuiError


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """Options of a conversation."""

    drop_oldest: bool = False
    """Whether the oldest turns are left out when the context is full."""
    thinking: bool | None = None
    """Whether the model is told to think (or not to); None leaves it to the model."""
    thinking_override: str | None = None
    """The value of `chat.thinking` given by a flag: it replaces, and is kept as, the
    conversation's own."""
    missing: LmtuiError | None = None
    """Why there is no model at the start: the opened conversation's is not
    available."""
