"""The line prompt: an answer that can be used is posted, any other is explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lmtui.tui.widgets.line_prompt import LinePrompt, LineQuestion
from tests.tui.hosts import HOSTILE, Host, safe, until


class Asking(Host):
    """Asks one question."""

    def __init__(self, ask: Callable[[LinePrompt], None]) -> None:
        super().__init__(LinePrompt())
        self._ask = ask

    @property
    def prompt(self) -> LinePrompt:
        """The prompt."""
        assert isinstance(self.widget, LinePrompt)
        return self.widget

    def on_mount(self) -> None:
        self._ask(self.prompt)

    @property
    def answers(self) -> list[tuple[str, str]]:
        """What was answered."""
        said = [m for m in self.posted if isinstance(m, LinePrompt.Answered)]
        return [(m.question, m.text) for m in said]


async def test_line_prompt_shows_an_error_until_the_text_changes() -> None:
    app = Asking(lambda prompt: prompt.ask_location("a\nb\nc"))
    async with app.run_test(size=(80, 24), message_hook=app.hook) as pilot:
        assert "LINE or LINE:COL, 1 to 3" in app.text()
        await pilot.press("x", "enter")
        await until(pilot, lambda: "this is not a LINE:COL" in app.text())
        await pilot.press("backspace", "2", "colon", "2")
        assert "this is not a LINE:COL" not in app.text()
        await pilot.press("enter")
        await until(pilot, lambda: app.answers)
        assert app.answers == [("place", "2:2")]
        await until(pilot, lambda: not app.prompt.is_open and not app.text().strip())


async def test_escape_closes_the_line_prompt_without_an_answer() -> None:
    app = Asking(lambda prompt: prompt.ask_location("a"))
    async with app.run_test(size=(80, 24), message_hook=app.hook) as pilot:
        await pilot.press("1", "escape")
        assert isinstance(app.posted[-1], LinePrompt.PromptClosed)
        assert app.answers == [] and not app.prompt.is_open


async def test_line_prompt_completes_a_path_and_refuses_a_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "notes").mkdir()
    app = Asking(lambda prompt: prompt.ask_path(f"{tmp_path}/no"))
    async with app.run_test(size=(120, 24), message_hook=app.hook) as pilot:
        await pilot.press("tab")
        await until(pilot, lambda: "notes/" in app.text())
        await pilot.press("enter")
        await until(pilot, lambda: "this is a folder" in app.text())
        await pilot.press("a", "enter")
        await until(pilot, lambda: app.answers)
        assert app.answers == [("path", f"{tmp_path}/notes/a")]


async def test_line_prompt_with_a_failing_check_gives_no_answer(home: Path) -> None:
    def broken(_: str) -> str:
        raise RuntimeError

    app = Asking(lambda prompt: prompt.ask(LineQuestion("x", "X", "", broken)))
    async with app.run_test(size=(80, 24), message_hook=app.hook) as pilot:
        await pilot.press("a", "enter")
        await until(pilot, lambda: "this can't be used" in app.text())
        assert app.answers == []


async def test_line_prompt_draws_hostile_names_safely() -> None:
    app = Asking(lambda prompt: None)
    async with app.run_test(size=(80, 24)) as pilot:
        for name, words in HOSTILE.items():
            app.prompt.ask(LineQuestion("x", "X", words, lambda text: text), words)
            await pilot.press("enter")
            await pilot.pause()
            assert safe(app.text()), name
