"""What every test gets: an environment without the user's settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away settings and colour choices of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("LMTUI_") and name != "LMTUI_HOME":
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty LMTUI_HOME of the test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("LMTUI_HOME", str(folder))
    return folder
