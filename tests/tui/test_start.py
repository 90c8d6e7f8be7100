"""The first screen: the model's state, and choices by letter, arrow and mouse."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread, current_thread
from typing import Any

from textual.command import CommandPalette

from lmtui.config.settings import Settings
from lmtui.config.settings_file import SettingsFile
from lmtui.editing.text_file import load
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.errors import LmtuiError
from lmtui.models import list_rows
from lmtui.models.progress import Progress
from lmtui.models.source import ModelRef
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.dialogs import ActionList
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.finetune.run import Finetuning, TrainingRun
from lmtui.tui.finetune.screen import FinetuneScreen
from lmtui.tui.help import HelpScreen
from lmtui.tui.models import ModelsScreen
from lmtui.tui.preferences import Preferences
from lmtui.tui.settings.screen import SettingsScreen
from lmtui.tui.start import StartScreen
from lmtui.tui.widgets.line_prompt import TextField
from lmtui.tui.widgets.status import HintLine
from tests.fake_training import FakeTraining
from tests.fake_writing import FakeWriter
from tests.fakes import FakeEngine
from tests.tui.programs import assert_laid_out, program

SIZES = [(80, 24), (120, 40), (200, 60), (60, 18), (40, 12)]


async def test_start_screen_shows_the_progress_of_the_model_load() -> None:
    steps = [Event(), Event()]

    def open_model(name: str) -> Any:
        def load(report: Any) -> FakeEngine:
            report(Progress("fetching [red]x\x1b[0m", 1, 4))
            assert steps[0].wait(20)
            report(Progress("loading x"))
            assert steps[1].wait(20)
            return FakeEngine(name="x", context=1234)

        return load

    async with program(open_model=open_model, ref=ModelRef("x")) as running:
        await running.until(lambda: "fetching [red]x␛[0m 25%" in running.seen)
        await running.until(lambda: "━" in running.seen)
        steps[0].set()
        await running.until(lambda: "loading x" in running.seen)
        await running.until(lambda: "━" not in running.seen)
        steps[1].set()
        await running.until(lambda: "ready · exact float32 · cpu" in running.seen)
        assert "context 1,234" in running.seen


async def test_default_model_leads_to_the_best_that_fits() -> None:
    assert not list_rows.better_than_default(0)
    sentence = list_rows.better_than_default(12 << 30)
    words = sentence.partition(" writes")[0]
    assert words.startswith("135M, made to start at once. ")
    async with program(better_than_default=sentence) as running:
        await running.until(lambda: words in running.seen)
        await running.press("c")
        await running.on(ChatScreen)
        assert words in running.seen

    def open_model(name: str) -> Any:
        return lambda report: FakeEngine(name="x")

    other = program(
        open_model=open_model, ref=ModelRef("x"), better_than_default=sentence
    )
    async with other as running:
        await running.ready()
        assert "135M" not in running.seen
        await running.press("c")
        await running.on(ChatScreen)
        assert "135M" not in running.seen


async def test_start_choices_are_taken_by_arrow_letter_and_mouse() -> None:
    async with program() as running:
        await running.on(StartScreen)
        await running.press(*["down"] * 3, "enter")
        await running.on(ModelsScreen)
        await running.press("escape")
        await running.on(StartScreen)
        await running.press("t")
        await running.on(CommandPalette)
        await running.press("escape")
        await running.on(StartScreen)
        await running.pilot.click(ActionList, offset=(12, 0))
        await running.on(ChatScreen)
        await running.press("f9", "q")
        await running.until(lambda: running.app.return_code == 0)


async def test_start_screen_is_laid_out_at_every_size() -> None:
    async with program() as running:
        await running.ready()
        start = await running.on(StartScreen)
        for size in SIZES:
            await running.pilot.resize_terminal(*size)
            await running.until(lambda size=size: start.size == size)
            await running.pilot.pause()
            assert_laid_out(start)
            assert "lmtui" in running.seen
            for letter in "cefm" if size[1] < 18 else "cefmthq":
                assert f" {letter}  " in running.seen


async def test_start_hint_is_shown_until_escape_or_a_click() -> None:
    asked: list[str] = []

    def first_time(name: str) -> bool:
        asked.append(name)
        return True

    async with program(preferences=Preferences(first_time=first_time)) as running:
        await running.until(lambda: "New here? c begins a chat;" in running.seen)
        assert asked == ["start"]
        assert_laid_out(running.app.screen)
        await running.press("escape")
        assert "New here?" not in running.seen
        running.app.screen.query_one(HintLine).show()
        await running.until(lambda: "New here?" in running.seen)
        await running.pilot.click(HintLine)
        assert "New here?" not in running.seen


async def test_start_hint_that_was_seen_is_not_shown_again() -> None:
    asked: list[Thread] = []

    def first_time(_: str) -> bool:
        asked.append(current_thread())
        return False

    async with program(preferences=Preferences(first_time=first_time)) as running:
        await running.until(lambda: asked and not asked[0].is_alive())
        await running.pilot.pause()  # its answer is delivered
        await running.ready()
        assert "New here?" not in running.seen


async def test_help_of_the_start_screen_names_no_key_without_effect() -> None:
    async with program() as running:
        await running.ready()
        await running.press("f1")
        await running.on(HelpScreen)
        assert "Talk, and watch every distribution." in running.seen
        assert "Back to the file" not in running.seen
        assert "Back to the training" not in running.seen


def opened(path: Path) -> Writing:
    return Writing(load(path), rules=SuggestionRules(delay=3600.0))


async def test_file_is_named_and_edited_from_the_start_screen(tmp_path: Path) -> None:
    (tmp_path / "tale.txt").write_text("once upon a time")
    engines = {"default": FakeWriter()}
    async with program(engines, size=(80, 24), open_writing=opened) as running:
        await running.ready()
        start = await running.on(StartScreen)
        await running.press("e")
        field = start.query_one(TextField)
        for value, words in (
            ("", "give a name"),
            (str(tmp_path), "this is a folder"),
            (f"{tmp_path}/none/a", "there is no such folder"),
        ):
            field.value = value
            await running.press("enter")
            await running.until(lambda words=words: words in running.seen)
            assert_laid_out(start)
        field.value = f"{tmp_path}/ta"
        await running.press("tab")
        await running.until(lambda: field.value == f"{tmp_path}/tale.txt")
        await running.press("enter")
        await running.on(EditorScreen)
        await running.until(lambda: "once upon a time" in running.seen)
        await running.press("f9")
        await running.on(StartScreen)
        assert "Back to the file" in running.seen
        await running.press("e")
        await running.on(EditorScreen)


async def test_file_that_cannot_be_read_is_told_on_the_start_screen(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\0b")
    async with program(open_writing=opened, notices=True) as running:
        await running.ready()
        await running.press("e")
        running.app.screen.query_one(TextField).value = f"{tmp_path}/a.txt"
        await running.press("enter")
        await running.until(lambda: "this is a binary file" in running.notices)
        assert isinstance(running.app.screen, StartScreen)
        await running.press("e", "escape", "c")  # what is open is closed by Esc alone
        await running.on(ChatScreen)


async def test_notes_are_named_and_trained_on_from_the_start_screen(
    tmp_path: Path,
) -> None:
    begun: list[tuple[Path, str | None]] = []
    training = FakeTraining()

    def begin(path: Path, model: str | None) -> Finetuning:
        begun.append((path, model))
        return Finetuning(training, TrainingRun(), "notes", tmp_path)

    async with program(size=(80, 24), begin_training=begin) as running:
        await running.ready()
        start = await running.on(StartScreen)
        for times in (1, 2):
            await running.press("f")
            field = start.query_one(TextField)
            for value, words in (
                ("", "name a file or a folder"),
                (f"{tmp_path}/none", "there is no such file or folder"),
            ):
                field.value = value
                await running.press("enter")
                await running.until(lambda words=words: words in running.seen)
                assert_laid_out(start)
            field.value = str(tmp_path)
            await running.press("enter")
            await running.on(FinetuneScreen)
            assert begun == [(tmp_path, "default")] * times
            await running.press("f9")
            await running.on(StartScreen)
            assert "Back to the training" in running.seen
            await running.press("f")
            await running.on(FinetuneScreen)
            await running.press("escape")  # nothing is trained yet
            await running.on(StartScreen)
            assert training.asked == ["stop", "kill"] * times
            assert running.app.finetuning is None
            assert "Back to the training" not in running.seen


async def test_name_that_is_taken_is_told_on_the_start_screen(tmp_path: Path) -> None:
    def begin(path: Path, model: str | None) -> Finetuning:
        raise LmtuiError("an adapter of this name already exists", "notes")

    async with program(begin_training=begin, notices=True) as running:
        await running.ready()
        await running.press("f")
        running.app.screen.query_one(TextField).value = str(tmp_path)
        await running.press("enter")
        await running.until(lambda: "an adapter of this name" in running.notices)
        assert isinstance(running.app.screen, StartScreen)


async def test_start_screen_offers_settings_only_with_a_settings_file(
    tmp_path: Path,
) -> None:
    file = SettingsFile(Settings(), environment={}, file=tmp_path / "config.toml")
    async with program(preferences=Preferences(settings_file=file)) as running:
        await running.until(lambda: "Settings" in running.seen)
        await running.press("s")
        await running.on(SettingsScreen)
    async with program() as running:
        await running.ready()
        assert "Settings" not in running.seen
        start = running.app.screen
        await running.press("f10")
        assert running.app.screen is start
