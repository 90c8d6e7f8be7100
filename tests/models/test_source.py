"""What `--model` takes, and the errors for what it can't be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from lmtui.errors import LmtuiError
from lmtui.models import catalogue, source
from lmtui.models.checkpoint import read_folder
from lmtui.models.source import (
    DefaultModel,
    FolderModel,
    GgufModel,
    HubModel,
    resolve,
    short_label,
)
from tests.models import tiny


def refused(spec: str | Path) -> LmtuiError:
    """The error for `spec`, when it is resolved or its files are looked at."""
    with pytest.raises(LmtuiError) as caught:
        found = resolve(str(spec))
        assert isinstance(found, FolderModel)
        read_folder(found.path)
    return caught.value


@pytest.fixture
def folder(llama_folder: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(llama_folder, tmp_path / "m"))


@pytest.mark.parametrize("spec", [None, "", "default", catalogue.DEFAULT])
def test_default_names_resolve_to_the_default_model(spec: str | None):
    assert resolve(spec) == DefaultModel()


def test_catalogue_names_and_hub_ids_resolve_to_hub_models():
    for name in ("qwen3.5-2b", "unsloth/Qwen3.5-2B-GGUF"):
        found = resolve(name)
        assert found == HubModel(
            name, "unsloth/Qwen3.5-2B-GGUF", "Qwen3.5-2B-Q4_K_M.gguf"
        )
    assert resolve("gpt2") == HubModel("gpt2", "openai-community/gpt2")
    assert resolve("owner/some") == HubModel("owner/some", "owner/some")
    for file in ("Q4_K_M", "sub/x-Q8_0.gguf"):
        spec = f"owner/some:{file}"
        assert resolve(spec) == HubModel(spec, "owner/some", file)
    assert short_label("owner/some:sub/x-Q8_0.gguf") == "x-Q8_0"
    assert short_label("owner/some:Q4_K_M") == "owner/some:Q4_K_M"


def test_paths_resolve_to_folder_and_gguf_models(
    llama_folder: Path, llama_gguf: Path, tmp_path: Path
):
    assert resolve(str(llama_folder)) == FolderModel(str(llama_folder), llama_folder)
    assert resolve(str(llama_gguf)) == GgufModel(str(llama_gguf), llama_gguf)
    unnamed = tmp_path / "blob"
    shutil.copy(llama_gguf, unnamed)
    assert resolve(str(unnamed)) == GgufModel(str(unnamed), unnamed)


def test_existing_folder_comes_before_a_catalogue_name(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt2").mkdir()
    assert isinstance(resolve("gpt2"), FolderModel)


@pytest.mark.parametrize(
    "spec",
    [
        "./nowhere",
        "/no/where",
        "no.gguf",
        "a/b.gguf",
        "~x",
        "x" * 5000,
        "a\0b",
        "a/b:",
        "a/b:../c",
    ],
)
def test_missing_path_is_refused(spec: str):
    error = refused(spec)
    assert (error.title, error.detail) == ("there is no such model", spec)
    assert "lmtui models list" in error.hint


def test_a_misspelt_name_is_guessed():
    assert refused("smollm2-135-instruct").hint.startswith(
        "Did you mean smollm2-135m-instruct"
    )


def test_empty_folder_is_refused(tmp_path: Path):
    error = refused(tmp_path)
    assert error.title == "this folder does not contain a model"
    assert "config.json" in error.hint


def test_folder_with_a_gguf_file_is_refused_with_its_path(llama_gguf: Path):
    assert f"--model {llama_gguf}" in refused(llama_gguf.parent).hint


def test_safetensors_file_is_refused_with_its_folder(llama_folder: Path):
    error = refused(llama_folder / "model.safetensors")
    assert error.title == "this file is not a model"
    assert str(llama_folder) in error.hint


def test_folder_without_weights_is_refused(folder: Path):
    (folder / "model.safetensors").unlink()
    assert refused(folder).title == "this folder does not contain a model"


def test_folder_with_only_pickled_weights_is_refused(folder: Path):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    error = refused(folder)
    assert "pickled" in error.title
    assert "save_pretrained" in error.hint


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_broken_configuration_is_refused(text: str, folder: Path):
    (folder / "config.json").write_text(text)
    error = refused(folder)
    assert error.title == "a file of this folder can't be read"
    assert "again" in error.hint


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.9999])
def test_truncated_safetensors_file_is_refused(part: float, folder: Path):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])
    error = refused(folder)
    assert error.title == "a weights file is damaged or cut short"
    assert str(file) in error.detail
    assert "again" in error.hint


@pytest.mark.parametrize(
    "header", [b"{}", b"[]", b"nonsense", b'{"a":1}', b'{"a":{"data_offsets":[4,2]}}']
)
def test_safetensors_header_is_read_if_empty_refused_if_malformed(
    header: bytes, folder: Path
):
    data = len(header).to_bytes(8, "little") + header
    (folder / "model.safetensors").write_bytes(data)
    if header == b"{}":
        assert read_folder(folder).parameters == 0
    else:
        assert "damaged" in refused(folder).title


def test_every_weights_file_of_a_folder_is_checked(tmp_path: Path):
    folder = tiny.save_llama(tmp_path / "m", max_shard_size="100kB")
    looked = read_folder(folder)
    assert len(looked.weights) > 2
    assert looked.dtype == "F32"
    looked.weights[1].path.write_bytes(b"short")
    assert "damaged" in refused(folder).title
    looked.weights[1].path.unlink()
    error = refused(folder)
    assert error.title == "a weights file is missing"
    assert "all its parts" in error.hint


def test_index_that_points_outside_the_folder_is_refused(folder: Path):
    index = {"weight_map": {"a": "../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "not a file in this folder" in refused(folder).detail


def test_the_catalogue_is_consistent():
    names = [entry.name for entry in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    assert catalogue.CATALOGUE[0].is_default
    for entry in catalogue.CATALOGUE:
        assert catalogue.find(entry.name.upper()) is entry
        assert catalogue.find(entry.hub_id) is entry
        assert isinstance(source.resolve(entry.hub_id), HubModel | DefaultModel)
