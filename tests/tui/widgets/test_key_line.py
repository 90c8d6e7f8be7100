"""The line of keys: those of the focus, as they are bound now, and always the help."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from lmtui.tui.preferences import Preferences
from tests.fakes import FakeEngine
from tests.tui.programs import Program, chatting


@asynccontextmanager
async def answered(**how: Any) -> AsyncIterator[Program]:
    """A chat with one answer."""
    engines = {"default": FakeEngine(["one two"], name="default")}
    async with chatting(engines, **how) as running:
        await running.ask("go")
        await running.until(lambda: running.last_text == "one two")
        await running.until(lambda: not running.chat.session.is_answering)
        yield running


def last_line(running: Program) -> str:
    """The line of keys, which is the last one of the screen."""
    return running.seen.splitlines()[-1].strip()


async def test_keys_are_those_of_the_focus() -> None:
    async with answered(size=(80, 24)) as running:
        shown = [last_line(running)]
        assert "F3 tokens" in shown[0] and "F4 sampler" in shown[0]
        for key, words in (
            ("alt+up", "message: e edit · c copy · Del delete · Esc prompt · F1 help"),
            ("f3", "tokens: n next surprise · Enter alternatives"),
            ("enter", "panel: Enter pick · x ban · + more often · - less often"),
            ("f4", "sampler: Enter type · Space on/off"),
        ):
            await running.press(key)
            await running.until(
                lambda words=words: last_line(running).startswith(words)
            )
            shown.append(last_line(running))
        assert all(line.endswith("F1 help") for line in shown)
        assert all(4 <= line.count(" · ") + 1 <= 5 for line in shown), shown


async def test_keys_of_the_user_take_their_place() -> None:
    keys = {"chat.tokens": "f12", "app.help": "ctrl+b"}
    async with answered(preferences=Preferences(keys=keys)) as running:
        assert "F12 tokens" in last_line(running)
        assert last_line(running).endswith("Ctrl+B help")


async def test_narrow_screen_keeps_the_key_of_the_help_and_a_low_one_none() -> None:
    async with chatting() as running:
        for width in (60, 40, 20):
            await running.pilot.resize_terminal(width, 24)
            await running.until(
                lambda width=width: (
                    last_line(running).endswith("F1 help")
                    and len(last_line(running)) <= width - 2
                )
            )
        await running.pilot.resize_terminal(80, 15)
        await running.until(lambda: "F1 help" not in running.seen)
