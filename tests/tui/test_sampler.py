"""The sampler on a screen: the chain's effects, the bars after a stage, bans."""

from __future__ import annotations

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    SeenRepeat,
    StageEffect,
)
from lmtui.tui.chat.message import MessageView
from lmtui.tui.widgets.sampler_controls import SamplerControls
from tests.tui.chat.chats import chat
from tests.tui.inspecting import inspecting
from tests.tui.programs import Program


async def at_stage(running: Program, stage: str) -> None:
    """Put the cursor of the chain on a stage."""
    controls = running.chat.sampler.controls
    while controls.stage != stage:
        await running.press("down")


async def test_the_panel_shows_the_bars_after_the_stage_under_the_cursor() -> None:
    async with chat("one two three", asked="go") as running:
        panel = running.chat.panel
        await running.until(lambda: panel.distribution)
        running.chat.sampler.use(SamplingSettings())
        await running.press("f4")
        await at_stage(running, "top_k")
        await running.until(lambda: panel.after == "top-k")
        shown = panel.distribution
        assert shown is not None and shown.remaining == 40
        assert [effect.stage for effect in shown.chain] == [
            "temperature", "top_k", "top_p", "min_p",
        ]  # fmt: skip
        assert "After top-k" in running.seen
        await at_stage(running, "temperature")
        await running.until(lambda: panel.after == "temperature")
        assert panel.distribution is not None
        assert panel.distribution.remaining == panel.distribution.vocabulary
        await running.press("f4")  # back: the whole chain
        await running.until(lambda: panel.after == "")
        last = shown.chain[-1]
        await running.until(lambda: panel.distribution.remaining == last.left)


async def test_effects_follow_the_tokens_of_an_answer() -> None:
    async with chat("one two three", "four", asked="go") as running:
        await running.press("f4")
        panel = running.chat.panel
        await running.until(lambda: panel.distribution and panel.distribution.chain)
        first = panel.distribution
        assert first is not None
        await running.press("ctrl+r")
        await running.answered("go", "four")
        await running.until(lambda: panel.distribution.chain)
        assert panel.distribution is not None
        assert panel.distribution.handle != first.handle


async def test_a_token_is_banned_biased_and_allowed_again_from_its_row() -> None:
    async with chat("one two three", asked="go") as running:
        panel, sampler = running.chat.panel, running.chat.sampler
        await running.until(lambda: panel.distribution)
        panel.focus()
        await running.press("x")
        assert panel.distribution is not None
        token = panel.distribution.candidates[0]
        entry = f"{token.bytes.decode()}=ban"
        assert sampler.settings.logit_bias == (entry,)
        await running.until(lambda: panel.distribution.candidates[0].cut == "b")
        assert running.chat.query_one(SamplerControls).settings == sampler.settings
        await running.press("x")
        assert sampler.settings.logit_bias == ()
        await running.until(lambda: panel.distribution.candidates[0].cut is None)
        await running.press("plus", "plus", "minus", "minus", "minus")
        assert sampler.settings.logit_bias == (f"{token.bytes.decode()}=-1",)
        await running.press("plus")
        assert sampler.settings.logit_bias == ()


async def test_the_passage_that_dry_sees_is_highlighted() -> None:
    async with chat("over the moon over the", asked="go") as running:
        controls = running.chat.sampler.controls
        await running.press("f4")
        await at_stage(running, "dry")
        await running.until(lambda: running.chat.panel.after == "DRY")
        repeat = SeenRepeat(4, 6, "over the", " moon")
        controls.show_effects([StageEffect("dry", 0, 9, 0.2, repeat=repeat)])
        answer = running.chat.query(MessageView).last()
        await running.until(lambda: answer.matches == ((0, 8), (14, 22)))
        await running.press("down")  # a further setting of the stage
        assert answer.matches
        await running.press("up", "up")
        await running.until(lambda: answer.matches == ())


async def test_the_finder_bans_the_token_that_it_marks() -> None:
    async with inspecting("one two three") as shown:
        await shown.to(2)
        await shown.press("f", *"e")
        finder = shown.screen.at_cursor.finder
        await shown.until(lambda: len(finder.rows) > 1)
        await shown.press("down", "alt+x")
        second = finder.rows[1].candidate
        await shown.until(lambda: finder.rows[1].candidate.cut == "b")
        assert shown.screen.sampler.settings.logit_bias == (
            f"{second.bytes.decode()}=ban",
        )
        await shown.press("alt+x")
        await shown.until(lambda: finder.rows[1].candidate.cut != "b")
        assert shown.screen.sampler.settings.logit_bias == ()
        await shown.press("alt+right", "alt+left", "alt+left")
        assert shown.screen.sampler.settings.logit_bias == (
            f"{second.bytes.decode()}=-1",
        )
