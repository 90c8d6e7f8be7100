"""The sampler's chain as rows: each stage with its settings, and what it did here.

Pure functions; the widget `SamplerControls` draws the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rich.cells import cell_len

from lmtui import notation
from lmtui.engine.sampling.stages import BY_NAME, FIXED, STAGES, active_stages
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import StageEffect
from lmtui.text import visible_line
from lmtui.tui.widgets.cells import clip
from lmtui.tui.widgets.sampler_fields import (
    FIELDS,
    MAX_TOKENS,
    SEED,
    STAGE_FIELDS,
    TEMPERATURE,
    Field,
    field_of,
)
from lmtui.tui.widgets.styled_lines import Part

_FIXED = tuple(stage.name for stage in FIXED)
MARKS: Mapping[str, str] = {
    **{name: stage.mark for name, stage in BY_NAME.items()},
    "temperature": "",
}
"""The mark of each stage in the panel; greedy decoding alone has one for the
temperature."""
LABELS = {stage: fields[0].label for stage, fields in STAGE_FIELDS.items()}
_USUAL = SamplingSettings()
_SHOWN = {field.name for field in (TEMPERATURE, *FIELDS)}
_WIDE = 36  # width in cells from which the number of removed tokens is written out


@dataclass(frozen=True, slots=True)
class ChainRow:
    """Row of the chain: a stage, a further setting of it, or another setting."""

    field: Field
    stage: str = ""
    """Empty for a setting of no stage."""
    is_stage: bool = False
    """Whether the row stands for the whole stage."""


def rows_of(
    settings: SamplingSettings, open_stage: str, indexes: Mapping[str, int]
) -> list[ChainRow]:
    """Return the rows from top to bottom: the slider, the fixed stages, those of the
    order, and the other settings. A stage that is left out of the order stands where it
    would come back: at its index in `indexes`, or its default place. Only `open_stage`
    shows its further settings."""
    order = list(settings.sampler_order)
    for stage in STAGES:
        if stage not in order:
            order.insert(indexes.get(stage, _default_index(stage, order)), stage)
    rows = [ChainRow(TEMPERATURE)]
    for stage in (*_FIXED, *order):
        first, *others = STAGE_FIELDS[stage]
        rows.append(ChainRow(first, stage, is_stage=True))
        if stage == open_stage:
            rows += (ChainRow(field, stage) for field in others)
    return [*rows, ChainRow(SEED), ChainRow(MAX_TOKENS)]


def is_in_chain(stage: str, settings: SamplingSettings) -> bool:
    """Return whether a stage runs: it is fixed, or in the order."""
    return stage in _FIXED or stage in settings.sampler_order


def moved(settings: SamplingSettings, stage: str, by: int) -> SamplingSettings:
    """Return the settings with a stage one place earlier or later in the order; as they
    are where it can't be moved."""
    order = list(settings.sampler_order)
    if stage not in order:
        return settings
    index = order.index(stage)
    target = index + by
    if not 0 <= target < len(order):
        return settings
    order[index], order[target] = order[target], order[index]
    return replace(settings, sampler_order=tuple(order))


def switched(
    settings: SamplingSettings, stage: str, indexes: dict[str, int]
) -> SamplingSettings:
    """Return the settings with a stage switched off, or on again. It is switched off by
    leaving it out of the order, so that its values stay; `indexes` remembers where it
    was."""
    if stage not in STAGES:
        return settings
    order, field = list(settings.sampler_order), STAGE_FIELDS[stage][0]
    is_off = not active_stages(settings, (stage,))
    if stage in order and not is_off:
        indexes[stage] = order.index(stage)
        order.remove(stage)
    elif stage not in order:
        order.insert(indexes.get(stage, _default_index(stage, order)), stage)
    if is_off:
        settings = field.set(settings, BY_NAME[stage].switched_on)
    return replace(settings, sampler_order=tuple(order))


def others_on(settings: SamplingSettings) -> list[str]:
    """Return what is on besides the settings that are always shown: each stage with
    those of its settings that are not the usual ones."""
    texts = []
    for name, stage in BY_NAME.items():
        changed = [
            f"{setting.label or setting.name.rpartition('_')[2]}"
            f" {field_of(setting).shown(settings)}"
            for setting in stage.settings
            if setting.name not in _SHOWN
            and getattr(settings, setting.name) != getattr(_USUAL, setting.name)
        ]
        runs = is_in_chain(name, settings) and stage.is_active(settings)
        if changed and (runs or name in _FIXED):
            texts.append(" ".join(changed))
    order = settings.sampler_order
    texts += [
        f"no {STAGE_FIELDS[stage][0].label}"
        for stage in STAGES
        if stage not in order and active_stages(settings, (stage,))
    ]
    default = [stage for stage in STAGES if stage in order]
    return [*texts, *(["own order"] if default != list(order) else [])]


def _default_index(stage: str, order: list[str]) -> int:
    """Return where a stage comes in an order: after all that it follows by default."""
    earlier = STAGES[: STAGES.index(stage)]
    return max((order.index(s) + 1 for s in earlier if s in order), default=0)


def row_parts(
    row: ChainRow,
    settings: SamplingSettings,
    effect: StageEffect | None,
    *,
    defaults: SamplingSettings,
    width: int,
    value: Part | None = None,
    cursor: bool = False,
) -> list[Part]:
    """Return the line of a row: mark, name, value, removed tokens, share of the mass.
    `value` is what is drawn in place of the setting's own; one that is in `defaults`
    is not marked as changed."""
    is_active = not row.stage or is_in_chain(row.stage, settings)
    mark = (MARKS[row.stage] if row.is_stage else "") or " "
    is_wide = width >= _WIDE
    name = row.field.full_label if is_wide else row.field.label
    label = name if row.is_stage or not row.stage else f" {name}"
    if row.field is TEMPERATURE and not is_wide:
        label = "temp."
    value_text, style = value or _value(row, settings, defaults, runs=is_active)
    right = _effect(effect, wide=is_wide) if row.is_stage else ""
    right = right.rjust(15 if width >= _WIDE else 11)
    room = width - 2 - cell_len(value_text) - cell_len(right) - 1
    if value and row.field.is_text:  # a long text that is being typed
        value_text, right = value_text[-(width - 4 - cell_len(label)) :], ""
        room = width - 3 - cell_len(value_text)
    label = clip(label, max(1, room))
    return [
        (f"{mark} ", "mark" if is_active else "quiet"),
        (label, "cursor" if cursor else "label" if is_active else "quiet"),
        (" " * (room - cell_len(label) + 1), "quiet"),
        (value_text, style),
        (right, "effect"),
    ]


def head_parts(width: int) -> list[Part]:
    wide = width >= _WIDE
    numbers = f"{'tokens' if wide else 'cut':>{9 if wide else 5}}{'mass':>6}"
    mark = "mark"
    value = "value".rjust(width - cell_len(mark) - cell_len(numbers))
    return [(mark, "mark"), (value + numbers, "quiet")]


def _value(
    row: ChainRow,
    settings: SamplingSettings,
    defaults: SamplingSettings,
    *,
    runs: bool,
) -> Part:
    value_text = row.field.shown(settings)
    if row.field.name == "temperature" and settings.temperature == 0:
        value_text = "greedy"
    if not runs:
        return "out" if row.is_stage else value_text, "quiet"
    if row.field.off is not None and row.field.value(settings) == row.field.off[0]:
        return value_text, "quiet"
    default = row.field.value(defaults) == row.field.value(settings)
    return value_text, "value" if default else "changed"


def _effect(effect: StageEffect | None, *, wide: bool) -> str:
    if effect is None:
        return ""
    count = f"−{effect.removed:,}" if wide else f"−{_short_count(effect.removed)}"
    count = count if effect.removed else "·" if effect.moved_mass else ""
    share = (
        notation.percent(effect.moved_mass)
        if effect.removed or effect.moved_mass
        else ""
    )
    return f"{count:>{9 if wide else 5}}{share:>6}"


def _short_count(count: int) -> str:
    return f"{count}" if count < 10_000 else f"{count / 1000:.0f}k"


def effect_words(effect: StageEffect | None, settings: SamplingSettings) -> str:
    """Return what a stage did here, in a sentence; empty where nothing is known."""
    return " ".join(_sentences(effect, settings)) if effect else ""


def _sentences(effect: StageEffect, settings: SamplingSettings) -> Iterator[str]:
    share = notation.percent(effect.moved_mass)
    if effect.stage == "xtc":
        chance = notation.percent(settings.xtc_probability)
        if effect.coin is None:
            yield f"No coin yet: shown as if it fell, {chance} of the time."
        else:
            sign = "<" if effect.coin < settings.xtc_probability else "≥"
            yield f"Coin {effect.coin:.2f} {sign} {settings.xtc_probability:g}."
    if effect.repeat is not None:
        yield (
            f"Repeats “{visible_line(effect.repeat.text)}”, "
            + notation.counted(effect.repeat.end - effect.repeat.start, "token")
            + f" from {effect.repeat.start:,}."
        )
    if effect.removed:
        removed = notation.counted(effect.removed, "token")
        yield f"Removes {removed} with {share}; {effect.left:,} left."
    elif effect.moved_mass:
        yield f"Moves {share} of the mass."
    else:
        yield "Changes nothing here."
    if effect.without_token:
        lost = ", ".join(f"“{visible_line(text)}”" for text in effect.without_token)
        yield f"No single token here: {lost}."
