"""Adapters: on the model they were made for, nothing else, and nothing hostile."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
)

from lmtui import paths, records
from lmtui.errors import LmtuiError
from lmtui.models import digests, inventory, source
from lmtui.models.adapters import folders, merge
from lmtui.models.adapters.card import Base, read_card
from lmtui.models.adapters.lora_config import read_lora
from lmtui.models.load import load, load_base
from lmtui.models.progress import Progress
from lmtui.models.source import ModelRef
from tests.models import learned, tiny


@pytest.fixture(scope="session")
def lora(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA for the tiny Llama; not to be changed."""
    return learned.save_lora(tmp_path_factory.mktemp("lora") / "lora", llama_folder)


@pytest.fixture
def notes(lora: Path, llama_folder: Path) -> Path:
    """The same, kept under the name of `notes`."""
    return learned.keep_lora("notes", lora, llama_folder)


def refused(*specs: Any, **options: Any) -> LmtuiError:
    with pytest.raises(LmtuiError) as caught:
        load(*specs, device="cpu", **options)
    return caught.value


def logprobs(model: Any) -> torch.Tensor:
    return tiny.logits(model, tiny.tokenizer()).double().log_softmax(-1)


@pytest.fixture
def plain(lora: Path, tmp_path: Path) -> Path:
    """The same, as another program leaves it; may be changed."""
    return Path(shutil.copytree(lora, tmp_path / "plain"))


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# Loading.


def test_merged_adapter_equals_the_unmerged_model(notes: Path, llama_folder: Path):
    loaded = load(str(llama_folder), adapter="notes", device="cpu")
    assert (loaded.name, loaded.adapter) == (str(llama_folder), "notes")
    assert loaded.precision == "exact"
    wanted = logprobs(learned.unmerged(llama_folder, notes))
    assert torch.allclose(logprobs(loaded.model), wanted, atol=1e-4)
    alone = logprobs(load(str(llama_folder), device="cpu").model)
    assert (wanted - alone).abs().max() > 0.01
    assert type(loaded.model).__module__.startswith("transformers.")
    assert not any("lora" in name for name, _ in loaded.model.named_modules())


@pytest.mark.parametrize(
    "options",
    [
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 3}},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": r".*\.1\..*v_proj"},
        {"lora_dropout": 0.5, "layers_to_transform": [1], "target_modules": ["k_proj"]},
    ],
)
def test_every_variant_of_plain_lora_is_loaded(
    options: dict[str, Any], llama_folder: Path, tmp_path: Path
):
    folder = learned.save_lora(tmp_path / "other", llama_folder, **options)
    loaded = load(str(llama_folder), adapter=str(folder), device="cpu")
    wanted = logprobs(learned.unmerged(llama_folder, folder))
    assert torch.allclose(logprobs(loaded.model), wanted, atol=1e-4)


def test_lora_on_transposed_gpt2_matrices_is_loaded(tmp_path: Path):
    size = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
    base = tmp_path / "gpt2"
    torch.manual_seed(3)
    config = GPT2Config(vocab_size=320, initializer_range=0.3, **size)
    GPT2LMHeadModel(config).save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    folder = learned.save_lora(tmp_path / "lora", base, fan_in_fan_out=True)
    loaded = load(str(base), adapter=str(folder), device="cpu")
    wanted = logprobs(learned.unmerged(base, folder))
    assert torch.allclose(logprobs(loaded.model), wanted, atol=1e-4)
    # Its output matrix is its input matrix: a change of one would change both.
    twice = learned.save_lora(
        tmp_path / "twice", base, target_modules=["lm_head"], fan_in_fan_out=True
    )
    error = refused(str(base), adapter=str(twice))
    assert "uses this matrix twice" in error.detail


def test_bfloat16_rounds_only_the_merged_weight(tmp_path: Path, llama_folder: Path):
    folder = learned.save_lora(tmp_path / "small", llama_folder, size=0.004)
    loaded = load(
        str(llama_folder), adapter=str(folder), device="cpu", dtype="bfloat16"
    )
    assert (loaded.dtype, loaded.precision) == (torch.bfloat16, "fast")
    base = AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.bfloat16)
    weights = load_file(folder / "adapter_model.safetensors")
    name = "model.layers.0.mlp.up_proj"
    first, second = (
        weights[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB"
    )
    before = base.get_submodule(name).weight
    wanted = (before.float() + 8 / 4 * second @ first).bfloat16()
    assert torch.equal(loaded.model.get_submodule(name).weight, wanted)


def test_adapter_loads_on_the_gguf_file_it_was_made_for(
    llama_gguf: Path, llama_folder: Path, lora: Path
):
    learned.keep_lora("notes", lora, llama_gguf)
    loaded = load(str(llama_gguf), adapter="notes", device="cpu")
    wanted = logprobs(learned.unmerged(llama_folder, lora))
    assert torch.allclose(logprobs(loaded.model), wanted, atol=1e-4)
    # Found again by its weights, wherever it lies.
    again = load(adapter="notes", device="cpu")
    assert Path(again.name) == llama_gguf.resolve()
    error = refused(str(llama_folder), adapter="notes")
    assert error.title == "this adapter was made for another model"


# The model that belongs to it.


def test_adapter_without_a_model_uses_that_of_its_card(notes: Path, llama_folder: Path):
    loaded = load(adapter="notes", device="cpu")
    assert Path(loaded.name) == llama_folder.resolve()
    digests._file().unlink()
    error = refused(adapter="notes")
    assert "was not found" in error.title
    assert error.hint == "Name the model's file or folder with --model."


def test_base_model_in_the_current_folder_is_found_by_name(
    notes: Path, llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    digests._file().unlink()
    copy = Path(shutil.copytree(llama_folder, tmp_path / llama_folder.name))
    monkeypatch.chdir(tmp_path)
    assert Path(load(adapter="notes", device="cpu").name) == copy
    edit(copy / "config.json", num_hidden_layers=1)
    (copy / "model.safetensors").unlink()
    assert "was not found" in refused(adapter="notes").title


def test_model_for_finds_default_catalogue_and_hub_models(lora: Path):
    from lmtui.models.download import default_model

    folder = Path(shutil.copytree(lora, paths.adapters_folder() / "notes"))
    for base, wanted in [
        (Base("it", "it", (default_model.FILE_SHA256,)), source.DefaultModel()),
        (Base("gpt2", "gpt2", ("0" * 64,)),
         source.HubModel("gpt2", "openai-community/gpt2")),
        (Base("a/b", "a/b", ("0" * 64,)), source.HubModel("a/b", "a/b")),
    ]:  # fmt: skip
        records.write(folder / "card.json", learned.card_of("notes", base))
        assert folders.model_for(folders.find("notes")) == wanted


def test_adapter_refuses_a_model_with_other_weights(
    notes: Path, llama_folder: Path, tmp_path: Path
):
    other = Path(shutil.copytree(llama_folder, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] += 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    error = refused(str(other), adapter="notes")
    assert error.title == "this adapter was made for another model"
    assert f"made for {llama_folder.name}" in error.detail
    assert f"--model {llama_folder.name}" in error.hint


def test_mismatched_model_is_refused_without_fetching(
    notes: Path, monkeypatch: pytest.MonkeyPatch
):
    with no_network(monkeypatch):
        for spec in ("gpt2", "someone/elses", "default"):
            error = refused(spec, adapter="notes")
            assert error.title == "this adapter was made for another model"
        records.write(
            notes / "card.json", learned.card_of("notes", Base("a", "a/b", ("0" * 64,)))
        )
        assert "Hub can't be reached" in refused("a/b", adapter="notes").title
        assert "Hub can't be reached" in refused(adapter="notes").title


def test_base_model_in_parts_is_known_by_all_of_them(tmp_path: Path, lora: Path):
    parts = tiny.save_llama(tmp_path / "parts", max_shard_size="100kB")
    learned.keep_lora("notes", lora, parts)
    assert len(folders.find("notes").card.base.sha256) > 1
    assert Path(load(adapter="notes", device="cpu").name) == parts.resolve()


def test_adapter_with_all_weights_is_loaded_as_itself(llama_folder: Path):
    folder = learned.keep_whole("notes", llama_folder)
    wanted = logprobs(AutoModelForCausalLM.from_pretrained(folder).eval())
    for spec in (None, str(llama_folder)):
        loaded = load(spec, adapter="notes", device="cpu")
        assert torch.equal(logprobs(loaded.model), wanted)
        assert Path(loaded.name).resolve() == llama_folder.resolve()
        assert loaded.adapter == "notes"
    error = refused(str(folder), adapter="notes")
    assert error.title == "this adapter was made for another model"


# Adapters of other programs.


def test_adapter_without_a_card_loads_with_a_warning(plain: Path, llama_folder: Path):
    (plain / "chat_template.jinja").write_text("its own")
    seen: list[Progress] = []
    loaded = load(
        str(llama_folder), adapter=str(plain), device="cpu", on_progress=seen.append
    )
    (warning,) = [progress.what for progress in seen if progress.warning]
    assert "its shapes fit" in warning and str(plain) in warning
    assert loaded.adapter == "plain"
    assert loaded.tokenizer.chat_template == "its own"


def test_model_that_a_foreign_adapter_names_is_not_followed(
    plain: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    error = refused(adapter=str(plain))
    assert "is unknown" in error.title
    assert str(llama_folder) in error.detail
    with no_network(monkeypatch):
        for named in ("someone/elses", "/etc/passwd"):
            edit(
                plain / "adapter_config.json",
                base_model_name_or_path=named,
                revision="main",
            )
            assert refused(adapter=str(plain)).hint == "Name the model with --model."
        load(str(llama_folder), adapter=str(plain), device="cpu")


def test_adapter_whose_shapes_do_not_fit_is_refused(plain: Path, llama_folder: Path):
    file = plain / "adapter_model.safetensors"
    weights = load_file(file)
    key = "base_model.model.model.layers.1.self_attn.q_proj.lora_{}.weight"
    for changes, words in [
        ({key.format("A"): torch.zeros(4, 63)}, "64×63, the model has 64×64"),
        ({key.format("B"): torch.zeros(64, 5)}, "don't fit each other"),
        ({key.format("A"): torch.zeros(4, 1, 64)}, "don't fit each other"),
        ({key.format("A").replace("layers.1", "layers.2"): torch.zeros(4, 64)},
         "the model has no such matrix"),
        ({"base_model.model.model.norm.weight": torch.zeros(64)}, "no part of a plain"),
        ({"base_model.model.model.norm.lora_A.weight": torch.zeros(4, 64)},
         "the model has no such matrix"),
    ]:  # fmt: skip
        save_file(weights | changes, file)
        error = refused(str(llama_folder), adapter=str(plain))
        assert error.title == "this adapter does not fit this model"
        assert words in error.detail
    save_file({}, file)
    assert "no weights" in refused(str(llama_folder), adapter=str(plain)).detail
    save_file(weights, file)
    edit(plain / "adapter_config.json", r=3)  # says otherwise than the weights do
    assert refused(str(llama_folder), adapter=str(plain)).hint


def test_adapter_with_non_finite_weights_is_refused(plain: Path, llama_folder: Path):
    file = plain / "adapter_model.safetensors"
    weights = load_file(file)
    next(iter(weights.values()))[0, 0] = torch.nan
    save_file(weights, file)
    error = refused(str(llama_folder), adapter=str(plain))
    assert error.title == "this adapter holds numbers that are not finite"


HOSTILE = {
    "another method": {"peft_type": "LOHA"},
    "no method": {"peft_type": None},
    "another task": {"task_type": "SEQ_CLS"},
    "code to import": {
        "task_type": None,
        "auto_mapping": {"base_model_class": "x", "parent_library": "os"},
    },
    "other modules": {"modules_to_save": ["lm_head"]},
    "other matrices": {"use_dora": True},
    "biases": {"bias": "all"},
    "layers": {"layer_replication": [[0, 1000000]]},
    "tokens": {"trainable_token_indices": [1]},
    "a library": {"megatron_config": {"a": 1}},
    "changed weights": {"init_lora_weights": "pissa"},
    "a file to read": {"corda_config": {"cache_file": "/etc/passwd"}},
    "a way of later versions": {"use_something_new": {"a": 1}},
    "no number": {"lora_alpha": "8"},
    "not finite": {"lora_alpha": float("nan")},
    "too large": {"lora_alpha": 10**400},
    "no rank": {"r": 0},
    "an expression that never ends": {"rank_pattern": {"(a+)+$": 4}},
    "neither": {"use_rslora": "yes"},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_adapter_configuration_is_refused(what: str, plain: Path):
    edit(plain / "adapter_config.json", **HOSTILE[what])
    with pytest.raises(LmtuiError, match=r"this adapter's conf|supported") as caught:
        read_lora(plain)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a":' * 100_000, "\xff\xfe"])
def test_damaged_adapter_configuration_is_refused(
    text: str, plain: Path, llama_folder: Path
):
    (plain / "adapter_config.json").write_bytes(text.encode("latin-1"))
    error = refused(str(llama_folder), adapter=str(plain))
    assert error.title == "this adapter's configuration can't be read"


def test_pickled_weights_are_not_read(plain: Path, llama_folder: Path):
    (plain / "adapter_model.safetensors").rename(plain / "adapter_model.bin")
    assert "pickled" in refused(str(llama_folder), adapter=str(plain)).title
    (plain / "adapter_model.bin").unlink()
    assert "damaged or cut" in refused(str(llama_folder), adapter=str(plain)).title


@contextmanager
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


# The folder, and the cards in it.


def test_a_card_is_read_as_it_was_written(tmp_path: Path):
    card = learned.card_of("notes", Base("a", "owner/a", ("0" * 64,)))
    records.write(tmp_path / "card.json", card)
    assert read_card(tmp_path) == card
    assert card.held_out == "3.210 → 2.870" and card.day == "2026-07-14"
    assert os.stat(tmp_path / "card.json").st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "magic"},
        {"name": None},
        {"created": "yesterday"},
        {"base": {"name": "a", "spec": "a", "sha256": "0" * 64}},
        {"base": {"name": "a", "spec": "a", "sha256": ["../" + "0" * 61]}},
        {"data": {"files": {}, "documents": 1, "held_out": 0, "tokens": 1}},
        {"data": {"files": [], "documents": True, "held_out": 0, "tokens": 1}},
        {"data": {"files": [], "documents": -1, "held_out": 0, "tokens": 1}},
        {"metrics": {"before": {"loss": "low"}, "best_step": 0, "steps": 0}},
        {"metrics": {"before": {"loss": float("inf")}, "best_step": 0, "steps": 0}},
        {"metrics": {"before": {"loss": 10**400}, "best_step": 0, "steps": 0}},
        {"settings": []},
    ],
)
def test_malformed_card_is_refused(changes: dict[str, object], notes: Path):
    edit(notes / "card.json", **changes)
    with pytest.raises(LmtuiError, match="card can't be read"):
        folders.find("notes")


def test_find_takes_a_name_or_path_and_hints_at_mistakes(
    notes: Path, lora: Path, tmp_path: Path
):
    assert folders.find(" notes ").path == notes
    assert folders.find(str(lora)).card is None
    for name, hint in [
        ("note", "Did you mean notes?"),
        ("", "lmtui adapters list"),
        ("../adapters/notes/no", "lmtui adapters list"),
        ("x" * 5000, "lmtui adapters list"),
        ("a\0b", "lmtui adapters list"),
        ("~nobody-is-called-so/x", "lmtui adapters list"),
    ]:
        with pytest.raises(LmtuiError, match="no such adapter") as caught:
            folders.find(name)
        assert hint in caught.value.hint


def test_folder_of_notes_is_no_adapter_of_its_name(
    notes: Path, llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("my diary", "note", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "monday.md").write_text("It rained.")
    assert folders.find("notes").path == notes
    for name, hint in [
        ("note", "Did you mean notes?"),
        ("my diary", "Make one from the folder my diary: lmtui finetune 'my diary'"),
    ]:
        with pytest.raises(LmtuiError, match="no such adapter") as caught:
            folders.find(name)
        assert caught.value.hint == hint
    (tmp_path / "model").symlink_to(llama_folder)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "adapter_model.safetensors").touch()
    for name in ("model", "half"):
        with pytest.raises(LmtuiError, match="does not contain an adapter"):
            folders.find(name)


def test_find_refuses_a_model_folder_with_a_hint(llama_folder: Path, tmp_path: Path):
    with pytest.raises(LmtuiError) as caught:
        folders.find(str(llama_folder))
    assert caught.value.hint == f"It looks like a model: --model {llama_folder}"
    with pytest.raises(LmtuiError, match="does not contain an adapter"):
        folders.find(str(tmp_path))


def test_broken_adapter_does_not_stop_the_list(notes: Path, llama_folder: Path):
    learned.keep_whole("all", llama_folder, "scratch")
    (paths.adapters_folder() / "broken").mkdir()
    (paths.adapters_folder() / ".scratch-1-x").mkdir()
    (paths.adapters_folder() / "a file").write_text("")
    found = {adapter.name: adapter for adapter in folders.listed()}
    assert list(found) == ["all", "broken", "notes"]
    assert (found["all"].is_whole, found["notes"].is_whole) == (True, False)
    assert found["broken"].problem == "this folder does not contain an adapter"
    assert found["notes"].base == llama_folder.name and found["notes"].bytes > 1000
    rows = {row.name: row for row in inventory.rows({})}
    assert "+ broken" not in rows
    assert rows["+ notes"].model_ref == ModelRef(adapter="notes")
    assert "held-out loss 3.210 → 2.870" in rows["+ notes"].note
    assert rows["+ all"].note.startswith("from random weights")


def test_remove_refuses_folders_outside_the_adapters(notes: Path, lora: Path):
    with pytest.raises(LmtuiError, match="only files in lmtui's own folders"):
        folders.remove(folders.find(str(lora)))
    folders.remove(folders.stored("notes"))
    assert not notes.exists()


# Merging.


def test_merged_folder_is_a_plain_transformers_model(
    notes: Path, llama_folder: Path, tmp_path: Path
):
    out = tmp_path / "deep" / "merged"
    adapter = folders.find("notes")
    merge.write_merged(load_base(adapter), adapter, out)
    model = AutoModelForCausalLM.from_pretrained(out)
    wanted = logprobs(learned.unmerged(llama_folder, notes))
    assert torch.allclose(logprobs(model.eval()), wanted, atol=1e-4)
    assert model.dtype == torch.float32
    assert AutoTokenizer.from_pretrained(out).chat_template == tiny.TEMPLATE
    assert (out / "generation_config.json").is_file()
    for file in out.glob("*.json"):
        text = file.read_text("utf-8")
        assert str(tmp_path) not in text and str(llama_folder) not in text
    assert [path.name for path in out.parent.iterdir()] == ["merged"]
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}


def test_merge_without_disk_space_is_refused(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    adapter = folders.find("notes")
    base = load_base(adapter)
    monkeypatch.setattr("lmtui.cache_dir.free_bytes", lambda folder: 1000)
    with pytest.raises(LmtuiError, match="the disk is full"):
        merge.write_merged(base, adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
