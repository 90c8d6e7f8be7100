"""The command line's tests all run in an empty home."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import tiny


@pytest.fixture(autouse=True)
def empty_home(home: Path) -> Path:
    """LMTUI_HOME, empty."""
    return home


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers as a GGUF file of 8 bits; not to be changed."""
    folder = tmp_path_factory.mktemp("model")
    return tiny.write_gguf(
        tiny.save_llama(folder / "llama"), folder / "tiny.gguf", "Q8_0"
    )


@pytest.fixture
def no_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No models of whoever runs the tests."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "shared"))
