"""The section `[complete]`: the editor's suggestions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lmtui.engine.ghost import GhostRules
from lmtui.sections import ranges
from lmtui.sections.setting import Kind, setting

COMPLETE = "complete"
_RULES = GhostRules()


def _complete(default: Any, meaning: str, *, kind: Kind) -> Any:
    return setting(default, meaning, kind=kind, section=COMPLETE, flag=None)


@dataclass(frozen=True)
class CompleteSection:
    """When the editor suggests something, and how much."""

    ghost_delay: float = _complete(
        0.15,
        "Seconds after the last key at which the editor asks for a suggestion; 0 asks "
        "at every key.",
        kind=float,
    )
    ghost_tokens: int = _complete(
        _RULES.max_tokens,
        "Most tokens of a suggestion in the editor.",
        kind=int,
    )
    ghost_seconds: float = _complete(
        _RULES.seconds,
        "A suggestion ends with the first whole word after this many seconds.",
        kind=float,
    )
    ghost_mean_prob: float = _complete(
        _RULES.min_mean_prob,
        "A suggestion ends where the mean probability of its tokens falls below this.",
        kind=float,
    )
    ghost_prob: float = _complete(
        _RULES.min_prob,
        "A suggestion ends before a token that is less probable than this.",
        kind=float,
    )
    surprise_bits: float = _complete(
        10.0,
        "A word of yours counts as a surprise from this many bits on.",
        kind=float,
    )

    @property
    def ghost_rules(self) -> GhostRules:
        """The section as a suggestion takes it."""
        return GhostRules(
            max_tokens=self.ghost_tokens,
            seconds=self.ghost_seconds,
            min_mean_prob=self.ghost_mean_prob,
            min_prob=self.ghost_prob,
        )


def check(name: str, value: Any) -> None:
    """Refuse a value that no suggestion can keep to.

    Raises:
        LmtuiError: it is out of its range.
    """
    _CHECKS[name](name, value)


_CHECKS: Mapping[str, Callable[[str, Any], None]] = {
    "ghost_delay": ranges.positive,
    "ghost_tokens": ranges.at_least_one,
    "ghost_seconds": ranges.positive,
    "ghost_mean_prob": ranges.share,
    "ghost_prob": ranges.share,
    "surprise_bits": ranges.positive,
}
