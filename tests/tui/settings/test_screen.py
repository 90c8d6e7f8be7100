"""The settings on the screen: found, changed, put back, and what counts at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread, current_thread

import pytest
from textual.widgets import OptionList, Static

from lmtui.config.load import load
from lmtui.config.settings import Preset, item, items
from lmtui.config.settings_file import SettingsFile, SettingsSnapshot
from lmtui.config.values import written
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.setting_field import SettingValue
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.dialogs import ConfirmDialog
from lmtui.tui.help import HelpScreen
from lmtui.tui.keys import all_bound
from lmtui.tui.picker import Picker
from lmtui.tui.preferences import Preferences
from lmtui.tui.settings.rows import rows_of
from lmtui.tui.settings.screen import SettingsScreen
from lmtui.tui.widgets.line_prompt import LinePrompt, TextField
from lmtui.tui.widgets.sampler_controls import SamplerControls
from tests.tui.programs import Program, chatting

MINE = """\
# mine
theme = "dark"  # at night

[sampling]
top_k = 30

[presets.pirate]
system = "You [bold]are\\u001b a pirate[/nope]"
temperature = 1.2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(MINE)
    return file


def of_file(file: Path) -> SettingsFile:
    return SettingsFile(load(environment={}, file=file), environment={}, file=file)


def test_every_setting_and_key_is_listed_with_its_meaning(file: Path) -> None:
    rows = {row.key: row for row in rows_of(of_file(file).read(), {})}
    for each in items():
        row = rows[each.key]
        assert each.declaration.meaning in str(row.about)
        assert each.key in row.words and each.declaration.meaning in row.words
    for action in all_bound():
        row = rows[f"keys.{action.id}"]
        assert action.what in str(row.about)
        assert action.id in row.words and action.what in row.words


def test_keys_that_cannot_be_used_say_why(file: Path) -> None:
    file.write_text(MINE + '[keys]\n"chat.regenerate" = "ctrl+g"\n')
    rows = rows_of(of_file(file).read(), {})
    (told,) = [str(row.about) for row in rows if row.key == "keys.chat.regenerate"]
    assert "can't be used" in told and "ctrl+g is taken by chat.continue" in told


@pytest.mark.parametrize(
    "table",
    ['[keys]\n"chat.regenerate" = "f12"  # mine\n',
     '[keys]\nchat.regenerate = "f12"  # mine\n',
     '[keys.chat]\nregenerate = "f12"  # mine\n'],
)  # fmt: skip
def test_key_setting_is_rewritten_in_its_own_table(file: Path, table: str) -> None:
    file.write_text(MINE + table)
    settings = of_file(file)
    key = ("keys", "chat.regenerate")
    snapshot = settings.put(settings.read(), key, "f11")
    assert file.read_text() == MINE + table.replace("f12", "f11")
    settings.put(snapshot, key, None)
    assert file.read_text().startswith(MINE) and "f11" not in file.read_text()


@asynccontextmanager
async def shown(
    file: Path,
    *,
    size: tuple[int, int] = (120, 40),
    environment: dict[str, str] | None = None,
    **flags: SettingValue,
) -> AsyncIterator[Program]:
    """The program at its settings, opened from the chat."""
    env = environment or {}
    started = load(flags, environment=env, file=file)
    settings = SettingsFile(started, environment=env, file=file)
    preferences = Preferences(settings_file=settings)
    async with chatting(preferences=preferences, size=size) as running:
        await running.press("f10")
        screen = await running.on(SettingsScreen)
        await running.until(lambda: screen.query_one(OptionList).option_count)
        yield running


async def search(running: Program, words: str) -> None:
    screen = running.app.screen
    screen.query_one("#words", TextField).value = words
    await running.pilot.pause()


async def put(running: Program, value: str) -> None:
    """Give the setting under the cursor this value."""
    (await asked(running)).value = value
    await running.press("enter")
    await closed(running)


async def asked(running: Program) -> TextField:
    """The field for the value of the setting under the cursor."""
    await running.press("enter")
    prompt = running.app.screen.query_one(LinePrompt)
    await running.until(lambda: prompt.is_open)
    return prompt.field


async def closed(running: Program) -> None:
    """The value was taken, and the next key goes to the search."""
    screen = running.app.screen
    await running.until(lambda: not screen.query_one(LinePrompt).is_open)
    await running.until(lambda: screen.query_one("#words").has_focus)


async def refused(running: Program, why: str) -> None:
    """The value is not taken, and this is said beside it."""
    await running.press("enter")
    wrong = running.app.screen.query_one("#wrong", Static)
    await running.until(lambda: why in str(wrong.content))


async def said(running: Program, words: str) -> str:
    """What is said beside the list, once these words are in it."""

    def told() -> str:
        return str(running.app.screen.query_one("#about", Static).content)

    await running.until(lambda: words in told())
    return told()


async def test_number_setting_is_checked_saved_and_applied_at_once(
    file: Path,
) -> None:
    async with shown(file) as running:
        await search(running, "top_k")
        field = await asked(running)
        assert field.value == "30"
        await running.press("x")  # in place of the old value
        await refused(running, "not a whole number")
        await running.press("backspace", "minus", "1")
        await refused(running, "out of range")
        assert "Give a value from 0 to 16,777,216." in running.seen
        assert "Enter writes it" in running.seen
        await running.press("left", "backspace", "2", "enter")
        await closed(running)
        assert "Enter writes it" not in running.seen
        await said(running, "In config.toml: 21")
        assert file.read_text() == MINE.replace("top_k = 30", "top_k = 21")
        sampler = running.chat.query_one(SamplerControls)
        await running.until(lambda: sampler.settings.top_k == 21)
        await running.press("f8")
        await said(running, "In config.toml: nothing")
        await running.until(lambda: sampler.settings.top_k == 40)
        assert "# mine" in file.read_text() and "top_k" not in file.read_text()
        await running.press("f8")
        await running.until(lambda: "not in config.toml" in running.notices)


async def test_escape_leaves_the_value_as_it_is_and_then_the_screen(
    file: Path,
) -> None:
    async with shown(file) as running:
        await search(running, "top_k")
        await asked(running)
        await running.press("9", "escape")
        await closed(running)
        assert file.read_text() == MINE
        await running.press("escape", "escape")
        assert running.app.screen is running.chat


async def test_saving_a_setting_keeps_the_sampler_set_in_the_chat(
    file: Path,
) -> None:
    async with shown(file) as running:
        chat = running.chat
        chat.sampler.use(SamplingSettings(temperature=0.3, top_k=7))
        for name, typed in (("min_p", "0.2"), ("top_p", "0.5")):
            await search(running, name)
            await put(running, typed)
            await said(running, f"In config.toml: {typed}")
            chat.sampler.use(chat.query_one(SamplerControls).settings)
        drawn = chat.query_one(SamplerControls).settings
        assert (drawn.temperature, drawn.top_k) == (0.3, 7)
        assert (drawn.min_p, drawn.top_p) == (0.2, 0.5)


async def test_theme_setting_is_chosen_from_a_list_and_applied_at_once(
    file: Path,
) -> None:
    async with shown(file) as running:
        await search(running, "theme")
        await running.press("enter")
        picker = await running.on(Picker)
        assert picker.query_one(OptionList).option_count == len(
            running.app.available_themes
        )
        await running.press("down", "enter")
        await running.on(SettingsScreen)
        await running.until(lambda: running.app.theme == "colour-blind-safe")
        assert 'theme = "colour-blind-safe"  # at night' in file.read_text()


async def test_chat_settings_apply_to_the_open_conversation_at_once(file: Path) -> None:
    async with shown(file) as running:
        chat = running.chat
        await search(running, "chat.when_full")
        assert "A change counts at once." in await said(running, "when_full")
        await choose(running, "down")
        await running.until(lambda: chat.session.options.drop_oldest)
        await search(running, "chat.thinking")
        await choose(running, "down", "down")
        await running.until(lambda: chat.session.thinking is False)
        assert (
            chat.session.thinking_setting is None
        )  # a conversation of its own mind keeps its own
        chat.session.set_thinking("auto")
        await choose(running, "up")
        await running.until(lambda: chat.session.thinking is True)
        assert chat.session.thinking_setting == "on"
        await running.press("f8")
        await running.until(lambda: chat.session.thinking is None)
        assert (
            chat.session.thinking_setting == "auto" and chat.session.options.drop_oldest
        )


async def choose(running: Program, *keys: str) -> None:
    """Another value of the setting that was searched for."""
    await running.press("enter")
    await running.on(Picker)
    await running.press(*keys, "enter")
    await running.on(SettingsScreen)


async def test_flag_or_variable_that_overrides_the_file_is_named(file: Path) -> None:
    env = {"LMTUI_TOP_P": "0.9"}
    async with shown(file, environment=env, top_k=3) as running:
        for name, place in (("top_k", "--top-k"), ("top_p", "LMTUI_TOP_P")):
            await search(running, name)
            assert f"{place} is given" in await said(running, f"sampling.{name}")
        drawn = running.chat.query_one(SamplerControls).settings
        await put(running, "0.25")
        await said(running, "In config.toml: 0.25")
        assert running.chat.query_one(SamplerControls).settings == drawn


async def test_key_setting_is_checked_saved_and_applied_at_once(file: Path) -> None:
    async with shown(file) as running:
        await search(running, "chat.regenerate")
        assert "Default: Ctrl+R" in await said(running, "In config.toml: nothing")
        field = await asked(running)
        assert field.value == "ctrl+r"
        for typed, why in (("ctrl+g", "taken by chat.continue"), ("f99", "is no key")):
            field.value = typed
            await refused(running, why)
        field.value = "f12, ctrl+r"
        await running.press("enter")
        await closed(running)
        await said(running, "In config.toml: f12, ctrl+r")
        assert file.read_text().startswith(MINE)
        assert running.app.own_keys == {"chat.regenerate": "f12,ctrl+r"}
        assert "F12, Ctrl+R" in running.seen
        await search(running, "")
        await running.press("escape")
        chat = running.chat
        assert chat.active_bindings["f12"].binding.action == "regenerate"
        await running.press("f10")
        await running.on(SettingsScreen)
        await search(running, "f12")
        await said(running, "In config.toml: f12, ctrl+r")
        await search(running, "chat.regenerate")
        await running.press("f8")
        await said(running, "In config.toml: nothing")
        await running.until(lambda: running.app.own_keys == {})
        assert "f12" not in file.read_text()
        await running.press("f8")
        await running.until(lambda: "not in config.toml" in running.notices)


async def test_settings_file_changed_by_another_program_is_read_again(
    file: Path,
) -> None:
    async with shown(file) as running:
        await search(running, "chat.keep")
        assert "from the next start on" in await said(running, "config.toml: nothing")
        theirs = MINE + "\n[chat]\nkeep = false  # theirs\n"
        file.write_text(theirs)
        await running.press("enter")
        await running.until(lambda: "changed by another program" in running.notices)
        await said(running, "In config.toml: false")
        assert file.read_text() == theirs
        await running.press("enter")
        await said(running, "In config.toml: true")
        assert file.read_text() == theirs.replace("false", "true")


async def test_read_that_began_before_a_change_is_ignored(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, slow, free = SettingsFile.read, Event(), Event()
    late: list[Thread] = []

    def read_late(settings: SettingsFile) -> SettingsSnapshot:
        snapshot = read(settings)
        if slow.is_set() and not late:
            late.append(current_thread())
            assert free.wait(10)
        return snapshot

    monkeypatch.setattr(SettingsFile, "read", read_late)
    async with shown(file) as running:
        await search(running, "chat.keep")
        slow.set()
        await running.press("f1")
        await running.on(HelpScreen)
        await running.press("escape")  # the file is read again
        await running.on(SettingsScreen)
        await running.until(lambda: late)
        await running.press("enter")
        await said(running, "In config.toml: false")
        free.set()
        await running.until(lambda: not late[0].is_alive())
        await running.pilot.pause()  # what it read is delivered
        await said(running, "In config.toml: false")
        await running.press("enter")
        await said(running, "In config.toml: true")


async def test_broken_settings_file_is_told_and_read_once_mended(file: Path) -> None:
    async with shown(file) as running:
        file.write_text("theme = = 3\n")
        await put(running, "m")
        assert "1 | theme = = 3" in await said(running, "not valid TOML")
        assert file.read_text() == "theme = = 3\n"
        file.write_text(MINE)
        await running.press("enter")
        await said(running, "The model")


async def test_preset_is_shown_and_deleted(file: Path) -> None:
    async with shown(file, size=(80, 24)) as running:
        await search(running, "pirate")
        await said(running, "You [bold]are␛ a pirate")
        assert "\x1b" not in running.seen
        await running.press("enter")
        await running.until(lambda: "/preset pirate uses it" in running.notices)
        await running.press("f8")
        await running.on(ConfirmDialog)
        await running.press("escape")
        await running.on(SettingsScreen)
        assert list(running.app.presets) == ["pirate"]
        await running.press("f8")
        await running.on(ConfirmDialog)
        await running.press("d")
        await running.on(SettingsScreen)
        await running.until(lambda: not running.app.presets)
        assert "pirate" not in file.read_text()


async def test_the_chat_saves_a_preset_and_replaces_none(
    file: Path,
) -> None:
    async with shown(file, min_p=0.2) as running:
        await running.press("escape")
        chat = running.chat
        chat.sampler.use(replace(chat.sampler.settings, top_k=40, temperature=1.5))
        await running.ask("/preset save")
        assert "Usage: /preset save NAME." in running.notices
        chat.query_one(PromptField).clear()
        await running.ask("/preset save my own")
        await running.until(lambda: "my own" in running.app.presets)
        # What the file and a flag set elsewhere is said, too, even a default.
        assert running.app.presets["my own"] == Preset(
            "my own",
            None,
            {"temperature": 1.5, "top_k": 40, "min_p": 0.05, "max_tokens": 50},
        )
        assert file.read_text().startswith(MINE)
        before = file.read_text()
        await running.ask("/preset pirate")
        await running.until(lambda: chat.session.conversation.root.content)
        await running.ask("/preset save my own")
        await running.until(lambda: "already exists" in running.notices)
        assert file.read_text() == before
        await running.ask("/preset save another")
        await running.until(lambda: "another" in running.app.presets)
        assert running.app.presets["another"].sampling["temperature"] == 1.2
        await running.ask("/preset save " + "x" * 99)
        await running.until(lambda: "the name of the preset is too" in running.notices)


async def test_settings_screen_opens_once_and_escape_returns_to_the_chat(
    file: Path,
) -> None:
    async with shown(file) as running:
        await running.press("f10")
        assert len(running.app.screen_stack) == 3
        await running.press("f1")
        await running.on(HelpScreen)
        assert "Type to search names and descriptions" in running.seen
        await running.press("f1")
        await running.press("x", "escape")
        await running.on(SettingsScreen)
        await running.press("escape")
        assert running.app.screen is running.chat


@pytest.mark.parametrize("name", [i.name for i in items() if i.kind in (int, float)])
def test_every_number_setting_states_its_limits(name: str) -> None:
    assert item(name).declaration.hint.startswith("Give ")
    with pytest.raises(LmtuiError, match="is not a"):
        written(name, "many")
    default = item(name).field.default
    if default is None:
        assert written(name, " ") is None
    else:
        assert written(name, str(default)) == default
        with pytest.raises(LmtuiError, match="is not a"):
            written(name, "")


def test_every_choice_of_a_setting_is_accepted() -> None:
    for setting in items():
        choices = setting.declaration.choices
        assert not choices or setting.field.default in choices
        for choice in choices:
            setting.check(choice)
