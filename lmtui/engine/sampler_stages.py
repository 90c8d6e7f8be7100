"""Stages of the sampler: their marks, and which change anything with some settings.

Knows no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from lmtui.engine.types import Change, Cut, SamplingSettings

CUTS: Mapping[str, Cut] = {
    "bias": "b",
    "grammar": "s",
    "temperature": "g",
    "top_n_sigma": "n",
    "top_k": "k",
    "typical_p": "t",
    "top_p": "p",
    "min_p": "m",
    "xtc": "x",
}
"""The mark of a token that a stage removed; the temperature does at 0."""
CHANGES: Mapping[str, Change] = {"bias": "b", "penalties": "r", "dry": "d"}
"""The mark of a token whose logit a stage changed."""


def active_stages(
    settings: SamplingSettings, order: Iterable[str] | None = None
) -> tuple[str, ...]:
    """Return the stages that can change anything, in the order of the settings, or in
    another one."""
    order = settings.sampler_order if order is None else order
    return tuple(stage for stage in order if _does_anything(stage, settings))


def chain_of(settings: SamplingSettings) -> tuple[str, ...]:
    """Return all that is applied to the logits, in its order: `bias`, where tokens are
    banned or have one, `grammar`, where there is one, and the active stages."""
    bias = ("bias",) if settings.logit_bias else ()
    grammar = ("grammar",) if settings.grammar is not None else ()
    return (*bias, *grammar, *active_stages(settings))


def come_in_order(stages: Collection[str], order: Sequence[str]) -> bool:
    """Return whether `order` has all of some stages, in the order in which they are."""
    return [stage for stage in order if stage in stages] == list(stages)


def _does_anything(stage: str, settings: SamplingSettings) -> bool:
    """Return whether a stage can change anything with these settings."""
    match stage:
        case "penalties":
            return (
                settings.repetition_penalty != 1
                or settings.presence_penalty != 0
                or settings.frequency_penalty != 0
            )
        case "dry":
            return settings.dry_multiplier != 0
        case "temperature":
            return settings.temperature != 1
        case "xtc":
            return settings.xtc_probability > 0 and settings.xtc_threshold <= 0.5
        case "top_p" | "typical_p":
            return bool(getattr(settings, stage) < 1)
    return bool(getattr(settings, stage) > 0)
