"""What all tests of the server share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A folder for the log of bugs."""
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path_factory.mktemp("home")))
