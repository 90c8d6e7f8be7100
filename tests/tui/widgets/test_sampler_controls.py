"""The sampler's controls: pure scales, and keys and mouse that post settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot

from lmtui.engine.sampling.stages import STAGES
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    SeenRepeat,
    StageEffect,
)
from lmtui.errors import LmtuiError
from lmtui.tui.widgets import sampler_fields
from lmtui.tui.widgets.sampler_chain import LABELS, moved, rows_of, switched
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.sampler_fields import (
    FIELDS,
    GREEDY,
    MAX_TOKENS,
    SEED,
    STAGE_FIELDS,
    TEMPERATURE,
    Field,
)
from tests.tui.hosts import HOSTILE, Host, hosted, resized, safe

STEPS = st.integers(0, GREEDY)
EVERY = (*(field for fields in STAGE_FIELDS.values() for field in fields), SEED,
         MAX_TOKENS)  # fmt: skip
ROWS = (TEMPERATURE, *FIELDS)


@given(STEPS)
def test_temperature_of_a_step_has_hundredths_and_maps_back_to_it(step: int) -> None:
    temperature = sampler_fields.temperature_at(step)
    assert f"{temperature:g}" == f"{round(temperature, 2):g}"
    # At the sharp end two steps can be one hundredth.
    assert abs(sampler_fields.position_of(temperature) - step) < 1


@given(STEPS, STEPS)
def test_a_step_to_the_right_is_a_lower_temperature(first: int, second: int) -> None:
    one, other = (
        sampler_fields.temperature_at(first),
        sampler_fields.temperature_at(second),
    )
    assert one >= other if first < second else one <= other


def test_temperature_scale_stops_at_flat_and_greedy() -> None:
    assert sampler_fields.temperature_at(0) == 5
    assert sampler_fields.temperature_at(GREEDY - 1) == 0.05
    assert sampler_fields.temperature_at(GREEDY) == 0
    assert sampler_fields.moved(0, 1) == 0 and sampler_fields.moved(5, -1) == 5
    assert sampler_fields.moved(0, -1) == 0.05 and sampler_fields.moved(0.05, 1) == 0


@given(st.floats(0, 20, allow_nan=False), st.sampled_from([-1, 1]))
def test_moved_changes_the_temperature_in_the_right_direction(
    temperature: float, by: int
) -> None:
    after = sampler_fields.moved(temperature, by)
    bounded = min(5.0, temperature)
    if by > 0:
        assert after < bounded or after == 0
    else:
        assert after > temperature or after == 5


@given(st.integers(3, 120), st.data())
def test_slider_cells_are_monotone_and_the_last_is_greedy(
    width: int, data: st.DataObject
) -> None:
    cell = data.draw(st.integers(-5, width + 5))
    temperature = sampler_fields.temperature_in(cell, width)
    assert (temperature == 0) == (cell >= width - 1)
    assert temperature >= sampler_fields.temperature_in(cell + 1, width)
    shown = sampler_fields.cell_of(temperature, width)
    if 0 <= cell < width:
        assert abs(shown - cell) <= max(1, width // 80 + 1)


@given(st.sampled_from(EVERY), st.lists(st.sampled_from([-1, 1]), max_size=60))
def test_field_steps_stay_valid_and_reset_restores_the_default(
    field: Field, moves: list[int]
) -> None:
    settings = SamplingSettings()
    for by in moves:
        settings = field.stepped(settings, by)
    assert field.reset(settings, SamplingSettings()) == SamplingSettings()


@given(st.sampled_from(EVERY), st.integers(1, 20))
def test_field_accepts_its_shown_value_when_typed(field: Field, steps: int) -> None:
    settings = SamplingSettings()
    for _ in range(steps):
        settings = field.stepped(settings, -1 if steps % 2 else 1)
    text = field.editable(settings) or field.shown(settings)
    assert field.typed(SamplingSettings(), text) == settings


@given(st.sampled_from(EVERY), st.text(max_size=30))
def test_typed_text_gives_settings_or_an_error_with_a_hint(
    field: Field, text: str
) -> None:
    try:
        field.typed(SamplingSettings(), text)
    except LmtuiError as error:
        assert error.hint


def settings_of(app: Host) -> list[SamplingSettings]:
    return [
        message.settings
        for message in app.posted
        if isinstance(message, SamplerControls.SettingsChanged)
    ]


async def leave(pilot: Pilot[object]) -> None:
    """Take the focus from the controls."""
    pilot.app.screen.set_focus(None)
    await pilot.pause()


async def to_stage(pilot: Pilot[object], controls: SamplerControls, stage: str) -> None:
    """Move the cursor down to a stage."""
    while controls.stage != stage:
        await pilot.press("down")


async def test_sampler_keys_change_type_and_reset_settings() -> None:
    async with hosted(controls := SamplerControls(), (40, 12)) as (app, pilot):
        controls.focus()
        await pilot.press("right", "delete", "left", "delete")
        await to_stage(pilot, controls, "top_k")
        await pilot.press("right", "minus")
        await pilot.press("enter", "7", "enter")
        await to_stage(pilot, controls, "top_p")
        await pilot.press("enter", "7", "enter")
        assert "Give a value from 0 to 1." in app.text()
        await pilot.press("backspace", "0", ".", "5", "enter")
        assert "0.5" in app.text() and "Give" not in app.text()
        await pilot.press("enter", "9", "escape")
    changes = settings_of(app)
    assert changes[0].temperature < 0.7 < changes[2].temperature
    assert [c.top_k for c in changes[4:7]] == [60, 40, 7]
    assert changes[-1] == SamplingSettings(top_k=7, top_p=0.5) == controls.settings


async def test_the_slider_shows_the_temperature_and_the_end_stop() -> None:
    async with hosted(controls := SamplerControls(), (40, 12)) as (app, pilot):
        await leave(pilot)
        assert app.lines()[0].split() == ["temperature", "T", "0.7"]
        line = app.lines()[1]
        assert line.startswith("flat ◄━") and line.endswith("─► sharp")
        controls.settings = SamplingSettings(temperature=0)
        await pilot.pause()
        assert "T 0 greedy" in app.lines()[0]
        assert app.lines()[1].endswith("●► sharp")


async def test_the_mouse_drags_the_knob() -> None:
    async with hosted(controls := SamplerControls(), (40, 12)) as (app, pilot):
        await leave(pilot)
        await pilot.mouse_down(controls, offset=(6, 1))
        await pilot.hover(controls, offset=(20, 1))
        await pilot.hover(controls, offset=(39, 5))
        await pilot.mouse_up(controls, offset=(39, 5))
        await pilot.hover(controls, offset=(10, 1))
    temperatures = [settings.temperature for settings in settings_of(app)]
    assert temperatures[0] == 5 and temperatures[-1] == 0
    assert temperatures == sorted(temperatures, reverse=True)
    assert len(temperatures) == 3


@pytest.mark.parametrize(
    ("width", "place", "row"), [(40, (3, 4), 3), (60, (3, 3), 2), (60, (40, 3), 5)]
)
async def test_the_mouse_chooses_a_row(
    width: int, place: tuple[int, int], row: int
) -> None:
    async with hosted(controls := SamplerControls(), (width, 12)) as (app, pilot):
        await leave(pilot)
        await pilot.click(controls, offset=place)
        await pilot.press("right")
    (changed,) = settings_of(app)
    assert changed == ROWS[row].stepped(SamplingSettings(), 1)


async def test_sampler_controls_show_every_setting() -> None:
    async with hosted(SamplerControls(), (24, 12)) as (app, pilot):
        await leave(pilot)
        for width in (24, 40, 44, 60, 80):
            await resized(pilot, width, 12)
            for field in FIELDS:
                assert field.label in app.text()


async def test_hostile_paste_into_a_sampler_field_is_drawn_safely() -> None:
    async with hosted(controls := SamplerControls(), (40, 12)) as (app, pilot):
        controls.focus()
        await to_stage(pilot, controls, "top_k")
        for name, text in HOSTILE.items():
            await pilot.press("enter")
            controls.post_message(events.Paste(text))
            await pilot.pause()
            await pilot.press("enter")
            assert safe(app.text()), name
            assert controls.settings.top_k in (40, 0)
            await pilot.press("escape")


def test_sampler_meanings_fit_80_columns() -> None:
    assert all(len(field.meaning) <= 27 for field in EVERY)


# The chain.

ORDERS = st.permutations(STAGES).flatmap(
    lambda order: st.integers(0, len(order)).map(lambda n: tuple(order[:n]))
)


@given(ORDERS, st.sampled_from(STAGES))
def test_a_stage_switched_off_and_on_is_as_before(
    order: tuple[str, ...], stage: str
) -> None:
    before = SamplingSettings(
        sampler_order=order, repetition_penalty=1.2, dry_multiplier=1, typical_p=0.5,
        top_n_sigma=1, xtc_probability=0.4,
    )  # fmt: skip
    places: dict[str, int] = {}
    once = switched(before, stage, places)
    assert (stage in once.sampler_order) != (stage in order)
    twice = switched(once, stage, places)
    if stage in order:
        assert twice == before
    else:
        assert set(twice.sampler_order) == set(order)


@given(st.sampled_from([stage for stage in STAGES if stage not in ("temperature",)]))
def test_a_stage_that_does_nothing_is_switched_on_with_a_value(stage: str) -> None:
    field = STAGE_FIELDS[stage][0]
    assert field.off is not None
    off = field.set(SamplingSettings(), field.off[0])
    on = switched(off, stage, {})
    assert field.value(on) != field.off[0] and stage in on.sampler_order


@given(ORDERS, st.sampled_from(STAGES), st.sampled_from([-1, 1]))
def test_moving_a_stage_swaps_it_with_its_neighbour(
    order: tuple[str, ...], stage: str, by: int
) -> None:
    before = SamplingSettings(sampler_order=order)
    after = moved(before, stage, by)
    assert sorted(after.sampler_order) == sorted(order)
    at = order.index(stage) if stage in order else -1
    if at < 0 or not 0 <= at + by < len(order):
        assert after == before
    else:
        assert after.sampler_order[at + by] == stage
        assert moved(after, stage, -by) == before


@given(ORDERS, st.sampled_from(["bias", *STAGES, ""]))
def test_every_stage_has_one_row_in_the_order_of_the_chain(
    order: tuple[str, ...], open_stage: str
) -> None:
    rows = rows_of(SamplingSettings(sampler_order=order), open_stage, {})
    stages = [row.stage for row in rows if row.is_stage]
    assert sorted(stages) == sorted(["bias", "grammar", *STAGES])
    assert [stage for stage in stages if stage in order] == list(order)
    others = [row.field for row in rows if row.stage and not row.is_stage]
    assert others == list(STAGE_FIELDS[open_stage][1:] if open_stage else [])
    others = [rows[0].field, *(row.field for row in rows[-2:])]
    assert others == [TEMPERATURE, SEED, MAX_TOKENS]


@pytest.mark.parametrize(("width", "count"), [(27, "cut"), (44, "tokens")])
async def test_letters_of_the_chain_are_headed_as_marks(width: int, count: str) -> None:
    async with hosted(controls := SamplerControls(), (width, 30)) as (app, pilot):
        controls.focus()
        await pilot.pause()
        heads, *rows = app.lines()[2:]
        assert heads.split() == ["mark", "value", count, "mass"]
        assert heads.startswith("mark") and any(row.startswith("k ") for row in rows)


async def test_the_chain_shows_each_effect_and_follows_keys() -> None:
    controls = SamplerControls(SamplingSettings(dry_multiplier=0.8))
    async with hosted(controls, (44, 30)) as (app, pilot):
        controls.focus()
        await pilot.pause()
        controls.show_effects(
            [
                StageEffect(
                    "dry", 0, 49_152, 0.031,
                    repeat=SeenRepeat(3, 5, "over the", " moon"),
                ),
                StageEffect("top_k", 49_112, 40, 0.081),
                StageEffect("xtc", 1, 39, 0.5, coin=0.25),
            ]
        )  # fmt: skip
        await pilot.pause()
        text = app.text()
        assert all(label in text for label in LABELS.values())
        assert "−49,112  8.1%" in text
        assert controls.stage is None  # the slider: the whole chain
        await to_stage(pilot, controls, "dry")
        text = " ".join(app.text().split())
        assert "Repeats “over the”, 2 tokens from 3." in text
        assert "length" in text
        assert not any(name in text for name in ("breakers", "base", "window"))
        await pilot.press("shift+down")
        assert settings_of(app)[-1].sampler_order[:3] == (
            "penalties", "temperature", "dry",
        )  # fmt: skip
        await pilot.press("space")
        assert "dry" not in settings_of(app)[-1].sampler_order
        assert "out" in app.text()
        await pilot.press("J", "space")
        assert settings_of(app)[-1].sampler_order[2] == "dry"
        await to_stage(pilot, controls, "bias")
        await pilot.press("enter", *"x=ban", "enter")
        assert controls.settings.logit_bias == ("x=ban",)


async def test_settings_beyond_the_usual_are_named_without_the_focus() -> None:
    wanted = SamplingSettings(
        xtc_probability=0.5, sampler_order=("top_k", "temperature", "min_p", "xtc")
    )
    async with hosted(SamplerControls(wanted), (44, 12)) as (app, pilot):
        await leave(pilot)
        assert "also XTC 0.5, no top-p, own order" in app.text()


async def test_changed_settings_of_a_stage_are_named_and_cut_between_items() -> None:
    wanted = SamplingSettings(dry_multiplier=0.8, dry_window=20, presence_penalty=0.5)
    wanted = replace(wanted, xtc_probability=0.5, xtc_threshold=0.2, typical_p=0.9)
    wanted = replace(
        wanted, penalty_window=64, dry_breakers=("x",), logit_bias=("a=1",)
    )
    items = (
        "bias 1, presence 0.5 window 64, DRY 0.8 window 20 breakers 1, typical-p 0.9,"
        " XTC 0.5 threshold 0.2"
    )
    for width in (120, 60, 36):
        async with hosted(SamplerControls(wanted), (width, 12)) as (app, pilot):
            app.query_one(SamplerControls).recommended = ("top_p",)
            await leave(pilot)
            (line,) = [each for each in app.text().splitlines() if "also" in each]
            shown, _, more = line.strip().removeprefix("also ").partition(" and ")
            named = shown.split(", ")
            assert named == items.split(", ")[: len(named)]
            left = items.count(", ") + 1 - len(named)
            assert more == (f"{left} more" if left else "")
            assert (width == 120) == (left == 0)


async def test_stage_that_changes_nothing_is_not_named() -> None:
    wanted = SamplingSettings(xtc_probability=0.5, xtc_threshold=0.7, dry_window=20)
    async with hosted(SamplerControls(wanted), (60, 12)) as (app, pilot):
        await leave(pilot)
        assert "also" not in app.text()
