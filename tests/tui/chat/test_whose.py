"""An opened conversation that was had with another model than the one in use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from textual.widgets import OptionList, Static

from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.chat.summary import StoredConversation
from lmtui.models.inventory import missing_model
from lmtui.models.source import ModelRef
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.chat.store import ConversationChosen
from lmtui.tui.dialogs import ConfirmDialog
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.models import ModelsScreen
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
async def opened(
    file: Path, *, here: bool = True, loaded: Event | None = None
) -> AsyncIterator[Chat]:
    """The conversation, opened where `default` is in use; `fake` is here or not, and
    its load waits for the event `loaded`."""
    engines = {
        "default": FakeEngine(["by default", "again"], name="default"),
        "fake": FakeEngine(["by fake"], name="fake"),
    }

    def open_model(name: str) -> Any:
        def load(_: Any) -> FakeEngine:
            assert name != "fake" or loaded is None or loaded.wait(20)
            return engines[name]

        return load

    options = ChatOptions(is_here=lambda wanted: here or wanted.model != "fake")
    async with chat(open_model=open_model, chats_file=file, chat=options) as running:
        running.app.post_message(ConversationChosen(1))
        await running.until(lambda: len(running.views) == 2)
        yield running


def line(running: Chat) -> str:
    """What is said of the conversation's model."""
    found = running.chat.query_one("#owner", Static)
    return str(found.render()) if found.display else ""


async def replied(running: Chat, count: int) -> None:
    await running.until(lambda: len(running.views) == count)
    await running.idle()


async def answer(running: Chat, letter: str) -> str:
    """Wait for the question and answer it; what was asked."""
    asked = await running.on(ConfirmDialog)
    await running.until(lambda: asked.accepts_keys)
    seen = running.seen
    await running.press(letter)
    return seen


@pytest.mark.parametrize("key", ["l", "enter"])
async def test_opened_conversation_loads_its_own_model_on_request(
    file: Path, key: str
) -> None:
    async with opened(file) as running:
        await running.until(
            lambda: "fake wrote this; default is loaded" in line(running)
        )
        await running.ask("more")
        seen = await answer(running, key)
        assert "It is on this machine" in seen
        assert "Continue with default · it is loaded" in seen
        assert "your message goes back to the prompt" in seen
        await replied(running, 4)
        assert line(running) == ""
    assert stored(file) == [*OLD, ("more", None), ("by fake", "fake")]


async def test_message_sent_as_the_program_ends_is_stored(file: Path) -> None:
    async with opened(file) as running:
        # as far as sending had come: said, and not stored yet
        running.conversation.say("more")
    assert stored(file) == [*OLD, ("more", None)]


async def test_opened_conversation_continues_with_the_loaded_model_on_request(
    file: Path,
) -> None:
    async with opened(file) as running:
        await running.ask("more")
        await answer(running, "g")
        await replied(running, 4)
        assert line(running) == ""
        await running.ask("and more")  # it is asked once
        await replied(running, 6)
    assert stored(file)[2:4] == [("more", None), ("by default", "default")]


async def test_escape_from_the_model_question_returns_the_prompt(file: Path) -> None:
    async with opened(file) as running:
        await running.until(lambda: line(running))
        await running.ask("more")
        await answer(running, "escape")
        await running.until(lambda: running.prompt.text == "more")
        assert len(running.views) == 2
    assert stored(file) == OLD


async def test_conversation_of_a_missing_model_can_be_read_and_exported(
    file: Path,
) -> None:
    async with opened(file, here=False) as running:
        await running.until(lambda: "fake wrote this and is not on" in line(running))
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


async def test_missing_model_question_offers_the_list_of_models(file: Path) -> None:
    async with opened(file, here=False) as running:
        await running.until(lambda: line(running))
        await running.ask("more")
        seen = await answer(running, "m")
        assert "It is not on this machine" in seen and "Load fake" not in seen
        screen = await running.on(ModelsScreen)
        assert running.prompt.text == "more"
        await running.until(lambda: screen.query_one(OptionList).option_count)
        await running.press("escape")
        await running.ask("")
        await answer(running, "g")
        await replied(running, 4)
    assert stored(file)[-1] == ("by default", "default")


async def test_model_command_settles_which_model_continues(file: Path) -> None:
    async with opened(file, here=False) as running:
        await running.until(lambda: line(running))
        await running.ask("/model fake")
        await running.ready("fake")
        await running.until(lambda: line(running) == "")
        await running.ask("/model default")
        await running.ready("default")
        await running.say("more")
    assert stored(file)[-1] == ("by default", "default")


async def hold(running: Chat) -> None:
    """Have the model of the conversation loaded, for what was just sent."""
    await answer(running, "l")
    await running.until(lambda: running.app.model.loading)


async def settled(running: Chat, loaded: Event) -> None:
    """Let the load end, and do what waited for it."""
    loaded.set()
    await running.ready("fake")
    await running.pilot.pause()
    assert not running.chat.session.is_busy


@pytest.mark.parametrize("edited_again", [False, True])
async def test_edit_that_was_left_during_the_load_is_not_sent(
    file: Path, edited_again: bool
) -> None:
    loaded = Event()
    async with opened(file, loaded=loaded) as running:
        await running.until(lambda: line(running))
        running.views[0].focus()
        await running.press("e", "!", "enter")
        await hold(running)
        await running.press("escape")
        if edited_again:
            running.views[0].focus()
            await running.press("e")
        await settled(running, loaded)
        assert running.texts == ["question", "old answer"]
        assert (running.chat.prompt.edited is not None) is edited_again
    assert stored(file) == OLD


async def test_edit_is_sent_once_its_model_is_loaded(file: Path) -> None:
    async with opened(file) as running:
        await running.until(lambda: line(running))
        running.views[0].focus()
        await running.press("e", "!", "enter")
        assert "nothing is sent" in await answer(running, "l")
        await running.until(lambda: running.last_text == "by fake")
        assert running.views[0].text == "question!"


@pytest.mark.parametrize("change", ["new", "fork", "open"])
async def test_held_message_returns_when_the_conversation_changes(
    file: Path, change: str
) -> None:
    loaded = Event()
    async with opened(file, loaded=loaded) as running:
        await running.until(lambda: line(running))
        await running.ask("more")
        await hold(running)
        before = running.conversation
        if change == "new":
            await running.press("ctrl+n")
        elif change == "fork":
            running.views[1].focus()
            await running.press("k")
        else:
            running.app.post_message(ConversationChosen(1))
        await running.until(lambda: running.conversation is not before)
        await running.until(lambda: running.prompt.text == "more")
        await settled(running, loaded)
        assert running.prompt.text == "more"
        texts = [] if change == "new" else ["question", "old answer"]
        assert running.texts == texts
    assert stored(file) == OLD


async def test_version_of_another_model_is_named_as_such(file: Path) -> None:
    kept = load(file).conversation
    other = kept.regenerate(kept.leaf.id, model="default", settings=PLAIN)
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
        await running.until(lambda: "fake wrote this" in line(running))
        await running.press("right_square_bracket")
        await running.until(lambda: line(running) == "")


@pytest.mark.parametrize("key", ["ctrl+r", "ctrl+g"])
async def test_regenerate_and_continue_ask_which_model_to_use(
    file: Path, key: str
) -> None:
    async with opened(file) as running:
        await running.until(lambda: line(running))
        await running.press(key)
        await answer(running, "g")
        await running.until(lambda: "2/2" in running.seen)
        await replied(running, 2)
    assert stored(file)[-1][1] == "default"


async def test_own_command_loads_the_model_of_the_conversation(file: Path) -> None:
    async with opened(file) as running:
        await running.until(lambda: line(running))
        await running.ask("/own")
        await running.ready("fake")
        await running.until(lambda: line(running) == "")


async def test_conversation_begun_here_asks_no_model_question(file: Path) -> None:
    async with opened(file) as running:
        await running.until(lambda: line(running))
        await running.press("ctrl+n")
        await running.until(lambda: line(running) == "")
        await running.say("hello")
        await running.ask("/model fake")
        await running.ready("fake")
        await running.say("more")
        assert line(running) == ""


async def test_start_without_the_model_opens_the_conversation_to_read(
    file: Path,
) -> None:
    opens: list[str] = []
    engines = {"default": FakeEngine(["by default"], name="default")}

    def open_model(name: str) -> Any:
        opens.append(name)
        return lambda _: engines[name]

    options = ChatOptions(
        is_here=lambda wanted: wanted.model != "fake", missing=missing_model("fake", "")
    )
    async with chat(
        open_model=open_model,
        ready=False,
        chats_file=file,
        chat=options,
        opened=load(file),
        ref=ModelRef("fake"),
    ) as running:
        await running.until(lambda: "fake wrote this and is not on" in line(running))
        assert running.state == "no model"
        assert "old answer" in running.seen and opens == []
        await running.press("f3")
        await running.until(lambda: running.chat.has_class("-tokens"))
        await running.press("escape")
        await running.press("ctrl+t")
        await running.on(InspectScreen)
        await running.until(lambda: "old" in running.seen)
        await running.press("escape")
        await running.ask("more")
        seen = await answer(running, "escape")
        assert "Continue with" not in seen
        assert running.prompt.text == "more"
        running.prompt.clear()
        await running.ask("/model default")
        await running.ready("default")
        await running.until(lambda: line(running) == "")
        await running.say("more")
        assert opens == ["default"]
    assert stored(file)[-1] == ("by default", "default")


def test_named_parses_a_label_into_model_and_adapter() -> None:
    from lmtui.models.source import named

    assert named("a/b") == ModelRef("a/b")
    assert named("a/b + notes") == ModelRef("a/b", "notes")
    assert named("/x + y/model") == ModelRef("/x + y/model")
    assert name_of(named("m + n")) == "m + n"
