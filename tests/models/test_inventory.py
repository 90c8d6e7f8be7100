"""Whether a model is on this machine, told without network and without weights."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models import inventory, source
from lmtui.models.adapters import folders
from lmtui.models.adapters.folders import Adapter
from lmtui.models.load import load
from lmtui.models.source import ModelRef


def test_path_is_local_while_it_exists(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    assert inventory.is_local(ModelRef(str(file)))
    assert inventory.is_local(ModelRef(str(tmp_path)))
    file.unlink()
    assert not inventory.is_local(ModelRef(str(file)))


@pytest.mark.parametrize("name", ["qwen3.5-2b", "Owner/model", "nothing of that name"])
def test_model_that_must_be_fetched_is_not_local(name: str, home: Path) -> None:
    assert not inventory.is_local(ModelRef(name))


def test_default_model_counts_as_local(home: Path) -> None:
    assert inventory.is_local(ModelRef())
    assert inventory.is_local(ModelRef("smollm2-135m-instruct"))


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


def test_models_put_into_the_folder_of_models_are_listed_and_known_by_name(
    home: Path, llama_folder: Path, llama_gguf: Path, tmp_path: Path
) -> None:
    models = paths.ensure_folder(paths.models_folder())
    shutil.copytree(llama_folder, models / "MyLlama")
    shutil.copy(llama_gguf, models / "plain.gguf")
    (models / "notes.txt").write_text("no model")
    (models / "empty").mkdir()
    (models / "loop").symlink_to(models / "loop")
    found = {item.name: item for item in inventory.inventory()}
    assert found.keys() == {"MyLlama", "plain.gguf"}
    assert found["plain.gguf"].bytes == llama_gguf.stat().st_size
    assert {"MyLlama", "plain.gguf"} <= {row.name for row in inventory.rows({})}
    for name in ("MyLlama", "plain.gguf", "plain"):
        assert inventory.is_local(ModelRef(name))
        assert load(name, device="cpu").name == name
        with suppress(LmtuiError):  # only copies of it can be removed
            removed = inventory.items_of(source.resolve(name))
            assert not any(models in item.path.parents for item in removed)


def test_path_comes_before_a_name_in_the_folder_of_models(
    home: Path, llama_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = paths.ensure_folder(paths.models_folder())
    for folder in (models, tmp_path):
        shutil.copy(llama_gguf, folder / "plain.gguf")
    monkeypatch.chdir(tmp_path)
    found = source.resolve("plain.gguf")
    assert isinstance(found, source.GgufModel)
    assert found.path == tmp_path / "plain.gguf"
