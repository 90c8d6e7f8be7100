"""The section `[sampling]`: how a token is drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from lmtui.engine.types import SamplingSettings
from lmtui.sections.setting import Kind, setting

SAMPLING = "sampling"
_DEFAULT = SamplingSettings()


def _sampling(name: str, meaning: str, *, kind: Kind) -> Any:
    default = getattr(_DEFAULT, name)
    return setting(default, meaning, kind=kind, section=SAMPLING)


@dataclass(frozen=True)
class SamplingSection:
    """How a token is drawn; the names are those of `SamplingSettings`."""

    temperature: float = _sampling(
        "temperature",
        "Divides the logits before drawing; 0 always takes the most probable token.",
        kind=float,
    )
    top_k: int = _sampling(
        "top_k", "Draw from the k most probable tokens; 0 keeps all.", kind=int
    )
    top_p: float = _sampling(
        "top_p",
        "Draw from the smallest set of tokens with this much probability; 1 keeps all.",
        kind=float,
    )
    min_p: float = _sampling(
        "min_p",
        "Never draw a token below this fraction of the top token's probability; 0 "
        "keeps all.",
        kind=float,
    )
    repetition_penalty: float = _sampling(
        "repetition_penalty",
        "Weakens tokens that are already in the context by this factor; 1 changes "
        "nothing.",
        kind=float,
    )
    seed: int | None = _sampling(
        "seed", "Random seed; unset takes a new one each time.", kind=int
    )
    max_tokens: int = _sampling(
        "max_tokens", "Stop an answer after this many tokens.", kind=int
    )

    @property
    def sampling(self) -> SamplingSettings:
        """The section as the engine takes it."""
        names = (item.name for item in fields(SamplingSection))
        return SamplingSettings(**{name: getattr(self, name) for name in names})


def check(name: str, value: Any) -> None:
    """Refuse a value that can't be drawn with.

    Raises:
        LmtuiError: it is out of its range.
    """
    SamplingSettings(**{name: value})
