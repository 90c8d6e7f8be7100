"""A home of its own for every test, and small real models in every format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import tiny


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LMTUI_HOME and the shared Hub cache, both empty."""
    from huggingface_hub import constants

    folder = tmp_path / "home"
    monkeypatch.setenv("LMTUI_HOME", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "shared"))
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers in Hugging Face format; not to be changed."""
    return tiny.save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def llama_gguf(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as a float32 GGUF file; not to be changed."""
    target = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return tiny.write_gguf(llama_folder, target)
