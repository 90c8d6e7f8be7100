"""An answer while it is written: however its tokens come, nothing of it is missed."""

from __future__ import annotations

import math
from random import Random

import pytest

from lmtui.engine.types import SamplingSettings, Step
from lmtui.tui.chat.message import entry_of
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.worker import batching
from tests.fakes import FakeEngine
from tests.tui.chat.test_screen import chat
from tests.tui.programs import Program, holding, program
from tests.tui.shown import Shown

PIECES = (
    "word ", "longer words ", "漢字", "**bold** ", "`code`", "\n", "\n\n", "- ", "1. ",
    "```\n", "| a | b |\n", "|-|-|\n", "> ", "# ", "e\u0301 ",
)  # fmt: skip


def steps_of(random: Random, count: int) -> list[Step]:
    """Tokens of an answer, with the distributions that they were drawn from."""
    pieces = [random.choice(PIECES) for _ in range(count)]
    engine = FakeEngine([pieces])
    prompt = engine.prompt([])
    settings = SamplingSettings(temperature=0, max_tokens=count)
    return [s for s in engine.generate(prompt, settings) if isinstance(s, Step)]


async def begun(running: Program) -> None:
    """An answer that has begun, in a chat that is ready."""
    screen, conversation = running.chat, running.chat.session.conversation
    asked = conversation.say("a question")
    await screen.transcript.add(entry_of(conversation, asked))
    reply = conversation.reply(asked.id, model="m", settings=SamplingSettings())
    await screen.transcript.add(entry_of(conversation, reply))
    screen.reply.message, screen.session.is_answering = reply, True


@pytest.mark.parametrize("seed", range(4))
async def test_streaming_screen_equals_a_full_redraw(seed: int) -> None:
    random = Random(seed)
    steps = steps_of(random, 250)
    async with program(first="chat", size=(100, 30)) as running:
        shown = Shown(running.app)
        await running.ready()
        await begun(running)
        screen, at = running.chat, 0
        screen.query_one(PromptField).cursor_blink = False
        while at < len(steps):
            batch = steps[at : at + random.choice([1, 2, 10, 30])]
            at += len(batch)
            screen.call_later(screen.reply.show_steps, tuple(batch))
            await running.pilot.pause(random.choice([0, 0, 0.02]))
            if random.random() < 0.15:
                size = random.randrange(40, 130), random.randrange(12, 45)
                await running.pilot.resize_terminal(*size)
        await running.pilot.resize_terminal(100, 30)
        view, panel = running.views[-1], screen.query_one(ProbabilityPanel)
        await running.until(lambda: panel.distribution is steps[-1].distribution)
        assert view.text == "".join(step.piece for step in steps)
        await running.until(lambda: shown.settled)
        before = shown.whole()
        assert shown.cells == before
        for widget in screen.query("*"):
            widget.notify_style_update()
        screen.refresh(layout=True)
        await running.pilot.pause(0.05)
        await running.until(lambda: shown.settled)
        assert shown.whole() == before == shown.cells


@pytest.mark.parametrize("at", [1, 2, 7, 11])
async def test_stop_keeps_the_tokens_gathered_between_two_reports(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "INTERVAL", math.inf)  # after the first token, none
    words = ["word0", *(f" word{index}" for index in range(1, 12))]
    engine, go_on = holding("".join(words), at=at)
    async with chat(engine) as running:
        await running.ask("count")
        await running.until(lambda: len(running.views) == 2 and running.views[1].text)
        assert running.views[1].text == words[0]  # the first one at once
        await running.pilot.press("escape")
        go_on.set()
        await running.answered()
        leaf = running.screen.session.conversation.leaf
        assert running.views[1].text == leaf.content == "".join(words[:at])
        assert running.panel.distribution is leaf.steps[-1].distribution
        assert running.panel.chosen == leaf.steps[-1].id
        strip = running.screen.query_one(LikelihoodStrip)
        assert strip.history.tokens == len(leaf.steps) == at


async def test_bar_of_a_growing_answer_ends_with_its_text() -> None:
    engine, go_on = holding("one two three", at=1, name="default")
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        await running.ask("count")
        await running.until(lambda: running.last_text == "one")
        await running.until(lambda: "█ one" in running.seen)
        lines = running.seen.splitlines()
        at = next(i for i, line in enumerate(lines) if "█ one" in line)
        assert not any("█" in line[:3] for line in lines[at + 1 :])
        go_on.set()
        await running.until(lambda: running.last_text == "one two three")


async def test_answer_stands_still_when_it_ends() -> None:
    engine, go_on = holding("one two three", at=1, name="default")
    async with program({"default": engine}, first="chat", size=(100, 20)) as running:
        await running.ready()
        await running.ask("\n".join(["a long question"] * 15))  # so that it scrolls

        def line() -> int:
            lines = running.seen.splitlines()
            return next((at for at, each in enumerate(lines) if "█ one" in each), -1)

        await running.until(lambda: running.last_text == "one" and line() > 0)
        before = line()
        go_on.set()
        await running.until(lambda: "█ one two three" in running.seen)
        await running.until(lambda: not running.chat.session.is_busy)
        await running.pilot.pause()
        assert line() == before
