"""What the transcript shows is what the model is given, whatever was done before."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.events import Key
from textual.widgets import OptionList

from lmtui.config.settings import Preset
from lmtui.engine.types import ChatTurn
from lmtui.tui.chat.message import MessageView
from lmtui.tui.chat.store import ConversationChosen
from lmtui.tui.chat.tree import TreeScreen
from lmtui.tui.dialogs import PageScreen
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat

ANSWER = "one two three"
WHOLE = "see notes.md\n\n```md notes.md\nnotes\n```"
EXAMPLES = max(4, settings.default.max_examples // 10)
WHENS = ("at once", "before", "after")
TEXTS = st.sampled_from(["apples", "pears", "see @notes.md"])
ACTIONS = st.one_of(
    st.tuples(st.just("send"), TEXTS),
    st.tuples(st.just("send"), TEXTS),
    st.tuples(st.sampled_from(WHENS), TEXTS),
    st.tuples(st.sampled_from(WHENS), TEXTS),
    st.tuples(st.just("retry"), st.sampled_from(["", *WHENS])),
    st.tuples(st.just("continue"), st.just("ctrl+g")),
    st.tuples(st.just("edit"), st.sampled_from(["enter", "ctrl+s", "escape"])),
    st.tuples(
        st.just("command"),
        st.sampled_from(["/preset pirate", "/undo", "/model second"]),
    ),
    st.tuples(st.just("open"), st.sampled_from(["end", "hit"])),
    st.tuples(st.just("version"), st.sampled_from(["[", "]"])),
)


@dataclass
class Gate:
    """Where an answer is held, so that Esc comes before it goes on."""

    at: int | None = None
    reached: Event = field(default_factory=Event)
    released: Event = field(default_factory=Event)

    def hold(self, index: int) -> None:
        """Wait before this token, if an answer is held there."""
        if index == self.at:
            self.reached.set()
            assert self.released.wait(20)


class Talk:
    """A chat, what stands on its screen, and what its models were asked."""

    def __init__(self, running: Chat, calls: list[tuple[str, object]], gate: Gate):
        self.running, self.calls, self.gate = running, calls, gate
        self.prompt = running.prompt

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Who says what in the transcript."""
        return [(view.role, view.text) for view in self.running.views]

    @property
    def turns(self) -> list[tuple[str, str]]:
        """The same without what is marked as not answered."""
        views = self.running.views
        return [(v.role, v.text) for v in views if "not answered" not in head(v)]

    async def idle(self) -> None:
        """Wait until nothing goes on."""
        await self.running.until(self._is_idle)

    def _is_idle(self) -> bool:
        app = self.running.app
        return bool(app.model.info and not self.running.chat.session.is_busy)

    async def write(self, text: str) -> None:
        """Put a text into the prompt in place of what is there."""
        self.running.chat.focus_text()
        self.prompt.clear()
        self.prompt.insert(text)
        await self.running.pilot.pause()

    async def say(self, text: str, when: str = "") -> None:
        """Send a message, and stop its answer at some time."""
        before = self.turns
        await self.write(text)
        asked = await self._answer("enter", when)
        said = [*before, ("user", WHOLE if "@" in text else text)]
        assert asked in (None, said)
        answer = {"": [ANSWER], "after": ["one two"]}.get(when, [])
        shown = [*said, *(("assistant", words) for words in answer)]
        await self.running.until(lambda: self.shown == shown)

    async def retry(self, when: str) -> None:
        """Have the last message answered again."""
        shown = self.shown
        if not shown:
            return
        asked = await self._answer("ctrl+r", when)
        answered = shown[-1][0] == "assistant"
        assert asked in (None, shown[:-1] if answered else shown)
        if when in ("at once", "before"):
            await self.running.until(lambda: self.shown == shown)

    async def _answer(self, key: str, when: str) -> list[tuple[str, str]] | None:
        """Have an answer made; the turns that the model was given for it."""
        begun, gate = len(self.calls), self.gate
        gate.at = {"at once": 0, "before": 0, "after": 2}.get(when)
        gate.reached.clear()
        gate.released.clear()
        if when == "at once":
            for each in (key, "escape"):
                self.running.app.post_message(Key(each, None))
        else:
            await self.running.pilot.press(key)
            if when:
                await self.running.until(gate.reached.is_set)
                await self.running.press("escape")
        await self.running.pilot.pause()
        gate.at = None
        gate.released.set()
        await self.running.pilot.pause()
        await self.idle()
        assert self.prompt.text == ""
        return self.asked_since(begun)

    def asked_since(self, begun: int) -> list[tuple[str, str]] | None:
        """The turns that a prompt was made of since then."""
        found = [
            turns_of(what) for verb, what in self.calls[begun:] if verb == "prompt"
        ]
        assert len(found) <= 1
        return found[-1] if found else None

    async def check(self) -> None:
        """A draft is read after exactly what is shown."""
        await self.write("x")

        def looked() -> bool:
            traces = [what for verb, what in self.calls if verb == "trace"]
            draft = traces[-1][1] if traces else None  # type: ignore[index]
            return draft == "x" and turns_of(traces[-1]) == self.turns

        await self.running.until(looked)
        await self.write("")

    async def agree(self) -> None:
        """Every account of the conversation is of the same turns."""
        await self.say("at last")
        shown = self.shown
        await self.running.press("f8")
        tree = await self.running.on(TreeScreen)
        rows = tree.query_one(OptionList)
        lines = [str(option.prompt) for option in rows.options]
        marked = [line for line in lines if line.startswith("●")]
        assert len(marked) == len(shown)
        await self.running.press("escape")
        for command, words in (
            ("/stats", [f"{len(shown):,} shown"]),
            ("/prompt", [f"{who}: {said.splitlines()[0]}" for who, said in shown[:-1]]),
        ):
            await self.write(command)
            await self.running.press("enter")
            await self.running.on(PageScreen)
            assert all(word in self.running.seen for word in words)
            await self.running.press("escape")

    async def do(self, what: str, how: str) -> None:
        """One of the things that a person does."""
        running = self.running
        if what == "send":
            await self.say(how)
        elif what in WHENS:
            await self.say(how, what)
        elif what == "retry":
            await self.retry(how)
        elif what == "edit" and self.shown:
            said = [view for view in running.views if view.role == "user"]
            said[-1].focus()
            await running.press("e")
            await self.write("other words")
            await running.press(how)
        elif what == "continue":
            await running.press(how)
        elif what == "command":
            await self.write(how)
            await running.press("enter")
        elif what == "open" and self.shown:
            await self._open(how)
        elif what == "version" and self.shown:
            running.views[-1].focus()
            await running.press(how)

    async def _open(self, where: str) -> None:
        keys = [int(view.key) for view in self.running.views]
        message = keys[0] if where == "hit" else None
        self.running.app.post_message(ConversationChosen(1, message))
        await self.running.pilot.pause()
        await self.running.until(lambda: self.shown)


def head(view: MessageView) -> str:
    """The line above a message."""
    return view.render_line(0).text


def turns_of(what: object) -> list[tuple[str, str]]:
    """What user and model say in the messages of a call."""
    messages: tuple[ChatTurn, ...] = what[0]  # type: ignore[index]
    return [(m.role, m.content) for m in messages if m.role != "system"]


async def talk(actions: list[tuple[str, str]], folder: Path) -> None:
    """Do these things, and compare the screen with what the models are asked."""
    gate, calls = Gate(), []
    (folder / "notes.md").write_text("notes\n")

    def hold(index: int) -> None:
        if calls[-1][0] == "generate":
            gate.hold(index)

    engines = {
        name: FakeEngine([ANSWER] * 50, name=name, on_token=hold, calls=calls)
        for name in ("default", "second")
    }
    async with chat(engines=engines, chats_file=folder / "chats.db") as running:
        running.app.presets = {"pirate": Preset("pirate", "Be a pirate.")}
        running.chat.sender.attachments.folder = folder
        talking = Talk(running, calls, gate)
        await talking.check()
        for action in actions:
            await talking.do(*action)
            await running.pilot.pause()
            await talking.idle()
            await talking.check()
        await talking.agree()


@pytest.mark.timeout(1800)
@settings(max_examples=EXAMPLES)
@given(actions=st.lists(ACTIONS, min_size=1, max_size=6))
def test_model_is_asked_with_the_turns_the_transcript_shows(
    actions: list[tuple[str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(talk(actions, Path(folder)))


async def test_model_sees_the_shown_turns_after_a_stopped_message(
    tmp_path: Path,
) -> None:
    actions = [(what, "apples") for when in WHENS for what in (when, "send")]
    await talk([*actions, ("send", "pears")], tmp_path)
