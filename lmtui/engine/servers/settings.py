"""Sampling settings that a server draws with: which are on, and which it can't apply.

Knows no server: each one's model names the settings that it takes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from lmtui.engine.sampling.stages import (
    NEUTRAL,
    STAGES,
    TABLE,
    active_stages,
    come_in_order,
)
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError

_OF_STAGE: Mapping[str, tuple[str, ...]] = {
    stage.name: tuple(each.name for each in stage.settings if each.name in NEUTRAL)
    for stage in TABLE
}
_LISTS = "logit_bias", "banned_phrases"


def without_idle_stages(settings: SamplingSettings) -> SamplingSettings:
    """Return the settings with those of stages that are not in the order switched
    off, for programs that have no such order."""
    idle = (stage for stage in STAGES if stage not in settings.sampler_order)
    return switched_off(settings, (name for stage in idle for name in _OF_STAGE[stage]))


def switched_off(settings: SamplingSettings, names: Iterable[str]) -> SamplingSettings:
    """Return the settings with these at the values that change nothing."""
    return replace(settings, **{name: NEUTRAL[name] for name in names})


def settings_in_use(
    settings: SamplingSettings, order: Sequence[str] = STAGES
) -> tuple[str, ...]:
    """Return the names of the settings that change anything; `sampler_order` is one
    where the stages in use come neither in our own order nor in `order`."""
    active = active_stages(settings)
    used = [
        name
        for stage in active
        for name in _OF_STAGE[stage]
        if getattr(settings, name) != NEUTRAL[name]
    ]
    if not (come_in_order(active, STAGES) or come_in_order(active, order)):
        used.append("sampler_order")
    return (*used, *(name for name in _LISTS if getattr(settings, name)))


def require_applied(
    settings: SamplingSettings,
    takes: Collection[str],
    *,
    order: Sequence[str] = STAGES,
) -> None:
    """Refuse settings that a server does not take; `order` is that of its stages.

    Raises:
        LmtuiError: there is one.
    """
    for name in settings_in_use(settings, order):
        if name not in takes:
            raise LmtuiError(
                f"{name.replace('_', '-')} can't be applied by this server",
                "it draws the tokens, and takes no such setting",
                _switch_off(name),
            )


def _switch_off(name: str) -> str:
    if name in NEUTRAL:
        return f"Switch it off: {name.replace('_', '-')} {NEUTRAL[name]:g}."
    if name == "sampler_order":
        return "Use the default order of the stages."
    return "Empty that list."
