"""The sampler's controls: pure scales, and keys and mouse that post settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.tui.widgets import sampler_controls
from lmtui.tui.widgets.sampler_controls import (
    FIELDS,
    GREEDY,
    ROWS,
    Field,
    SamplerControls,
)
from tests.tui.hosts import HOSTILE, Host, safe

STEPS = st.integers(0, GREEDY)


@given(STEPS)
def test_temperature_of_a_step_maps_back_to_it(step: int) -> None:
    assert (
        round(sampler_controls.position_of(sampler_controls.temperature_at(step)))
        == step
    )


@given(STEPS, STEPS)
def test_more_confidence_is_a_lower_temperature(first: int, second: int) -> None:
    one, other = (
        sampler_controls.temperature_at(first),
        sampler_controls.temperature_at(second),
    )
    assert (first < second) == (one > other)


def test_temperature_scale_stops_at_flat_and_greedy() -> None:
    assert sampler_controls.temperature_at(0) == 5
    assert sampler_controls.temperature_at(GREEDY - 1) == 0.05
    assert sampler_controls.temperature_at(GREEDY) == 0
    assert sampler_controls.moved(0, 1) == 0 and sampler_controls.moved(5, -1) == 5
    assert (
        sampler_controls.moved(0, -1) == 0.05 and sampler_controls.moved(0.05, 1) == 0
    )


@given(st.floats(0, 20, allow_nan=False), st.sampled_from([-1, 1]))
def test_moved_changes_the_temperature_in_the_right_direction(
    temperature: float, by: int
) -> None:
    after = sampler_controls.moved(temperature, by)
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
    temperature = sampler_controls.temperature_in(cell, width)
    assert (temperature == 0) == (cell >= width - 1)
    assert temperature >= sampler_controls.temperature_in(cell + 1, width)
    shown = sampler_controls.cell_of(temperature, width)
    if 0 <= cell < width:
        assert abs(shown - cell) <= max(1, width // 80 + 1)


@given(st.sampled_from(ROWS), st.lists(st.sampled_from([-1, 1]), max_size=60))
def test_field_steps_stay_valid_and_reset_restores_the_default(
    field: Field, moves: list[int]
) -> None:
    settings = SamplingSettings()
    for by in moves:
        settings = field.stepped(settings, by)
    assert field.reset(settings) == SamplingSettings()


@given(st.sampled_from(FIELDS), st.integers(1, 20))
def test_field_accepts_its_shown_value_when_typed(field: Field, steps: int) -> None:
    settings = SamplingSettings()
    for _ in range(steps):
        settings = field.stepped(settings, -1 if steps % 2 else 1)
    assert field.typed(SamplingSettings(), field.shown(settings)) == settings


@given(st.sampled_from(ROWS), st.text(max_size=30))
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


async def test_sampler_keys_change_type_and_reset_settings() -> None:
    controls = SamplerControls()
    app = Host(controls)
    async with app.run_test(size=(40, 12), message_hook=app.hook) as pilot:
        controls.focus()
        await pilot.press("right", "delete", "left", "delete")
        await pilot.press("down", "right", "minus")
        await pilot.press("enter", "7", "enter")
        await pilot.press("down", "enter", "7", "enter")
        assert "Give a value from 0 to 1." in app.text()
        await pilot.press("backspace", "0", ".", "5", "enter")
        assert "0.5" in app.text() and "Give" not in app.text()
        await pilot.press("enter", "9", "escape")
    changes = settings_of(app)
    assert changes[0].temperature < 0.7 < changes[2].temperature
    assert [c.top_k for c in changes[4:7]] == [60, 40, 7]
    assert changes[-1] == SamplingSettings(top_k=7, top_p=0.5) == controls.settings


async def test_the_slider_shows_the_temperature_and_the_end_stop() -> None:
    controls = SamplerControls()
    app = Host(controls)
    async with app.run_test(size=(40, 12)) as pilot:
        assert app.lines()[0].split() == ["confidence", "‹", "T", "0.7", "›"]
        line = app.lines()[1]
        assert line.startswith("flat ◄━") and line.endswith("─► sharp")
        controls.settings = SamplingSettings(temperature=0)
        await pilot.pause()
        assert "T 0 greedy" in app.lines()[0]
        assert app.lines()[1].endswith("●► sharp")


async def test_the_mouse_drags_the_knob() -> None:
    controls = SamplerControls()
    app = Host(controls)
    async with app.run_test(size=(40, 12), message_hook=app.hook) as pilot:
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
    controls = SamplerControls()
    app = Host(controls)
    async with app.run_test(size=(width, 12), message_hook=app.hook) as pilot:
        await pilot.click(controls, offset=place)
        await pilot.press("right")
    (changed,) = settings_of(app)
    assert changed == ROWS[row].stepped(SamplingSettings(), 1)


@pytest.mark.parametrize("width", [24, 40, 44, 60, 80])
async def test_sampler_controls_show_every_setting(width: int) -> None:
    app = Host(SamplerControls())
    async with app.run_test(size=(width, 12)):
        for field in FIELDS:
            assert field.label in app.text()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_paste_into_a_sampler_field_is_drawn_safely(text: str) -> None:
    controls = SamplerControls()
    app = Host(controls)
    async with app.run_test(size=(40, 12)) as pilot:
        controls.focus()
        await pilot.press("down", "enter")
        controls.post_message(events.Paste(text))
        await pilot.pause()
        await pilot.press("enter")
        assert safe(app.text())
    assert controls.settings.top_k in (40, 0)


def test_sampler_meanings_fit_80_columns() -> None:
    assert {
        field.name: len(field.meaning) for field in ROWS if len(field.meaning) > 27
    } == {}
