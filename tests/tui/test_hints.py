"""Hints for whoever sees a screen, or writes a program, for the first time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lmtui.cache_dir import size
from lmtui.editing.text_file import load
from lmtui.engine.types import Capabilities
from lmtui.models import catalogue
from lmtui.tui.chat.screen import HINT as CHAT
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.editor.options import Writing
from lmtui.tui.inspector.screen import HINT as INSPECT
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.preferences import Preferences
from lmtui.tui.widgets.status import HintLine
from tests.fake_writing import FakeWriter
from tests.tui.inspecting import inspecting
from tests.tui.programs import assert_laid_out, program


@dataclass
class Seen:
    """What was asked for, all of which is new."""

    asked: list[str] = field(default_factory=list)

    def first_time(self, name: str) -> bool:
        self.asked.append(name)
        return True

    @property
    def preferences(self) -> Preferences:
        return Preferences(first_time=self.first_time)


async def test_chat_hint_is_one_line_until_escape() -> None:
    seen = Seen()
    async with program(
        first="chat", size=(80, 24), preferences=seen.preferences
    ) as running:
        await running.ready()
        await running.on(ChatScreen)
        await running.until(
            lambda: f"New here? {CHAT}  Esc hides this." in running.seen
        )
        assert seen.asked == ["chat"]
        assert running.app.screen.query_one(HintLine).region.height == 1
        assert_laid_out(running.app.screen)
        await running.press("escape")
        assert "New here?" not in running.seen


async def test_escape_hides_the_hint_of_the_inspector_and_then_closes() -> None:
    seen = Seen()
    async with inspecting("a b", size=(80, 24), preferences=seen.preferences) as page:
        running = page.running
        await page.until(lambda: f"New here? {INSPECT}  Esc hides" in running.seen)
        assert "inspect" in seen.asked
        assert page.screen.query_one(HintLine).region.height == 1
        assert_laid_out(page.screen)
        await page.press("escape")
        assert isinstance(running.app.screen, InspectScreen)
        assert "New here?" not in running.seen
        await page.press("escape")
        assert not isinstance(running.app.screen, InspectScreen)


@pytest.mark.parametrize(
    ("name", "infill", "named"),
    [("a.py", False, True), ("a.py", True, False), ("a.md", False, False)],
)
async def test_model_that_reads_both_sides_is_named_beside_a_program(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    infill: bool,
    named: bool,
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path / "home"))
    (tmp_path / name).write_text("x = 1\n")
    engine, seen = FakeWriter(), Seen()
    engine.capabilities = Capabilities(infill=infill)
    options = {"first": "complete", "size": (80, 24), "preferences": seen.preferences}
    writing = Writing(load(tmp_path / name))
    async with program({"default": engine}, writing=writing, **options) as running:
        await running.ready()
        await running.until(lambda: "New here?" in running.seen)
        if not named:
            await running.pilot.pause()
            assert "infill" not in seen.asked
            return
        coder = catalogue.smallest_infill()
        words = f"{coder.name} ({size(coder.download)}) also reads what follows it."
        await running.until(lambda: words in " ".join(running.seen.split()))
        assert_laid_out(running.app.screen)
        await running.press("escape")
        assert coder.name not in running.seen
