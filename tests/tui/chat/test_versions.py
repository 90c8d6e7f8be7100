"""Several versions of an answer at once: they grow together, and one is chosen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lmtui.chat.message import ChatMessage
from lmtui.chat.store import Store
from lmtui.engine.types import Capabilities
from lmtui.errors import LmtuiError
from lmtui.notation import counted
from lmtui.notation import log_prob as log_prob_of
from lmtui.tui.chat.version_view import VersionPane, VersionsView
from lmtui.worker import throttle
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat

ANSWERS = ["one", "two words", "now three words", "four"]


def words(*texts: str) -> list[list[str]]:
    """Each text as a script of words."""
    return [[f"{word} " for word in text.split()] for text in texts]


@asynccontextmanager
async def drawing(engine: FakeEngine | None = None, **how: Any) -> AsyncIterator[Chat]:
    async with chat(*ANSWERS, engine=engine, **how) as running:
        await running.ask("/temp 1")
        yield running


def leaf_of(file: Path) -> str:
    """The last message of the stored branch."""
    store = Store(file)
    try:
        (about,) = store.listed()
        return store.load(about.id).conversation.leaf.content
    finally:
        store.close()


def kept(file: Path) -> list[ChatMessage]:
    """The answers that another program finds in the file."""
    store = Store(file)
    try:
        nodes = [
            node.opened()
            for each in store.listed()
            for node in store.load(each.id).conversation.nodes
        ]
    finally:
        store.close()
    return [node for node in nodes if node.role == "assistant"]


def held(at: int, *texts: str) -> tuple[FakeEngine, Event, Event]:
    """An engine that waits before a token of its answers; it says when it does."""
    reached, go_on = Event(), Event()

    def wait(index: int) -> None:
        answers = engine.calls[-1][0].startswith("generate")
        if answers and index == at and not go_on.is_set():
            reached.set()
            assert go_on.wait(20)

    engine = FakeEngine(answers=words(*texts), on_token=wait)
    return engine, reached, go_on


def panes(running: Chat) -> list[VersionPane]:
    return list(running.chat.query(VersionPane))


def texts(running: Chat) -> list[str]:
    return [pane.body.text.text for pane in panes(running)]


def ends(running: Chat) -> list[str]:
    return [pane.head.forms[0][-1] for pane in panes(running)]


def versions(running: Chat) -> tuple[ChatMessage, ...]:
    """The versions of the last message."""
    return running.conversation.siblings(running.leaf.id)


async def all_ended(running: Chat, count: int) -> None:
    await running.until(
        lambda: len(panes(running)) == count and "…" not in ends(running)
    )
    await running.until(lambda: not running.chat.session.is_answering)
    await running.pilot.pause()


async def test_versions_of_a_new_message_are_stored_beside_each_other() -> None:
    async with drawing() as running:
        await running.ask("/n 4 count, please")
        await all_ended(running, 4)
        assert texts(running) == ANSWERS
        nodes = versions(running)
        assert [node.content for node in nodes] == ANSWERS
        assert all(node.finish and node.prompt for node in nodes)
        asked = running.conversation.node(nodes[0].parent or 0)
        assert asked.content == "count, please"
        first = nodes[0].settings
        assert first is not None and first.seed is not None
        seeds = [node.settings.seed for node in nodes if node.settings]
        assert seeds == [first.seed + number for number in range(4)]
        for pane, node in zip(panes(running), nodes, strict=True):
            _, log_prob, tokens, _ = pane.head.forms[0]
            assert tokens == counted(len(node.steps), "token")
            assert log_prob == f"Σ log P {log_prob_of(node.logprob)} nats"


async def test_arrows_and_enter_choose_a_version() -> None:
    async with drawing() as running:
        await running.ask("/n 3 count")
        await all_ended(running, 3)
        assert running.chat.reply.shows_versions
        await running.press("right", "right", "right", "left")
        assert running.chat.query_one(VersionsView).marked == 1
        await running.press("enter")
        assert not running.chat.reply.shows_versions
        await running.until(lambda: running.last_text == ANSWERS[1])
        assert running.views[-1].note.startswith("2/3")
        assert running.chat.focused is running.prompt
        assert running.panel.distribution is running.leaf.steps[-1].distribution
        await running.press("alt+up", "left_square_bracket")
        await running.until(lambda: running.last_text == ANSWERS[0])


async def test_versions_of_the_last_answer_stand_beside_it() -> None:
    async with drawing(FakeEngine(answers=["first", *ANSWERS])) as running:
        await running.say("count")
        await running.ask("/seed 7")
        await running.ask("/n 2")
        await all_ended(running, 2)
        assert [node.content for node in versions(running)] == ["first", *ANSWERS[:2]]
        seeds = [node.settings.seed for node in versions(running) if node.settings]
        assert seeds[1:] == [7, 8]
        # The next message follows the marked version.
        await running.press("right")
        running.prompt.focus()
        await running.say("and?")
        assert not running.chat.reply.shows_versions
        assert running.texts == ["count", ANSWERS[1], "and?", ANSWERS[2]]


async def test_escape_stops_all_and_each_keeps_its_text() -> None:
    engine, reached, go_on = held(2, "a b c d", "e f g h", "i j k l")
    async with drawing(engine) as running:
        await running.ask("/n 3 count")
        await running.until(reached.is_set)
        await running.until(lambda: texts(running)[0])
        assert set(ends(running)) == {"…"}
        assert running.state.startswith("answering; Esc stops all")
        await running.press("enter")
        assert running.chat.reply.shows_versions  # not all have ended
        await running.press("escape")
        go_on.set()
        await all_ended(running, 3)
        assert texts(running) == ["a b ", "e f ", "i j "]
        assert {node.state for node in versions(running)} == {"stopped"}
        assert ends(running) == ["stopped"] * 3
        assert running.chat.reply.shows_versions
        await running.press("escape")
        assert not running.chat.reply.shows_versions


async def test_every_version_is_on_the_disk_while_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "INTERVAL", 0)  # nothing is gathered
    engine, reached, go_on = held(2, "a b c", "d e f", "g h i")
    file = tmp_path / "chats.db"
    async with drawing(engine, chats_file=file) as running:
        await running.ask("/n 3 count")
        await running.until(reached.is_set)
        # What a kill would leave now.
        await running.until(lambda: [len(n.steps) for n in kept(file)] == [2, 2, 2])
        assert [node.content for node in kept(file)] == ["a b ", "d e ", "g h "]
        assert all(node.prompt for node in kept(file))
        go_on.set()
        await all_ended(running, 3)
        await running.until(lambda: {node.state for node in kept(file)} == {"whole"})
        await running.press("right", "enter")
        await running.until(lambda: leaf_of(file) == "d e f ")
    assert [node.content for node in kept(file)] == ["a b c ", "d e f ", "g h i "]


async def test_stop_before_the_first_token_leaves_what_was_there() -> None:
    engine, reached, go_on = held(0, "x", "a b", "c d")
    go_on.set()
    async with drawing(engine) as running:
        await running.say("count")
        go_on.clear()
        await running.ask("/n 2")
        await running.until(reached.is_set)
        await running.press("escape")
        go_on.set()
        await running.until(lambda: not running.chat.reply.shows_versions)
        assert running.last_text == "x "
        assert len(versions(running)) == 1


async def test_a_version_that_fails_loses_no_other() -> None:
    engine = FakeEngine(answers=words("a b", "c d e", "f"), breaks_off=(1, 1))
    async with drawing(engine) as running:
        await running.ask("/n 3 count")
        await all_ended(running, 3)
        assert "this version broke off" in running.notices
        assert texts(running) == ["a b ", "c ", "f "]
        assert ends(running)[1] == "broke off"
        states = [node.state for node in versions(running)]
        assert states == ["whole", "failed", "whole"]


async def test_prompt_that_cannot_be_read_goes_back_to_the_field() -> None:
    engine = FakeEngine(answers=ANSWERS)
    async with drawing(engine) as running:
        engine.error = LmtuiError("it is broken")
        await running.ask("/n 2 a question")
        await running.until(lambda: "it is broken" in running.notices)
        await running.until(lambda: running.prompt.text)
        assert running.prompt.text == "/n 2 a question"
        assert not running.chat.reply.shows_versions
        assert not running.chat.session.is_answering
        assert not running.views


async def test_what_cannot_be_drawn_is_refused() -> None:
    async with drawing() as running:
        for command, why in (
            ("/n 1", "1 is no number from 2 to 8."),
            ("/n 9 hello", "9 is no number from 2 to 8."),
            ("/n many", "many is no number from 2 to 8."),
            ("/n 4", "There is no message yet to answer; try /n 4 TEXT."),
        ):
            await running.ask(command)
            assert why in running.notices
            assert running.prompt.text == command
            running.prompt.clear()
        await running.ask("/temp 0")
        await running.ask("/n 2 hello")
        assert "At temperature 0 all answers are the same" in running.notices


async def test_message_that_waits_is_sent_once_a_version_is_taken() -> None:
    engine, reached, go_on = held(1, "a b", "c d", "last")
    async with drawing(engine) as running:
        await running.ask("/n 2 count")
        await running.until(reached.is_set)
        running.prompt.focus()
        await running.ask("and then?")
        go_on.set()
        await all_ended(running, 2)
        assert running.chat.session.waiting
        running.chat.reply.versions.focus()
        await running.press("right", "enter")
        await running.until(lambda: running.last_text == "last ")
        assert running.texts == ["count", "c d ", "and then?", "last "]


async def test_versions_wait_for_the_model_behind_what_was_sent_before() -> None:
    go_on = Event()

    def open_model(_: str) -> Any:
        def load(_: Any) -> FakeEngine:
            assert go_on.wait(20)
            return FakeEngine(answers=ANSWERS)

        return load

    async with chat(open_model=open_model, ready=False) as running:
        await running.ask("/temp 1")
        await running.ask("first")
        await running.ask("/n 2 count")
        await running.until(lambda: "waits · /n 2 count" in running.seen)
        assert running.chat.unsent == "first\n/n 2 count"
        go_on.set()
        await all_ended(running, 2)
        assert texts(running) == ANSWERS[1:3]
        await running.press("enter")
        assert running.texts == ["first", ANSWERS[0], "count", ANSWERS[1]]


async def test_a_model_that_has_no_batch_says_so() -> None:
    engine = FakeEngine(answers=ANSWERS)
    engine.capabilities = Capabilities(batches=False)  # type: ignore[misc]
    async with drawing(engine) as running:
        await running.ask("/n 2 count")
        await all_ended(running, 2)
        assert "2 versions one after the other" in running.seen


@pytest.mark.parametrize("width", [40, 99, 100, 200])
async def test_versions_are_columns_on_a_wide_screen(width: int) -> None:
    async with drawing(size=(width, 24)) as running:
        await running.ask("/n 4 count")
        await all_ended(running, 4)
        await running.pilot.pause()
        tops = {pane.region.y for pane in panes(running)}
        assert len(tops) == (1 if width >= 100 else 4)
        for pane, text in zip(panes(running), ANSWERS, strict=True):
            assert pane.region.bottom <= running.prompt.region.y
            assert text.split()[-1] in running.seen
            assert pane.region.right <= width
