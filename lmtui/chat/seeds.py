"""Another answer under a seed that is set: another text, and one that can be had again.

Owns the rule. The first answer to a message is drawn with the seed that was asked for.
Where an answer there was drawn in this very way by this model, deleted or not, the next
seed that none was drawn with is taken. What is kept with an answer says which.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lmtui.chat.node import Node
from lmtui.engine.types import SamplingSettings

_SEEDS = 2**63


def unused(
    settings: SamplingSettings, model: str | None, answers: Iterable[Node]
) -> SamplingSettings:
    """The settings, with the first seed that would repeat none of these answers."""
    drawn = {
        node.settings for node in answers if node.model == model and not node.is_empty
    }
    while settings.seed is not None and settings in drawn:
        settings = replace(settings, seed=(settings.seed + 1) % _SEEDS)
    return settings
