"""Imports run one way, and the light half of the program stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "textual", "huggingface_hub", "rich", "numpy")


def loaded_by(module: str) -> set[str]:
    """The heavy packages in `sys.modules` after importing `module`."""
    code = f"import sys, {module}; print(*set(sys.modules) & set({HEAVY!r}))"
    return set(printed_by(code))


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


@pytest.mark.parametrize(
    "module",
    [
        "lmtui.engine.grammar.check",
        "lmtui.engine.types",
        "lmtui.engine.protocol",
        "lmtui.engine.lens",
        "lmtui.models.catalogue",
        "lmtui.config.load",
        "lmtui.cli.main",
        "lmtui.train.__main__",
        "tests.fakes",
    ],
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    assert loaded_by(module) == set()


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
