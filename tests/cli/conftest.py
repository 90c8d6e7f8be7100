"""The command line's tests all run in an empty home."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def empty_home(home: Path) -> Path:
    """LMTUI_HOME, empty."""
    return home
