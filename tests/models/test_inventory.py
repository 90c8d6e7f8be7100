"""Whether a model is on this machine, told without network and without weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.models import inventory
from lmtui.models.adapters import folders
from lmtui.models.adapters.folders import Adapter
from lmtui.models.source import ModelRef


def test_path_is_local_while_it_exists(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    assert inventory.is_local(ModelRef(str(file)))
    assert inventory.is_local(ModelRef(str(tmp_path)))
    file.unlink()
    assert not inventory.is_local(ModelRef(str(file)))


@pytest.mark.parametrize("name", ["qwen3-0.6b", "Owner/model", "nothing of that name"])
def test_model_that_must_be_fetched_is_not_local(name: str, home: Path) -> None:
    assert not inventory.is_local(ModelRef(name))


@pytest.mark.parametrize("name", [None, "default", "smollm2-135m-instruct"])
def test_default_model_counts_as_local(name: str | None, home: Path) -> None:
    assert inventory.is_local(ModelRef(name))


def test_adapter_is_local_if_its_model_is(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not inventory.is_local(ModelRef("default", "notes"))
    lora, whole = Adapter("notes", home), Adapter("all", home, kind="full")
    known = {"notes": lora, "all": whole}
    monkeypatch.setattr(folders, "find", lambda name: known[name])
    assert inventory.is_local(ModelRef("default", "notes"))
    assert not inventory.is_local(ModelRef("gone/model", "notes"))
    assert inventory.is_local(ModelRef("gone/model", "all"))  # it holds all its weights
