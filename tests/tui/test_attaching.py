"""Files in a message, on the screen: names completed, files counted and sent along."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual import events, on
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from lmtui.tui.batches import Post
from lmtui.tui.runner import EngineRunner, Runner
from lmtui.tui.screens.attaching import AttachingScreen
from lmtui.tui.themes import load_themes, variable_defaults
from lmtui.tui.widgets.attachments import Attachments
from lmtui.tui.widgets.prompt import Prompt
from tests.fakes import FakeEngine


class Field(Prompt):
    """A prompt whose keys are asked for first."""

    take_first: Callable[[str], bool]

    async def _on_key(self, event: events.Key) -> None:
        if self.take_first(event.key):
            event.stop()
            event.prevent_default()
        else:
            await super()._on_key(event)


class Talk(AttachingScreen):
    """A screen that sends with files."""

    def __init__(self, make_runner: Callable[[Post], Runner], folder: Path) -> None:
        super().__init__()
        self.runner = make_runner(self.post_message)
        self.folder = folder
        self.sent: list[str] = []

    def compose(self) -> ComposeResult:
        yield Attachments(folder=self.folder, id="attachments")
        yield Field(id="prompt")

    def on_mount(self) -> None:
        prompt = self.query_one(Field)
        prompt.take_first = self.query_one(Attachments).take_key
        prompt.focus()

    @on(Prompt.Submitted)
    def send(self, event: Prompt.Submitted) -> None:
        if not self.begin_attaching(event.text):
            self.sent.append(event.text)

    @on(AttachingScreen.FilesAttached)
    def send_with_files(self, event: AttachingScreen.FilesAttached) -> None:
        self.sent.append(event.message.text)

    @on(AttachingScreen.AttachingFailed)
    def take_back(self, event: AttachingScreen.AttachingFailed) -> None:
        self.query_one(Prompt).give_back(event.draft)


class Host(App[None]):
    """The screen, over an engine whose tokens are bytes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.engine = EngineRunner(self.post_message)
        self.engine.load(lambda _: FakeEngine(["a"]))
        self.talk = Talk(self.engine.for_screen, folder)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(load_themes())

    def on_mount(self) -> None:
        self.push_screen(self.talk)


class Talking:
    """The screen as it is used."""

    def __init__(self, app: Host, pilot: Pilot[None]) -> None:
        self.talk, self.pilot = app.talk, pilot

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(3000):
            if condition():
                return
            await self.pilot.pause(0.005)
        raise AssertionError(f"waited for in vain: {self.names} {self.line!r}")

    @property
    def prompt(self) -> Field:
        return self.talk.query_one(Field)

    @property
    def names(self) -> list[str]:
        """What can be chosen from."""
        if not self.talk.query_one(Attachments).is_open:
            return []
        listed = self.talk.query_one(OptionList).options
        return [str(option.prompt) for option in listed]

    @property
    def line(self) -> str:
        """What is said of the files."""
        return str(self.talk.query_one("#files", Static).content)


@asynccontextmanager
async def talking(folder: Path) -> AsyncIterator[Talking]:
    (folder / "notes.md").write_text("hello\n")
    (folder / "two words.md").write_text("x" * 2000)
    (folder / "deep").mkdir()
    (folder / "deep" / "in here.py").write_text("```\n")
    app = Host(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        running = Talking(app, pilot)
        await running.until(lambda: app.talk.is_mounted and app.talk.focused)
        yield running
        assert app.engine.close(5)


async def test_a_name_is_completed_and_the_file_sent_along(tmp_path: Path) -> None:
    async with talking(tmp_path) as running:
        await running.pilot.press(*"see @")
        await running.until(
            lambda: running.names == ["deep/", "notes.md", "two words.md"]
        )
        await running.pilot.press("down", "down", "up", "enter")
        await running.until(lambda: running.prompt.text == "see @notes.md ")
        size = len("```md notes.md\nhello\n```")
        await running.until(lambda: running.line == f"+ notes.md  {size} tokens")
        await running.pilot.press("enter")
        await running.until(lambda: running.talk.sent)
        (sent,) = running.talk.sent
        assert sent == "see notes.md \n\n```md notes.md\nhello\n```"
        await running.until(lambda: running.line == "")


async def test_a_folder_leads_on_and_spaces_are_quoted(tmp_path: Path) -> None:
    async with talking(tmp_path) as running:
        await running.pilot.press(*"@de")
        await running.until(lambda: running.names == ["deep/"])
        await running.pilot.press("tab")
        await running.until(lambda: running.names == ["deep/in here.py"])
        await running.pilot.press("tab")
        await running.until(lambda: running.prompt.text == '@"deep/in here.py" ')
        await running.until(lambda: "deep/in here.py" in running.line)
        assert running.names == []
        await running.pilot.press("enter")
        await running.until(lambda: running.talk.sent)
        assert running.talk.sent[0].endswith("````py deep/in here.py\n```\n````")


async def test_the_list_is_left_and_the_keys_are_the_prompts_again(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path) as running:
        await running.pilot.press(*"@n")
        await running.until(lambda: running.names)
        await running.pilot.press("escape")
        assert running.names == []
        await running.pilot.press(*"ot")
        await running.pilot.pause(0.05)
        assert running.names == []
        await running.pilot.press("enter")
        await running.until(lambda: running.talk.sent == ["@not"])
        await running.pilot.press(*"@n")
        await running.until(lambda: running.names == ["notes.md"])


async def test_what_can_not_be_attached_is_said_before_and_not_sent(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path) as running:
        (tmp_path / "b.bin").write_bytes(b"\0")
        running.prompt.insert("@b.bin @gone[bold].md ")
        await running.until(lambda: "binary file" in running.line)
        assert running.talk.query_one("#files").has_class("-wrong")
        await running.pilot.press("enter")
        await running.until(lambda: running.prompt.text == "@b.bin @gone[bold].md ")
        assert running.talk.sent == []
        notices = [n.title for n in running.talk.app._notifications]
        assert notices == ["Not sent: this is a binary file, not a text"]


@pytest.mark.parametrize("draft", ["plain", "me@home.org", "@@notes.md", "@nobody"])
async def test_a_message_without_files_is_sent_as_it_is(
    tmp_path: Path, draft: str
) -> None:
    async with talking(tmp_path) as running:
        running.prompt.insert(draft)
        await running.pilot.pause()
        running.talk.query_one(Attachments).take_key("escape")
        await running.pilot.press("enter")
        await running.until(lambda: running.talk.sent)
        assert running.talk.sent == [draft.replace("@@", "@")]
        assert running.line == ""
