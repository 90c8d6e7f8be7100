"""Files in a message, on the screen: names completed, files counted and sent along."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

from textual.widgets import OptionList, Static

from lmtui.engine.types import BosRule, Encoding
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.app_messages import ModelChosen
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.programs import assert_laid_out


@asynccontextmanager
async def talking(folder: Path, **options: Any) -> AsyncIterator[Chat]:
    """A chat beside some files."""
    (folder / "notes.md").write_text("hello\n")
    (folder / "two words.md").write_text("x" * 2000)
    (folder / "deep").mkdir()
    (folder / "deep" / "in here.py").write_text("```\n")
    async with chat(**options) as running:
        running.chat.sender.attachments.folder = folder
        yield running


def names(running: Chat) -> list[str]:
    """What can be chosen from."""
    attachments = running.chat.sender.attachments
    if not attachments.is_open:
        return []
    return [str(row.prompt) for row in attachments.query_one(OptionList).options]


def line(running: Chat) -> str:
    """What is said of the files."""
    return str(running.chat.query_one("#files", Static).content)


async def test_attachments_complete_a_file_name_and_send_the_file(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path, size=(80, 24)) as running:
        await running.press(*"see @")
        listed = ["deep/", "notes.md", "two words.md"]
        await running.until(lambda: names(running) == listed)
        await running.press("down", "down", "up", "enter")
        await running.until(lambda: running.prompt.text == "see @notes.md ")
        size = len("```md notes.md\nhello\n```")
        await running.until(lambda: line(running) == f"+ notes.md  {size} tokens")
        await running.press("enter")
        await running.until(lambda: running.texts)
        assert running.texts[0] == "see notes.md \n\n```md notes.md\nhello\n```"
        await running.until(lambda: line(running) == "")
        assert_laid_out(running.app.screen)


async def test_panel_tells_nothing_of_a_draft_whose_file_is_sent_with_it(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path) as running:
        await running.press(*"see")
        await running.until(lambda: running.panel.distribution)
        await running.press(*" @notes.md ")
        await running.until(lambda: line(running))
        await running.until(lambda: "holds a file" in running.seen)
        assert running.panel.distribution is None
        await running.press("ctrl+u", *"see")
        await running.until(lambda: running.panel.distribution)
        assert "holds a file" not in running.seen


async def test_attachments_complete_into_a_folder_and_quote_spaces(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path) as running:
        await running.press(*"@de")
        await running.until(lambda: names(running) == ["deep/"])
        await running.press("tab")
        await running.until(lambda: names(running) == ["deep/in here.py"])
        await running.press("tab")
        await running.until(lambda: running.prompt.text == '@"deep/in here.py" ')
        await running.until(lambda: "deep/in here.py" in line(running))
        assert names(running) == []


async def test_escape_closes_the_attachment_list_until_the_next_mention(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path) as running:
        await running.press(*"@n")
        await running.until(lambda: names(running))
        await running.press("escape")
        assert names(running) == []
        await running.press(*"ot")
        await running.pilot.pause(0.05)
        assert names(running) == []
        await running.press("enter")
        await running.until(lambda: running.texts[:1] == ["@not"])
        await running.press(*"@n")
        await running.until(lambda: names(running) == ["notes.md"])


async def test_attachment_that_cannot_be_read_keeps_the_message_unsent(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path) as running:
        (tmp_path / "b.bin").write_bytes(b"\0")
        running.prompt.insert("@b.bin @gone[bold].md ")
        await running.until(lambda: "binary file" in line(running))
        assert running.chat.query_one("#files").has_class("-wrong")
        await running.press("enter")
        await running.until(lambda: running.prompt.text == "@b.bin @gone[bold].md ")
        assert running.texts == []
        assert running.notices.startswith("this is a binary file, not a text")


async def test_escape_returns_a_waiting_message_with_its_mentions(
    tmp_path: Path,
) -> None:
    begun, holding_on = Event(), Event()

    def hold(index: int) -> None:
        if engine.calls[-1][0] == "generate":  # and not a draft's score
            begun.set()
            assert holding_on.wait(20)

    engine = FakeEngine(["one", "two"], on_token=hold)
    async with talking(tmp_path, engine=engine) as running:
        await running.ask("first")
        await running.until(begun.is_set)
        await running.ask("see @notes.md and @@x ")
        await running.until(lambda: running.chat.session.waiting)
        await running.press("escape")
        holding_on.set()
        await running.until(lambda: running.prompt.text == "see @notes.md and @@x ")


async def test_engine_error_returns_the_message_with_its_mentions(
    tmp_path: Path,
) -> None:
    engine = FakeEngine(["one", "two"])
    async with talking(tmp_path, engine=engine) as running:
        engine.error = LmtuiError("broken", "", "")
        await running.ask("see @notes.md ")
        await running.until(lambda: running.prompt.text == "see @notes.md ")
        assert running.texts == []


class Doubled(FakeEngine):
    """An engine with two tokens a byte."""

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        once = super().encode(text, bos=bos)
        return Encoding(once.ids * 2, once.spans * 2, once.prefix)


async def test_attachment_tokens_are_counted_by_the_model_in_use(
    tmp_path: Path,
) -> None:
    engines = {"default": FakeEngine(["a"]), "second": Doubled(["b"], name="second")}
    async with talking(tmp_path, engines=engines) as running:
        running.prompt.insert("see @notes.md now")
        await running.until(lambda: "  24 tokens" in line(running))
        running.app.post_message(ModelChosen(ModelRef("second")))
        await running.until(lambda: "  48 tokens" in line(running))


async def test_message_that_does_not_fit_is_refused_until_its_file_is_gone(
    tmp_path: Path,
) -> None:
    engine = FakeEngine(["fine"], context=200)
    async with talking(tmp_path, engine=engine) as running:
        prompt = running.prompt
        prompt.insert('see @"two words.md"')
        await running.until(lambda: "tokens; the context holds 200." in prompt.refusal)
        await running.press("enter")
        assert prompt.text and not running.texts
        prompt.text = "hello"
        await running.until(lambda: not prompt.refusal)
        await running.press("enter")
        await running.until(lambda: running.texts[:1] == ["hello"])
