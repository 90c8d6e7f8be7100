"""What every test gets: an environment without the user's settings, and homes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("full", max_examples=1000, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full` runs the property tests on many more examples."""
    parser.addoption("--full", action="store_true", help="many more random examples")


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many random examples the property tests try."""
    settings.load_profile("full" if config.getoption("--full") else "quick")


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


@pytest.fixture(scope="session")
def default_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the real default model, fetched once, or the given one."""
    from lmtui import paths
    from lmtui.models import fetch

    given = os.environ.get("LMTUI_TEST_HOME")
    folder = Path(given) if given else tmp_path_factory.mktemp("default-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(folder))
        fetch.default_model()
        assert paths.home() == folder
    return folder
