"""Lines that begin with a slash, and what they do."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from threading import Event

import pytest
from textual.widgets import Input, Static

from lmtui.chat.excerpts import blocks_of
from lmtui.chat.export import write_new
from lmtui.chat.store import Store
from lmtui.config.settings import Preset
from lmtui.tui import terminal
from lmtui.tui.chat import code_blocks
from lmtui.tui.chat.code_blocks import CodeScreen
from lmtui.tui.chat.commands import COMMANDS, is_command, line_of, matching
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.history import HistoryScreen
from lmtui.tui.models import ModelsScreen
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.hosts import drawn
from tests.tui.programs import assert_laid_out

CODE = "Look:\n\n```python\nprint(1)\n```\n\nand\n\n~~~\nls -l\n~~~\n"


async def page(running: Chat) -> str:
    """What the page says that is open, which is closed."""
    screen = await running.on(PageScreen)
    assert_laid_out(screen)
    await running.until(lambda: "Esc closes" in running.seen)
    text = str(screen.query_one("#page > Static", Static).render())
    await running.press("escape")
    await running.on(ChatScreen)
    return text


async def test_every_command_has_one_action() -> None:
    async with chat() as running:
        actions = running.chat.actions.table
    assert sorted(actions) == sorted(command.name for command in COMMANDS)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/help", True), ("/temp 0.5", True), ("/nonsense", True), ("/", True),
        ("/usr/bin is a folder", True), ("//help", False), ("hello", False),
        ("/etc\nis a folder", True), ("  ", False), ("/system a\nb", True),
    ],
)  # fmt: skip
def test_one_slash_begins_a_command_and_two_a_message(text: str, command: bool) -> None:
    assert is_command(text) is command


def test_matching_finds_the_commands_of_a_typed_prefix() -> None:
    assert [c.name for c in matching("/se")] == ["/seed", "/search"]
    assert matching("/temp ") == [] == matching("te")
    assert len(matching("/")) == len(COMMANDS)


async def test_command_list_completes_by_enter_tab_and_click() -> None:
    async with chat(size=(80, 24)) as running:
        await running.press("/")
        await running.until(lambda: "/help " in running.seen)
        assert_laid_out(running.app.screen)
        await running.press("up")
        await running.until(lambda: "/quit " in running.seen)  # all can be reached
        await running.press("down", "down", "down", "enter")
        assert running.prompt.text == "/system "
        running.prompt.text = "/te"
        await running.until(lambda: "/temp" in running.seen)
        await running.press("enter")
        assert running.prompt.text == "/temp "
        running.prompt.text = "/think"
        await running.pilot.pause()
        await running.press("tab")
        assert running.prompt.text == "/think "
        running.prompt.text = "/cod"
        await running.pilot.pause()
        await running.press("tab")
        assert running.prompt.text == "/code"
        await running.press("enter")
        await running.until(lambda: "no block of code" in running.notices)
        running.prompt.text = "/"
        await running.until(lambda: "/new " in running.seen)
        await running.pilot.click("#commands", offset=(4, 1))
        await running.until(lambda: running.prompt.text == "/new")
        running.prompt.text = "/temp 1"
        await running.press("enter")
        running.prompt.text = "/stats"
        await running.press("enter", "escape", "up")
        assert running.prompt.text == "/stats"  # a command among earlier prompts
        await running.press("up")
        assert running.prompt.text == "/temp 1"
        running.prompt.text = "/help"
        await running.press("enter")
        told = await page(running)  # which says how to leave it, at 80 by 24 too
        assert all(command.name in told for command in COMMANDS)


def test_a_command_and_what_it_does_fit_a_line_of_80_columns() -> None:
    assert max(len(line_of(command).plain) for command in COMMANDS) <= 74


async def test_sampler_commands_set_their_settings_or_say_why_not() -> None:
    async with chat() as running:
        for line in ("/temp 1.5", "/seed 7"):
            await running.ask(line)
        settings = running.chat.sampler.settings
        assert (settings.temperature, settings.seed) == (1.5, 7)
        await running.ask("/seed")
        assert running.chat.sampler.settings.seed is None
        for line, why in (
            ("/temp x", "not a number"),
            ("/temp -1", "from 0 to 100"),
            ("/seed 1.5", "1.5 is not a whole number"),
            ("/temp", "Usage: /temp T (temperature;"),
            ("/nope", ", ".join(command.name for command in COMMANDS)),
        ):
            await running.ask(line)
            assert why in running.notices
            assert running.prompt.text == line  # to be corrected
            running.prompt.clear()
        assert running.chat.sampler.settings.temperature == 1.5


async def test_preset_command_sets_system_message_and_sampler() -> None:
    presets = {"pirate": Preset("pirate", "Arr.", {"temperature": 1.5, "top_k": 3})}
    async with chat() as running:
        running.app.presets = presets
        await running.ask("/preset pirate")
        await running.until(lambda: running.conversation.root.content == "Arr.")
        settings = running.chat.sampler.settings
        assert (settings.temperature, settings.top_k) == (1.5, 3)
        await running.ask("/preset parrot")
        assert "Available presets: pirate." in running.notices
        assert running.prompt.text == "/preset parrot"
        running.prompt.clear()
        running.app.clear_notifications()
        await running.ask("/preset")
        assert "Available presets: pirate." in running.notices
        assert running.prompt.text == ""  # what is typed next is not put behind it


@pytest.mark.parametrize(
    "text", ["/preset/temp 1.3", "/temp\n1.3", "/temp:1", "/etc/hosts?", "/é x\ny", "/"]
)
async def test_what_begins_with_a_slash_is_never_sent(text: str) -> None:
    async with chat() as running:
        running.prompt.insert(text)
        await running.press("escape", "enter")
        await running.until(lambda: "no such command" in running.notices)
        assert "// at the beginning" in running.notices
        assert running.prompt.text == text and running.views == []
        await running.press("home", "pageup", "home", "/", "enter")
        await running.until(lambda: len(running.views) == 2)
        assert running.views[0].text == text.strip()


async def test_two_slashes_send_a_message_that_begins_with_one() -> None:
    async with chat() as running:
        await running.ask("//etc")
        await running.until(lambda: running.views and running.views[0].text == "/etc")


async def test_system_command_sets_and_edits_the_system_message() -> None:
    async with chat("first", "second", asked="one") as running:
        await running.ask("/system Be brief.")
        assert running.conversation.root.content == "Be brief."
        await running.ask("/system")
        assert running.prompt.text == "Be brief."
        await running.press("!", "enter")
        await running.until(lambda: running.chat.prompt.edited is None)
        assert running.conversation.messages()[0].content == "Be brief.!"


async def test_new_conversation_keeps_the_former_one_in_the_store(
    tmp_path: Path,
) -> None:
    file = tmp_path / "chats.db"
    async with chat("first", "second", asked="one", chats_file=file) as running:
        await running.ask("/new")
        await running.until(lambda: "Three things to try" in running.seen)
        await running.say("two")
        await running.ask("/save My title")
        await running.until(lambda: "was renamed" in running.notices)
    store = Store(file)
    assert [found.title for found in store.listed()] == ["My title", "one"]
    store.close()


async def test_prompt_page_marks_control_tokens_by_id_and_no_typed_ones() -> None:
    engine = FakeEngine(["yes"], name="default", adds_bos=True)
    async with chat(engine=engine, asked="say <end> or <bos>") as running:
        await running.ask("/prompt")
        await running.on(PageScreen)
        await running.until(lambda: "The shade changes" in running.seen)
        parts = [part for strip in drawn(running.app.screen) for part in strip]
        marked = [part.text for part in parts if part.style and part.style.reverse]
        assert marked == ["control tokens", "<bos>", "<end>"]
        assert "<bos>user: say <end> or <bos>⏎" in running.seen
        at = next(i for i, part in enumerate(parts) if part.text == "u")
        each = [part.text for part in parts[at : at + 4]]
        assert each == list("user")  # where each token ends
        node = running.leaf
        assert node.prompt is not None
        text = await page(running)
        assert text.startswith(f"{len(node.prompt.ids)} tokens were sent to default")


@pytest.mark.parametrize(
    ("lines", "size"), [(3, (120, 40)), (19, (60, 12)), (90, (80, 24))]
)
async def test_page_ends_with_its_hint_however_long_it_is(
    lines: int, size: tuple[int, int]
) -> None:
    async with chat("first", asked="x\n" * lines, size=size) as running:
        await running.ask("/prompt")
        screen = await running.on(PageScreen)
        await running.until(lambda: "Esc closes" in running.seen)
        await running.until(lambda: screen.query_one("#page").has_focus)
        foot, dialog = screen.query_one("#foot"), screen.query_one("#dialog")
        assert foot.region.bottom == dialog.region.bottom - 1
        assert foot.region.y == screen.query_one("#page").region.bottom + 1


async def test_prompt_page_of_another_model_is_text_without_marks() -> None:
    engines = {name: FakeEngine(["first"], name=name) for name in ("default", "b")}
    async with chat(engines=engines, asked="one") as running:
        await running.ask("/model b")
        await running.ready("b")
        await running.ask("/prompt")
        await running.on(PageScreen)
        await running.until(lambda: "Shown as text" in running.seen)
        parts = [part for strip in drawn(running.app.screen) for part in strip]
        assert not any(part.style and part.style.reverse for part in parts)


async def test_code_command_copies_and_saves_a_code_block(tmp_path: Path) -> None:
    async with chat(CODE, asked="one") as running:
        await running.ask("/code")
        screen = await running.on(CodeScreen)
        assert_laid_out(screen)
        await running.until(lambda: "ls -l" in running.seen)
        await running.press("up", "c")
        assert running.app.clipboard == "print(1)\n"
        await running.press("s")
        running.app.screen.query_one(Input).value = str(tmp_path / "x.py")
        await running.press("enter")
        await running.until(lambda: (tmp_path / "x.py").exists())
        await running.until(lambda: "Saved" in running.notices)
    assert (tmp_path / "x.py").read_text() == "print(1)\n"


async def test_result_of_a_save_is_told_after_the_dialog_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = Event(), Event()

    def write(path: Path, parts: Iterable[str]) -> None:
        begun.set()
        assert go_on.wait(20)
        write_new(path, parts)

    monkeypatch.setattr(code_blocks, "write_new", write)
    async with chat(CODE, asked="one") as running:
        await running.ask("/code")
        await running.on(CodeScreen)
        await running.press("s")
        running.app.screen.query_one(Input).value = str(tmp_path / "x.sh")
        await running.press("enter")
        await running.until(begun.is_set)
        await running.press("escape")
        await running.on(ChatScreen)
        go_on.set()
        await running.until(lambda: f"Saved {tmp_path / 'x.sh'}" in running.notices)


def test_blocks_of_finds_code_between_fences() -> None:
    first, second = blocks_of(CODE)
    assert (first.text, first.language, first.file) == (
        "print(1)\n", "python", "code.py",
    )  # fmt: skip
    assert (second.text, second.file) == ("ls -l\n", "code.txt")
    assert [b.text for b in blocks_of("```\nnever closed")] == ["never closed"]
    assert blocks_of("no `code` here") == []


async def test_export_command_writes_md_json_and_html_to_new_files(
    tmp_path: Path,
) -> None:
    async with chat("first", asked="one") as running:
        for name, begins in (("a.md", "# one"), ("a.json", '{"lmtui"'),
                             ("a.html", "<!doctype")):  # fmt: skip
            await running.ask(f"/export {tmp_path / name}")
            await running.until(lambda name=name: (tmp_path / name).exists())
            await running.until(lambda name=name: name in running.notices)
            assert (tmp_path / name).read_text().startswith(begins)
        await running.ask(f"/export {tmp_path / 'a.md'}")
        await running.until(lambda: "already exists" in running.notices)
        await running.ask(f"/export {tmp_path / 'a.doc'}")
        await running.until(lambda: "format is not known" in running.notices)


async def test_export_says_the_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with chat("first", asked="one") as running:
        await running.ask("/export a.md")
        await running.until(
            lambda: f"Written to {tmp_path / 'a.md'}" in running.notices
        )


async def test_export_into_the_home_of_an_unknown_user_is_refused() -> None:
    async with chat("first", asked="one") as running:
        await running.ask("/export ~nobody-of-this-name/a.md")
        await running.until(lambda: "~nobody-of-this-name" in running.notices)


async def test_commands_copy_search_change_the_model_and_quit(tmp_path: Path) -> None:
    engines = {name: FakeEngine(["first"], name=name) for name in ("default", "b")}
    file = tmp_path / "c.db"
    async with chat(engines=engines, asked="one", chats_file=file) as running:
        await running.ask("/copy")
        assert running.app.clipboard == "first"
        await running.ask("/search fir")
        await running.on(HistoryScreen)
        await running.until(lambda: "1 hit" in running.seen)
        await running.press("escape", "escape")
        await running.on(ChatScreen)
        await running.ask("/model")
        await running.on(ModelsScreen)
        await running.press("escape")
        await running.on(ChatScreen)
        await running.ask("/model b")
        await running.ready("b")
        await running.ask("/quit")
        await running.until(lambda: running.app._exit)


async def test_fork_command_continues_in_another_conversation() -> None:
    async with chat("first", asked="one") as running:
        before = running.conversation
        await running.ask("/fork")
        await running.answered("one", "first")
        assert running.conversation is not before


async def test_palette_lists_every_command() -> None:
    async with chat() as running:
        found = [c.title for c in running.app.get_system_commands(running.app.screen)]
        for command in COMMANDS:
            assert any(title.split()[0] == command.name for title in found)


async def test_draft_is_edited_in_the_external_editor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nprintf " and more" >> "$1"\n')
    script.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(script))
    async with chat() as running:
        from contextlib import nullcontext

        monkeypatch.setattr(running.app, "suspend", nullcontext)
        running.prompt.insert("draft")
        await running.press("ctrl+l")
        await running.until(lambda: running.prompt.text == "draft and more")
        monkeypatch.setenv("VISUAL", str(tmp_path / "none"))
        await running.press("ctrl+l")
        await running.until(lambda: "editor can't be used" in running.notices)
        assert running.prompt.text == "draft and more"


async def test_up_recalls_prompts_stored_by_an_earlier_session(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    async with chat("first", asked="one", chats_file=file):
        pass
    async with chat(chats_file=file) as running:
        await running.until(lambda: running.prompt._sent == ["one"])
        await running.press("up")
        assert running.prompt.text == "one"
        await running.press("down")
        assert running.prompt.text == ""


def test_clipboard_command_is_chosen_by_platform_and_display(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("xclip", "wl-copy", "pbcopy"):
        (tmp_path / tool).write_text("")
        (tmp_path / tool).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert terminal.command({}, "linux") is None
    assert terminal.command({"DISPLAY": ":0"}, "linux") == (
        "xclip", "-selection", "clipboard",
    )  # fmt: skip
    both = {"DISPLAY": ":0", "WAYLAND_DISPLAY": "x"}
    assert terminal.command(both, "linux") == ("wl-copy",)
    assert terminal.command({}, "darwin") == ("pbcopy",)
    os.remove(tmp_path / "xclip")
    assert terminal.command({"DISPLAY": ":0"}, "linux") is None
