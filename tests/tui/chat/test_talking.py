"""The draft, what waits, what Esc stops, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest

from lmtui.engine.types import ChatTurn, Prompt
from tests.fakes import FakeEngine
from tests.tui.chat.chats import chat
from tests.tui.programs import holding


async def test_undo_restores_a_cleared_draft_but_no_sent_prompt() -> None:
    async with chat(asked="France?") as running:
        await running.press("ctrl+z")
        assert running.prompt.text == ""
        await running.press(*"ab", "ctrl+j", *"cd")
        await running.press("ctrl+u")
        assert running.prompt.text == ""
        await running.press("ctrl+z")
        assert running.prompt.text == "ab\ncd"


async def test_esc_closes_the_list_of_commands_before_it_stops_an_answer() -> None:
    engine, go_on = holding("one two three", at=1)
    async with chat(engine=engine) as running:
        await running.ask("count")
        await running.until(lambda: running.texts[1:] == ["one"])
        await running.press("/")
        await running.until(lambda: "/help " in running.seen)
        await running.press("escape")
        assert "/help " not in running.seen
        assert running.prompt.text == "/" and running.chat.session.is_busy
        await running.press("h")  # no list comes back while this command is written
        assert "/help " not in running.seen
        go_on.set()
        await running.until(lambda: running.texts[1:] == ["one two three"])
        await running.press("backspace", "backspace", "/")
        assert "/help " in running.seen


async def test_waiting_prompts_are_shown_and_recalled_one_by_one() -> None:
    engine, go_on = holding("one two three", at=0)
    async with chat(engine=engine) as running:
        await running.ask("first")
        for text in ("second", "third\nof two lines"):
            await running.ask(text)
        # While the prompt is read too.
        await running.until(lambda: "waits · third of two lines" in running.seen)
        assert "waits · second" in running.seen
        await running.press("up")
        assert running.prompt.text == "third\nof two lines"
        assert "waits · third" not in running.seen
        await running.press("ctrl+u")
        go_on.set()
        await running.until(lambda: len(running.texts) == 4)
        await running.idle()
        assert running.texts[::2] == ["first", "second"]
        assert "waits" not in running.seen


async def test_answer_stopped_before_its_first_word_leaves_no_message() -> None:
    engine, go_on = holding("one two three", at=0)
    async with chat(engine=engine) as running:
        await running.ask("count")
        await running.until(lambda: len(running.texts) == 2)
        await running.press("escape")
        go_on.set()
        await running.idle()
        await running.until(lambda: running.texts == ["count"])
        await running.until(lambda: "You · not answered; the next one" in running.seen)
        assert "stopped before the first word" in running.state
        await running.press("ctrl+r")
        await running.until(lambda: running.texts[1:] == ["one two three"])
        await running.until(lambda: "not answered" not in running.seen)


@pytest.mark.parametrize("has_template", [True, False])
async def test_chat_says_when_a_base_model_has_no_chat_template(
    has_template: bool,
) -> None:
    engine = FakeEngine(["x"], has_template=has_template)
    async with chat(engine=engine, notices=True) as running:
        await running.pilot.pause()
        shown = "base model: no chat template" in running.seen
        assert shown is not has_template
        assert ("User: …⏎Assistant:" in running.notices) is not has_template


async def test_status_shows_scoring_until_escape_stops_it() -> None:
    held, reached, go_on = Event(), Event(), Event()

    def hold(index: int) -> None:
        if held.is_set():
            reached.set()
            assert go_on.wait(20)

    engine = FakeEngine(["a", "b"], on_token=hold)
    async with chat(engine=engine, asked="count") as running:
        held.set()
        await running.on_message(0, "f3")
        await running.until(reached.is_set)
        assert running.state.startswith("scoring")
        await running.press("f3")  # changes nothing
        await running.press("escape")
        assert running.state == "reading your message"  # the draft, once it is free
        go_on.set()
        await running.pilot.pause()
        assert not running.chat.has_class("-tokens")
        await running.on_message(0, "f3")
        await running.until(lambda: running.chat.has_class("-tokens"))
        assert running.state == "ready"


class Forgetful(FakeEngine):
    """An engine whose template knows no system message."""

    def prompt(self, messages: Sequence[ChatTurn], **options: Any) -> Prompt:
        return super().prompt([m for m in messages if m.role != "system"], **options)


async def test_answer_notes_a_message_that_the_template_leaves_out() -> None:
    async with chat(engine=Forgetful(["a"]), system="Arr.", asked="count") as running:
        await running.until(lambda: "without 1 earlier message" in running.seen)
