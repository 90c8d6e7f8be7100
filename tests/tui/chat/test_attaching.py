"""Files in a message, on the screen: names completed, files counted and sent along."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event

import pytest
from textual.widgets import OptionList, Static

from lmtui.engine.types import BosRule, Encoding
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.app_messages import ModelChosen
from lmtui.tui.chat.attachments import Attachments
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.widgets.status import Status
from tests.fakes import FakeEngine
from tests.tui.programs import Program, assert_laid_out, program


class Talking:
    """The chat as it is used."""

    def __init__(self, running: Program) -> None:
        self.running, self.pilot, self.until = running, running.pilot, running.until

    @property
    def attachments(self) -> Attachments:
        return self.running.chat.query_one(Attachments)

    @property
    def prompt(self) -> PromptField:
        return self.running.chat.query_one(PromptField)

    @property
    def names(self) -> list[str]:
        """What can be chosen from."""
        if not self.attachments.is_open:
            return []
        listed = self.attachments.query_one(OptionList).options
        return [str(option.prompt) for option in listed]

    @property
    def line(self) -> str:
        """What is said of the files."""
        return str(self.attachments.query_one("#files", Static).content)

    @property
    def sent(self) -> list[str]:
        """What was said by the user."""
        return [view.text for view in self.running.views][::2]

    async def ready(self) -> None:
        """Wait until nothing is being made."""
        status = self.running.chat.query_one(Status)
        await self.until(lambda: status.state == "ready")


@asynccontextmanager
async def talking(
    folder: Path,
    *,
    size: tuple[int, int] = (80, 24),
    engine: FakeEngine | None = None,
) -> AsyncIterator[Talking]:
    (folder / "notes.md").write_text("hello\n")
    (folder / "two words.md").write_text("x" * 2000)
    (folder / "deep").mkdir()
    (folder / "deep" / "in here.py").write_text("```\n")
    engines = {"default": engine} if engine else None
    async with program(engines, first="chat", size=size) as running:
        await running.ready()
        chat = Talking(running)
        await chat.until(lambda: chat.prompt.has_focus)
        chat.attachments.folder = folder
        yield chat


async def test_attachments_complete_a_file_name_and_send_the_file(
    tmp_path: Path,
) -> None:
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
        await running.until(lambda: running.sent)
        (sent,) = running.sent
        assert sent == "see notes.md \n\n```md notes.md\nhello\n```"
        await running.until(lambda: running.line == "")
        assert_laid_out(running.running.app.screen)


async def test_attachments_complete_into_a_folder_and_quote_spaces(
    tmp_path: Path,
) -> None:
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
        await running.until(lambda: running.sent)
        assert running.sent[0].endswith("````py deep/in here.py\n```\n````")


async def test_escape_closes_the_attachment_list_until_the_next_mention(
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
        await running.until(lambda: running.sent == ["@not"])
        await running.pilot.press(*"@n")
        await running.until(lambda: running.names == ["notes.md"])


async def test_attachment_that_cannot_be_read_keeps_the_message_unsent(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path) as running:
        (tmp_path / "b.bin").write_bytes(b"\0")
        running.prompt.insert("@b.bin @gone[bold].md ")
        await running.until(lambda: "binary file" in running.line)
        assert running.attachments.query_one("#files").has_class("-wrong")
        await running.pilot.press("enter")
        await running.until(lambda: running.prompt.text == "@b.bin @gone[bold].md ")
        assert running.sent == []
        notices = [n.title for n in running.running.app._notifications]
        assert notices == ["this is a binary file, not a text"]


@pytest.mark.parametrize("draft", ["plain", "me@home.org", "@@notes.md", "@nobody"])
async def test_a_message_without_files_is_sent_as_it_is(
    tmp_path: Path, draft: str
) -> None:
    async with talking(tmp_path) as running:
        running.prompt.insert(draft)
        await running.pilot.pause()
        running.attachments.use_key("escape")
        await running.pilot.press("enter")
        await running.until(lambda: running.sent)
        assert running.sent == [draft.replace("@@", "@")]
        assert running.line == ""


async def test_escape_returns_a_waiting_message_with_its_mentions(
    tmp_path: Path,
) -> None:
    begun, holding_on = Event(), Event()

    def hold(index: int) -> None:
        if engine.calls[-1][0] == "generate":  # and not a draft's score
            begun.set()
            assert holding_on.wait(20)

    engine = FakeEngine(["one", "two"], name="default")
    async with talking(tmp_path, engine=engine) as running:
        engine.on_token = hold
        running.prompt.insert("first")
        await running.pilot.press("enter")
        await running.until(begun.is_set)
        running.prompt.insert("see @notes.md and @@x ")
        await running.pilot.press("enter")
        await running.until(lambda: running.running.chat.reply.has_queue)
        await running.pilot.press("escape")
        holding_on.set()
        await running.until(lambda: running.prompt.text == "see @notes.md and @@x ")


async def test_engine_error_returns_the_message_with_its_mentions(
    tmp_path: Path,
) -> None:
    engine = FakeEngine(["one", "two"], name="default")
    async with talking(tmp_path, engine=engine) as running:
        engine.error = LmtuiError("broken", "", "")
        running.prompt.insert("see @notes.md ")
        await running.pilot.press("enter")
        await running.until(lambda: running.prompt.text == "see @notes.md ")
        assert running.sent == []


class Doubled(FakeEngine):
    """An engine with two tokens a byte."""

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        once = super().encode(text, bos=bos)
        return Encoding(once.ids * 2, once.spans * 2, once.prefix)


async def test_attachment_tokens_are_counted_by_the_model_in_use(
    tmp_path: Path,
) -> None:
    (tmp_path / "notes.md").write_text("notes\n")
    engines = {
        "default": FakeEngine(["a"], name="default"),
        "second": Doubled(["b"], name="second"),
    }
    async with program(engines, first="chat") as running:
        await running.ready()
        chat = Talking(running)
        chat.attachments.folder = tmp_path
        chat.prompt.insert("see @notes.md now")
        await running.until(lambda: "  24 tokens" in chat.line)
        running.app.post_message(ModelChosen(ModelRef("second")))
        await running.until(lambda: "  48 tokens" in chat.line)


async def test_message_that_does_not_fit_is_refused_until_its_file_is_gone(
    tmp_path: Path,
) -> None:
    engine = FakeEngine(["fine"], name="default", context=200)
    async with talking(tmp_path, engine=engine) as chat:
        chat.prompt.insert('see @"two words.md"')
        await chat.until(
            lambda: "tokens; the context holds 200." in chat.prompt.refusal
        )
        await chat.pilot.press("enter")
        assert chat.prompt.text and not chat.sent
        chat.prompt.text = "hello"
        await chat.until(lambda: not chat.prompt.refusal)
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.sent == ["hello"])
