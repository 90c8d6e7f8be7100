"""The sampler of the chat begins as the model's makers recommend, and says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from lmtui.config.load import load
from lmtui.config.settings import Settings
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import EngineInfo
from lmtui.models.source import ModelRef
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.programs import Program

CARD = (("temperature", 0.2), ("top_p", 0.9))


class Recommending(FakeEngine):
    """A model whose makers recommend a sampler."""

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, generation_defaults=CARD)


@asynccontextmanager
async def screens(settings: Settings) -> AsyncIterator[Chat]:
    """A chat with a model that recommends a sampler, and one that does not."""
    engines = {
        "default": Recommending(["one two"], name="default"),
        "second": FakeEngine(["three"], name="second"),
    }
    async with chat(engines=engines, sampling_for=settings.sampling_for) as running:
        yield running


def drawn(running: Program) -> SamplingSettings:
    """The settings that the next answer is drawn with."""
    return running.chat.sampler.settings


async def use(running: Program, model: str = "default") -> None:
    """Load a model."""
    running.app.load_model(ModelRef(model))
    await running.ready(model)
    await running.pilot.pause()


async def test_recommended_settings_are_used_and_named() -> None:
    async with screens(Settings()) as running:
        await running.say("go")
        used = running.leaf.settings
        assert used is not None
        assert (used.temperature, used.top_p) == (0.2, 0.9)
        assert (used.top_k, used.min_p) == (40, 0.05)  # nothing is recommended for
        assert "temperature" in running.seen and "T 0.2" in running.seen
        assert "temperature, top-p: as recommended" in running.seen
        assert "confidence" not in running.seen
        await running.press("f4")
        await running.until(lambda: "makers recommend." in running.seen)
        await use(running, "second")
        assert (drawn(running).temperature, drawn(running).top_p) == (0.7, 0.95)
        assert "recommended" not in running.seen


async def test_settings_of_the_user_win() -> None:
    given = load({"top_p": 0.5}, environment={"LMTUI_TEMPERATURE": "0.7"})
    async with screens(given) as running:
        assert (drawn(running).temperature, drawn(running).top_p) == (0.7, 0.5)
        assert "recommended" not in running.seen


async def test_what_is_changed_on_the_screen_stays_and_delete_brings_it_back() -> None:
    async with screens(Settings()) as running:
        await running.press("f4", "right")
        changed = drawn(running).temperature
        assert changed < 0.2 and drawn(running).top_p == 0.9
        await use(running, "second")
        assert (drawn(running).temperature, drawn(running).top_p) == (changed, 0.95)
        await use(running)
        assert (drawn(running).temperature, drawn(running).top_p) == (changed, 0.9)
        await running.press("delete")
        assert drawn(running).temperature == 0.2
