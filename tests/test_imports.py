"""Imports run one way, and the light half of the program stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "textual", "huggingface_hub", "rich", "numpy")
LIGHT = (
    "lmtui.analysis.summary",
    "lmtui.chat.conversation",
    "lmtui.chat.search",
    "lmtui.chat.writer",
    "lmtui.cli.main",
    "lmtui.config.load",
    "lmtui.editing.file_names",
    "lmtui.editing.find",
    "lmtui.editing.positions",
    "lmtui.editing.recovery",
    "lmtui.editing.surprises",
    "lmtui.editing.text_file",
    "lmtui.engine.grammar.compile",
    "lmtui.engine.lens",
    "lmtui.engine.protocol",
    "lmtui.engine.types",
    "lmtui.learn.pretrain.client",
    "lmtui.models.catalogue",
    "lmtui.state",
    "lmtui.train.__main__",
    "lmtui.train.client",
    "lmtui.train.split",
    "lmtui.worker.worker",
    "tests.fakes",
)
"""Modules that no verb waits for: they load nothing that takes long."""


def printed_by(code: str) -> list[str]:
    """The words that a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    return done.stdout.split()


def test_light_modules_load_nothing_heavy() -> None:
    """All in one program, which names the first that has loaded something."""
    code = (
        "import importlib, sys\n"
        f"for module in {LIGHT!r}:\n"
        "    importlib.import_module(module)\n"
        f"    if found := set(sys.modules) & set({HEAVY!r}):\n"
        "        sys.exit(print(module, *found))"
    )
    assert printed_by(code) == []


def test_the_import_contracts_are_kept() -> None:
    code = "import sys; from importlinter.cli import lint_imports; "
    done = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(lint_imports(no_cache=True))"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr


HELP = """
import asyncio, sys
from lmtui.tui.help import HelpScreen
from lmtui.tui.preferences import Preferences, PreferencesApp

async def show():
    app = PreferencesApp(Preferences())
    async with app.run_test() as pilot:
        app.push_screen(HelpScreen(app.screen, {}))
        await pilot.pause()
        print(type(app.screen).__name__, "lmtui.tui.editor.screen" in sys.modules)

asyncio.run(show())
"""


def test_help_imports_no_other_screen() -> None:
    assert printed_by(HELP) == ["HelpScreen", "False"]
