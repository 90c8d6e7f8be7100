"""Messages that were not answered: in which order they return, and where."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lmtui.chat.attachments import attach
from lmtui.errors import LmtuiError
from lmtui.tui.chat import sender
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.dialogs import ErrorScreen
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.programs import holding


def waiting(running: Chat) -> tuple[str, ...]:
    """The messages that wait, as they were written."""
    return tuple(entry.written for entry in running.chat.session.waiting)


async def test_failed_message_returns_before_those_that_waited() -> None:
    go_on = Event()

    def fail(_: int) -> None:
        if engine.calls[-1][0] == "generate":
            assert go_on.wait(20)
            raise LmtuiError("out of memory")

    engine = FakeEngine(["one"], on_token=fail)
    async with chat(engine=engine) as running:
        for text in ("first", "second", "first"):
            await running.ask(text)
        await running.until(lambda: waiting(running) == ("second", "first"))
        go_on.set()
        await running.until(lambda: running.prompt.text)
        assert running.prompt.text == "first\nsecond\nfirst"
        await running.until(lambda: not running.views)


async def test_recalled_message_is_left_out_once() -> None:
    engine, go_on = holding("one two", at=1)
    async with chat(engine=engine) as running:
        for text in ("first", "same", "other", "same"):
            await running.ask(text)
        await running.press("x", "up")  # what is written makes Up recall
        assert running.prompt.text == "same"
        await running.press("escape")
        go_on.set()
        await running.idle()
        assert running.prompt.text == "same\nother\nsame"


async def test_message_that_returns_during_an_edit_joins_the_draft() -> None:
    go_on = Event()

    def open_model(_: str) -> Any:
        def load(_: Any) -> FakeEngine:
            assert go_on.wait(20)
            raise LmtuiError("no such model")

        return load

    async with chat(open_model=open_model, ready=False) as running:
        await running.ask("count")
        await running.until(lambda: "waits · count" in running.seen)
        running.prompt.insert("a draft")
        running.chat.editor.edit(running.chat.session.conversation.root)
        await running.press(*"Arr")
        assert running.chat.unsent == "count\na draft\nArr"
        go_on.set()
        await running.on(ErrorScreen)
        await running.press("escape")
        await running.on(ChatScreen)
        assert running.prompt.text == "Arr"
        await running.press("escape")
        assert running.prompt.text == "count\na draft"


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Event:
    """What must be set for the file notes.md to be read."""
    may_read = Event()

    def slowly(text: str, folder: Path) -> Any:
        assert may_read.wait(20)
        return attach(text, folder)

    monkeypatch.setattr(sender, "attach", slowly)
    (tmp_path / "notes.md").write_text("notes\n")
    return may_read


async def test_escape_stops_the_message_that_was_on_its_way(
    tmp_path: Path, read: Event
) -> None:
    async with chat("one") as running:
        running.chat.sender.attachments.folder = tmp_path
        await running.ask("see @notes.md ")
        assert running.chat.session.is_busy
        assert "see @notes.md" in running.chat.unsent
        await running.until(lambda: running.state.startswith("reading a file"))
        await running.press("escape")
        assert running.prompt.text == "see @notes.md "
        assert running.state == "ready" and not running.chat.session.is_busy
        await running.press("ctrl+u")
        await running.ask("second")
        await running.answered("second", "one")
        read.set()
        await running.idle()
        assert running.texts == ["second", "one"] and not running.prompt.text


async def test_messages_are_sent_in_the_order_in_which_they_were_written(
    tmp_path: Path, read: Event
) -> None:
    async with chat("one", "two") as running:
        running.chat.sender.attachments.folder = tmp_path
        await running.ask("see @notes.md ")
        await running.ask("second")
        await running.until(lambda: "waits · second" in running.seen)
        read.set()
        await running.until(lambda: running.texts[1:] == ["one", "second", "two"])
        assert running.texts[0].startswith("see notes.md")


async def test_text_that_waits_is_part_of_what_is_unsent() -> None:
    engine, go_on = holding("one two", at=1)
    async with chat(engine=engine) as running:
        for text in ("first", "second", "third"):
            await running.ask(text)
        running.prompt.insert("a draft")
        await running.until(lambda: waiting(running) == ("second", "third"))
        assert running.chat.unsent == "second\nthird\na draft"
        go_on.set()
        await running.idle()


@pytest.mark.parametrize("ask", ["", "/n 2 "])
async def test_full_context_is_refused_with_what_the_chat_can_do(ask: str) -> None:
    engine = FakeEngine(["one", "two"], context=60)
    async with chat(engine=engine) as running:
        await running.ask("/temp 1")  # at 0 there are no versions
        await running.ask("x" * 60)  # by itself: no turn can be taken back
        await running.until(lambda: "does not fit" in running.notices)
        assert "/undo" not in running.notices
        await running.press("ctrl+u")
        await running.ask("a")
        await running.until(lambda: running.last_text == "one")
        await running.idle()
        await running.ask(ask + "b" * 30)
        await running.until(lambda: "/undo takes back" in running.notices)
        assert "when_full" in running.notices and "/fork" in running.notices
        await running.until(lambda: running.prompt.text == ask + "b" * 30)
