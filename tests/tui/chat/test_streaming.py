"""An answer while it is written: however its tokens come, nothing of it is missed."""

from __future__ import annotations

import math
import re
from random import Random
from typing import Any

import pytest
from rich.cells import cell_len
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.geometry import Size
from textual.screen import Screen
from textual.strip import Strip

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import Step
from lmtui.tui.chat.message import entry_of
from lmtui.tui.chat.reply import Row
from lmtui.worker import throttle
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.hosts import drawn
from tests.tui.programs import holding

Cell = tuple[str, str]
"""A character and how it looks; of one that takes two cells, the second is empty."""

_PART = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|\n|[^\x1b\n]+")


class Shown:
    """The cells of a terminal on which an app draws, update by update."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self.updates = 0
        """How often something was drawn."""
        self._cells: list[list[Cell]] = []
        self._size = Size(0, 0)
        display = app._display

        def watched(screen: Screen[Any], update: Any) -> None:
            if isinstance(update, CompositorUpdate):
                self._take(update)
            display(screen, update)

        app._display = watched  # type: ignore[method-assign]

    def _take(self, update: CompositorUpdate) -> None:
        if self._size != self._app.screen._compositor.size:
            self._size = self._app.screen._compositor.size
            self._cells = [[(" ", "")] * self._size.width for _ in range(self._size[1])]
        self.updates += 1
        _draw(self._cells, update.render_segments(self._app.console))

    @property
    def cells(self) -> list[list[Cell]]:
        """Line by line."""
        return self._cells

    def whole(self) -> list[list[Cell]]:
        """What the screen would look like if all of it were drawn anew."""
        strips = drawn(self._app.screen)
        width = self._app.screen.size.width
        lines = [[(" ", "")] * width for _ in strips]
        for line, strip in zip(lines, strips, strict=True):
            _draw([line], Strip(list(strip)).render(self._app.console))
        return lines

    @property
    def settled(self) -> bool:
        """Whether all that has changed was drawn."""
        screen = self._app.screen
        if screen._dirty_widgets or screen._compositor._dirty_regions:
            return False
        if self._size != self._app.size:
            return False
        return not any(
            widget._layout_required
            or widget._repaint_required
            or widget._scroll_required
            or widget._message_queue.qsize()
            for widget in (screen, *screen.query("*"))
        )


def _draw(cells: list[list[Cell]], sequences: str) -> None:
    x = y = 0
    look = ""
    for part in _PART.finditer(sequences):
        numbers, letter = part[1], part[2]
        if letter == "H":
            row, column = numbers.split(";")
            x, y = int(column) - 1, int(row) - 1
        elif letter == "m":
            look = "" if numbers == "0" else numbers
        elif part[0] == "\n":
            y += 1
        elif letter is None:
            for character in part[0]:
                wide = cell_len(character)
                if wide == 0:
                    before, style = cells[y][x - 1]
                    cells[y][x - 1] = before + character, style
                    continue
                cells[y][x : x + wide] = [(character, look), ("", look)][:wide]
                x += wide


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


async def begun(running: Chat) -> None:
    """An answer that has begun, in a chat that is ready."""
    screen, conversation = running.chat, running.conversation
    asked = conversation.say("a question")
    await screen.transcript.add(entry_of(conversation, asked))
    reply = conversation.reply(asked.id, model="m", settings=SamplingSettings())
    await screen.transcript.add(entry_of(conversation, reply))
    screen.reply.rows, screen.session.is_answering = [Row(reply)], True


@pytest.mark.parametrize("seed", range(2))
async def test_streaming_screen_equals_a_full_redraw(seed: int) -> None:
    random = Random(seed)
    steps = steps_of(random, 250)
    async with chat(size=(100, 30), ready=False) as running:
        shown = Shown(running.app)
        await running.ready()
        await begun(running)
        screen, at = running.chat, 0
        running.prompt.cursor_blink = False
        while at < len(steps):
            batch = steps[at : at + random.choice([1, 2, 10, 30])]
            at += len(batch)
            items = [(0, step) for step in batch]
            screen.call_later(screen.reply.show_items, items)
            await running.pilot.pause(random.choice([0, 0, 0.02]))
            if random.random() < 0.15:
                size = random.randrange(40, 130), random.randrange(12, 45)
                await running.pilot.resize_terminal(*size)
        await running.pilot.resize_terminal(100, 30)
        last = steps[-1].distribution
        await running.until(lambda: running.panel.distribution is last)
        assert running.last_text == "".join(step.piece for step in steps)
        await running.until(lambda: shown.settled)
        before = shown.whole()
        assert shown.cells == before
        for widget in screen.query("*"):
            widget.notify_style_update()
        screen.refresh(layout=True)
        await running.pilot.pause(0.05)
        await running.until(lambda: shown.settled)
        assert shown.whole() == before == shown.cells


@pytest.mark.parametrize("at", [1, 11])
async def test_stop_keeps_the_tokens_gathered_between_two_reports(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "INTERVAL", math.inf)  # after the first token, none
    words = ["word0", *(f" word{index}" for index in range(1, 12))]
    engine, go_on = holding("".join(words), at=at)
    async with chat(engine=engine) as running:
        await running.ask("count")
        await running.until(lambda: running.texts[1:] and running.texts[1])
        assert running.texts[1] == words[0]  # the first one at once
        await running.press("escape")
        go_on.set()
        await running.idle()
        leaf = running.leaf
        assert running.texts[1] == leaf.content == "".join(words[:at])
        assert running.panel.distribution is leaf.steps[-1].distribution
        assert running.panel.chosen == leaf.steps[-1].id
        assert running.strip.history.tokens == len(leaf.steps) == at


async def test_bar_of_a_growing_answer_ends_with_its_text() -> None:
    engine, go_on = holding("one two three", at=1)
    async with chat(engine=engine) as running:
        await running.ask("count")
        await running.until(lambda: running.last_text == "one")
        await running.until(lambda: "█ one" in running.seen)
        lines = running.seen.splitlines()
        at = next(i for i, line in enumerate(lines) if "█ one" in line)
        assert not any("█" in line[:3] for line in lines[at + 1 :])
        go_on.set()
        await running.until(lambda: running.last_text == "one two three")


async def test_answer_stands_still_when_it_ends() -> None:
    engine, go_on = holding("one two three", at=1)
    async with chat(engine=engine, size=(100, 20)) as running:
        await running.ask("\n".join(["a long question"] * 15))  # so that it scrolls

        def line() -> int:
            lines = running.seen.splitlines()
            return next((at for at, each in enumerate(lines) if "█ one" in each), -1)

        await running.until(lambda: running.last_text == "one" and line() > 0)
        before = line()
        go_on.set()
        await running.until(lambda: "█ one two three" in running.seen)
        await running.idle()
        await running.pilot.pause()
        assert line() == before
