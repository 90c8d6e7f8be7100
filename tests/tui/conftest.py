"""Tests of screens: how long a pilot waits after a key, and a dialog for its keys."""

from __future__ import annotations

import pytest
from textual import _wait

from lmtui.tui import dialogs


@pytest.fixture(autouse=True, scope="session")
def short_waits() -> None:
    """After each key a pilot sleeps until the process has used a twentieth of one such
    sleep. Textual's are 20 ms long: a third of the time of these tests. Nothing here
    relies on them: what takes time is waited for by what is seen."""
    _wait.SLEEP_GRANULARITY, _wait.SLEEP_IDLE = 0.004, 0.0002
    dialogs.PAUSE = 0.001
