"""The models: what there is, what Enter does, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest
from textual.widgets import Input

from lmtui.models.listing import Row
from lmtui.models.progress import Progress
from lmtui.tui.screens.models import (
    NOTHING,
    ModelsScreen,
    what_enter_does,
    what_it_names,
)
from lmtui.tui.screens.start import StartScreen
from lmtui.tui.widgets.model_list import laid_out, same_model
from tests.fakes import FakeEngine
from tests.tui.programs import ROWS, Program, assert_laid_out, program

SECOND = {
    "default": FakeEngine(name="default"),
    "second": FakeEngine(name="second"),
}


async def listed(running: Program) -> ModelsScreen:
    """The screen with its list."""
    await running.press("m")
    models = await running.on(ModelsScreen)
    await running.until(lambda: "second" in running.seen)
    return models


async def test_every_row_says_what_enter_does_before_it_is_done() -> None:
    async with program() as running:
        await running.ready()
        await listed(running)
        await running.until(lambda: "Enter loads it" in running.seen)
        await running.press("down")
        await running.until(lambda: "Enter fetches ≈ 3.4 GB" in running.seen)
        assert running.app.model.wanted == "default"
        await running.press("down")
        await running.until(lambda: "does not fit" in running.seen)
        assert "[bold]too ␛[31m big[/nope]" in running.seen


async def test_it_can_be_left_while_a_model_loads() -> None:
    release = Event()

    def open_model(name: str) -> Any:
        def load(report: Any) -> FakeEngine:
            if name == "second":
                report(Progress("fetching second", 1, 2))
                assert release.wait(20)
            return FakeEngine(name=name)

        return load

    async with program(open_model=open_model) as running:
        await running.ready("default")
        await listed(running)
        await running.press("down", "enter")
        await running.until(lambda: "fetching second 50%" in running.seen)
        await running.press("escape")
        await running.on(StartScreen)
        assert "fetching second 50%" in running.seen
        release.set()
        await running.ready("second")
        await running.until(lambda: "ready" in running.seen)


async def test_the_model_in_use_is_marked() -> None:
    async with program(SECOND) as running:
        await running.ready("default")
        await listed(running)
        await running.until(lambda: "● default" in running.seen)
        await running.press("down", "enter")
        await running.until(lambda: "● second" in running.seen)
        assert "● default" not in running.seen


async def test_a_name_can_be_written(tmp_path: Path) -> None:
    engines = {"default": FakeEngine(name="default")}
    folder = str(tmp_path)
    engines[folder] = FakeEngine(name="mine")
    async with program(engines) as running:
        await running.ready()
        models = await listed(running)
        await running.press("tab")
        field = models.query_one(Input)
        assert field.has_focus
        field.value = folder
        await running.until(lambda: "A folder on this machine" in running.seen)
        await running.press("enter")
        await running.ready("mine")


async def test_a_name_of_nothing_does_not_cost_the_model_in_use() -> None:
    async with program() as running:
        await running.ready()
        models = await listed(running)
        await running.press("tab")
        models.query_one(Input).value = "no/such/thing"
        await running.press("enter")
        await running.until(lambda: "there is no such model" in running.seen)
        await running.pilot.pause()
        assert running.app.model.info


async def test_without_a_list_there_is_still_the_field() -> None:
    async with program(rows=()) as running:
        await running.press("m")
        await running.on(ModelsScreen)
        await running.until(lambda: NOTHING in running.seen)


async def test_the_list_is_made_aside() -> None:
    release, asked = Event(), Event()

    async with program() as running:

        def slowly() -> tuple[Row, ...]:
            asked.set()
            assert release.wait(20)
            return ROWS

        running.app._list_models = slowly
        await running.press("m")
        await running.on(ModelsScreen)
        await running.until(asked.is_set)
        assert "Looking at what is on this machine." in running.seen
        release.set()
        await running.until(lambda: "second" in running.seen)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (40, 12)])
async def test_nothing_overlaps(size: tuple[int, int]) -> None:
    async with program(size=size) as running:
        await running.ready()
        models = await listed(running)
        assert_laid_out(models)
        assert models.query_one(Input).region.height == 3


def test_columns_are_as_wide_as_they_need() -> None:
    heading, lines = laid_out(ROWS, "second")
    assert heading.index("NOTE") == lines[0].index("the default")
    assert lines[1].startswith("● second")
    assert heading.index("WEIGHTS") + len("WEIGHTS") == lines[0].index("135M") + 4
    assert "\x1b" not in "".join(lines)
    assert laid_out((), "")[1] == []


def test_two_names_of_one_model() -> None:
    assert same_model("qwen3-0.6b", "Qwen/Qwen3-0.6B")
    assert not same_model("qwen3-0.6b", "qwen3-1.7b")
    assert same_model("./mine", "./mine")
    assert not same_model("./mine", "./yours")


def test_what_is_said_of_a_row() -> None:
    row = Row("a", "1B", "≈ 2 GB", "bfloat16", "", "")
    assert what_enter_does(row).startswith("Enter fetches ≈ 2 GB and loads it.")
    assert "--dtype bfloat16" in what_enter_does(row)


def test_what_a_name_means(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    for text, words in [
        (str(tmp_path), "A folder"),
        (str(file), "A GGUF file"),
        ("owner/name", "owner/name on the Hub"),
        ("default", "The default model"),
    ]:
        assert what_it_names(text) == (what_it_names(text)[0], True)
        assert what_it_names(text)[0].startswith(words)
    assert what_it_names("qwen3-0.6")[1] is False
    assert "Did you mean" in what_it_names("qwen3-0.6")[0]
    assert what_it_names("  ") == ("", False)
