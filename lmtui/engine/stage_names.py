"""Names that other programs have for the stages of the sampler.

llama.cpp spells each of its own in several ways (common/sampling.cpp); a text of
letters, one for each stage, is another form of its list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmtui.engine.types import STAGES

_ALIASES: Mapping[str, str] = {
    "temp": "temperature",
    "nucleus": "top_p",
    "typ_p": "typical_p",
    "typ": "typical_p",
    "typical": "typical_p",
}
_LETTERS: Mapping[str, str] = {
    "e": "penalties",
    "d": "dry",
    "t": "temperature",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typical_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
}
_PLAIN = {
    name.replace("_", ""): stage
    for name, stage in {**{stage: stage for stage in STAGES}, **_ALIASES}.items()
}


def stage_of(name: str) -> str | None:
    """Return the stage that llama.cpp calls by this name: with `_`, `-` or nothing
    between its words, in any case; None for one that there is not here."""
    return _PLAIN.get(name.lower().replace("_", "").replace("-", ""))


def stages_of(order: str | Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the stages of llama.cpp's list of samplers, each once, and what in it is
    none of ours."""
    found = [(each, _LETTERS.get(each)) for each in order]
    if not isinstance(order, str):
        found = [(each, stage_of(each)) for each in order]
    stages = dict.fromkeys(stage for _, stage in found if stage)
    return tuple(stages), tuple(name for name, stage in found if stage is None)
