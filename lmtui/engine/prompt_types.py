"""Values that score a prompt, or a message that is being written.

Frozen and torch-free, as those of `types`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmtui.engine.types import Distribution, ScoredToken


@dataclass(frozen=True, slots=True)
class ScoredPrompt:
    """Scores of a prompt, and what comes after it."""

    tokens: tuple[ScoredToken, ...]
    following: Distribution
    """Distribution of the token after the prompt."""


@dataclass(frozen=True, slots=True)
class DraftScores:
    """Scores of a message that is being written."""

    distribution: Distribution
    """Distribution of the token after the draft, in the same message."""
    tokens: tuple[ScoredToken, ...]
    """The message's own tokens so far."""
    context: tuple[int, ...]
    """Ids that the model reads before the draft."""
