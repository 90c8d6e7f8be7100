"""The token view beside a draft, and with several versions of a message."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from textual.events import Paste

from lmtui.tui.chat.prompt import FOLDED
from lmtui.tui.engine.client import EngineClient
from lmtui.worker.requests import Slot
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat


def drafts(engine: FakeEngine) -> list[tuple[list[str], str]]:
    """The drafts that were scored, and what was said before each."""
    asked: list[Any] = [what for verb, what in engine.calls if verb == "trace"]
    return [([turn.content for turn in turns], text) for turns, text, _ in asked]


async def opened(running: Chat) -> None:
    """The last message as tokens."""
    await running.press("f3")
    await running.until(lambda: running.panel.title == "Token 1")
    await running.until(lambda: running.panel.distribution)


async def test_scores_belong_to_the_version_that_they_were_asked_for() -> None:
    held, reached, go_on = Event(), Event(), Event()

    def hold(_: int) -> None:
        if held.is_set():
            reached.set()
            assert go_on.wait(20)

    engine = FakeEngine(["one two", "three four"], on_token=hold)
    async with chat(engine=engine, asked="go") as running:
        await running.on_message(1, "e", ".", "ctrl+s")  # by hand: it has no scores
        await running.answered("go", "one two.")
        await running.press("ctrl+r")
        await running.answered("go", "three four")
        first, second, third = running.conversation.siblings(running.leaf.id)
        await running.on_message(1, "left_square_bracket", "left_square_bracket")
        await running.answered("go", "one two")
        await opened(running)
        held.set()
        await running.press("right_square_bracket")
        await running.until(reached.is_set)
        assert running.chat.tokens.message.id == first.id  # still the one that is shown
        await running.press("right_square_bracket")
        go_on.set()
        await running.until(lambda: running.chat.tokens.message.id == second.id)
        assert "The message is being scored; Esc stops that." in running.notices
        scored = "".join(
            token.text for token in running.conversation.node(second.id).scored
        )
        assert scored == "one two."
        assert running.leaf.id == second.id
        assert running.conversation.node(third.id).scored == ()


async def test_version_switch_shows_what_comes_next_on_its_branch() -> None:
    engine = FakeEngine(["first", "second"])
    async with chat(engine=engine, asked="go") as running:
        await running.press("ctrl+r")
        await running.answered("go", "second")
        assert running.panel.title == "Next token"
        await running.on_message(1, "right_square_bracket")  # there is none further on
        await running.on_message(1, "left_square_bracket")
        await running.until(lambda: running.panel.title == "Token 2")
        await running.press("escape")
        await running.until(lambda: running.panel.title == "Next in your message")
        assert drafts(engine)[-1] == (["go", "first"], "")


async def test_draft_leaves_the_panel_to_the_tokens_and_is_asked_after_them() -> None:
    engine = FakeEngine(["first"])
    async with chat(engine=engine, asked="go") as running:
        await opened(running)
        shown, before = running.panel.distribution, len(drafts(engine))
        running.prompt.focus()
        running.prompt.post_message(Paste("x" * FOLDED))
        await running.until(lambda: running.prompt.folded)
        await running.pilot.pause()
        assert running.panel.distribution is shown
        await running.press("ctrl+u", *"ab")
        assert running.panel.distribution is shown
        await running.press("escape")
        await running.until(lambda: running.panel.title == "Next in your message")
        assert drafts(engine)[before:] == [(["go", "first"], "ab")]


def holding_drafts() -> tuple[FakeEngine, Event, Event, Event]:
    """An engine that waits in each draft, once the first event is set; it sets the
    second there and goes on with the third."""
    held, reached, go_on = Event(), Event(), Event()

    def hold(_: int) -> None:
        if held.is_set() and engine.calls[-1][0] == "trace":
            reached.set()
            assert go_on.wait(20)

    engine = FakeEngine(["first"], on_token=hold)
    return engine, held, reached, go_on


async def test_draft_that_is_being_scored_does_not_reach_the_tokens() -> None:
    engine, held, reached, go_on = holding_drafts()
    async with chat(engine=engine, asked="go") as running:
        held.set()
        running.prompt.insert("ab")
        await running.until(reached.is_set)
        await opened(running)
        go_on.set()
        await running.press("right")
        assert running.panel.title == "Token 2"
        assert not running.chat.draft.status_text
        chosen = running.leaf.steps[1]
        assert running.panel.chosen == chosen.id


async def test_draft_is_scored_once_whatever_another_screen_asks() -> None:
    engine, held, reached, go_on = holding_drafts()
    async with chat(engine=engine) as running:
        await running.until(lambda: running.panel.distribution)
        held.set()
        running.prompt.insert("ab")
        await running.until(reached.is_set)
        other = running.app.make_client(running.app.call_later)
        other.ask(Slot.LOOK, lambda *_: None, lambda _: None)
        await running.until(lambda: running.panel.stale)
        go_on.set()
        await running.until(lambda: not running.panel.stale)
        assert drafts(engine)[-1] == ([], "ab")


async def test_new_conversation_asks_once_what_comes_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with chat("first", asked="one") as running:
        await opened(running)
        asked, ask = [], EngineClient.ask

        def count(client: EngineClient, slot: Slot, *rest: Any, **of: Any) -> None:
            asked.append(slot)
            ask(client, slot, *rest, **of)

        monkeypatch.setattr(EngineClient, "ask", count)
        await running.press("ctrl+n")
        await running.until(lambda: not running.chat.has_class("-tokens"))
        await running.until(lambda: asked)
        await running.pilot.pause()
        assert asked.count(Slot.LOOK) == 1


@pytest.mark.parametrize("place", [0, 1])
async def test_only_an_answer_is_said_to_continue_from_a_row(place: int) -> None:
    async with chat("first", asked="one") as running:
        running.views[place].focus()
        await opened(running)
        await running.press("enter")
        words = "Enter continues from the marked row; Esc closes the token view"
        assert running.state == (words if place else "ready")
