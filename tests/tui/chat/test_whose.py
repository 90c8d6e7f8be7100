"""An opened conversation that was had with another model than the one in use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.chat.summary import StoredConversation
from lmtui.models.inventory import missing_model
from lmtui.models.source import ModelRef
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.chat.store import ConversationChosen
from lmtui.tui.inspector.screen import InspectScreen
from tests.chat.making import PLAIN, exchange
from tests.chat.test_message import answer as written
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.programs import name_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with one conversation, had with the model `fake`."""
    kept = Conversation()
    exchange(kept, "question", "old answer")
    with closing(Store(tmp_path / "chats.db")) as store:
        store.save({"a": kept.take_changes()})
    return tmp_path / "chats.db"


def load(file: Path) -> StoredConversation:
    """The conversation, as it is stored."""
    with closing(Store(file)) as store:
        return store.load(1)


def stored(file: Path) -> list[tuple[str, str | None]]:
    """What is said in the conversation, and by which model."""
    path = load(file).conversation.path[1:]
    return [(node.content, node.model) for node in path]


OLD: list[tuple[str, str | None]] = [("question", None), ("old answer", "fake")]


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[Chat]:
    """The conversation, opened where `default` is in use."""
    engines = {
        "default": FakeEngine(["by default", "again"], name="default"),
        "fake": FakeEngine(["by fake"], name="fake"),
    }
    async with chat(
        open_model=lambda name: lambda _: engines[name], chats_file=file
    ) as running:
        running.app.post_message(ConversationChosen(1))
        await running.until(lambda: len(running.views) == 2)
        yield running


def line(running: Chat) -> str:
    """What is said of the conversation's model."""
    found = running.chat.query_one("#writer", Static)
    return str(found.render()) if found.display else ""


async def replied(running: Chat, count: int) -> None:
    await running.until(lambda: len(running.views) == count)
    await running.idle()


OTHER = "Written by fake; default continues it."


async def test_loaded_model_answers_and_the_writer_is_named_until_then(
    file: Path,
) -> None:
    async with opened(file) as running:
        await running.until(lambda: line(running) == OTHER)
        await running.ask("more")
        await replied(running, 4)
        assert line(running) == ""
        await running.ask("and more")
        await replied(running, 6)
    said: list[tuple[str, str | None]] = [("more", None), ("by default", "default")]
    assert stored(file)[:4] == [*OLD, *said]


async def test_own_model_answers_where_it_is_chosen(file: Path) -> None:
    async with opened(file) as running:
        await running.until(lambda: line(running) == OTHER)
        await running.ask("/model fake")
        await running.ready("fake")
        assert line(running) == ""
        await running.say("more")
    assert stored(file) == [*OLD, ("more", None), ("by fake", "fake")]


async def test_message_sent_as_the_program_ends_is_stored(file: Path) -> None:
    async with opened(file) as running:
        # as far as sending had come: said, and not stored yet
        running.conversation.say("more")
    assert stored(file) == [*OLD, ("more", None)]


async def test_conversation_of_another_model_can_be_read_and_exported(
    file: Path,
) -> None:
    async with opened(file) as running:
        await running.press("f3")
        await running.until(lambda: running.chat.has_class("-tokens"))
        await running.until(lambda: "Only fake can tell" in running.seen)
        assert running.tokens.index == 0
        await running.press("escape")
        await running.press("alt+up", "c")
        assert running.app.clipboard == "old answer"
        await running.press("escape")
        name = file.parent / "out.md"
        await running.ask(f"/export {name}")
        await running.until(name.exists)
        await running.ask("/stats")
        await running.until(
            lambda: "bits/B" in running.seen and "  fake" in running.seen
        )


async def test_edit_of_another_models_conversation_is_answered(file: Path) -> None:
    async with opened(file) as running:
        running.views[0].focus()
        await running.press("e", "!", "enter")
        await running.until(lambda: running.last_text == "by default")
        assert running.views[0].text == "question!"
        assert line(running) == ""


async def test_version_of_another_model_is_named_as_such(file: Path) -> None:
    kept = load(file).conversation
    other = kept.reply(kept.leaf.parent or 0, model="default", settings=PLAIN)
    prompt, steps, finish = written("new", " answer")
    kept.lay_out(other.id, prompt)
    kept.grow(other.id, steps)
    kept.finish(other.id, finish)
    with closing(Store(file)) as store:
        store.save({"a": kept.take_changes()})
    async with opened(file) as running:
        assert running.views[1].text == "new answer"
        running.views[1].focus()
        await running.press("left_square_bracket")
        await running.until(lambda: line(running) == OTHER)
        await running.press("right_square_bracket")
        await running.until(lambda: line(running) == "")


@pytest.mark.parametrize("key", ["ctrl+r", "ctrl+g"])
async def test_loaded_model_regenerates_and_continues(file: Path, key: str) -> None:
    async with opened(file) as running:
        await running.press(key)
        await running.until(lambda: "2/2" in running.seen)
        await replied(running, 2)
    assert stored(file)[-1][1] == "default"


async def test_new_conversation_names_no_writer(file: Path) -> None:
    async with opened(file) as running:
        await running.until(lambda: line(running) == OTHER)
        await running.press("ctrl+n")
        await running.until(lambda: line(running) == "")
        await running.say("hello")
        assert line(running) == ""


async def test_start_without_the_model_opens_the_conversation_to_read(
    file: Path,
) -> None:
    opens: list[str] = []
    engines = {"default": FakeEngine(["by default"], name="default")}

    def open_model(name: str) -> Any:
        opens.append(name)
        return lambda _: engines[name]

    options = ChatOptions(missing=missing_model("fake", ""))
    async with chat(
        open_model=open_model,
        ready=False,
        chats_file=file,
        chat=options,
        opened=load(file),
        ref=ModelRef("fake"),
    ) as running:
        await running.until(lambda: line(running).startswith("Written by fake; F5"))
        assert running.state == "no model"
        assert "old answer" in running.seen and opens == []
        await running.press("f3")
        await running.until(lambda: running.chat.has_class("-tokens"))
        await running.press("escape")
        await running.press("ctrl+t")
        await running.on(InspectScreen)
        await running.until(lambda: "old" in running.seen)
        await running.press("escape")
        await running.ask("/model default")
        await running.ready("default")
        assert line(running) == OTHER
        await running.say("more")
        assert opens == ["default"]
    assert stored(file)[-1] == ("by default", "default")


def test_named_parses_a_label_into_model_and_adapter() -> None:
    from lmtui.models.source import named

    assert named("a/b") == ModelRef("a/b")
    assert named("a/b + notes") == ModelRef("a/b", "notes")
    assert named("/x + y/model") == ModelRef("/x + y/model")
    assert name_of(named("m + n")) == "m + n"
