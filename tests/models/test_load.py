"""From a name to a model that runs, and the errors on the way."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaForCausalLM,
)

from lmtui import cache_dir, processes
from lmtui.errors import LmtuiError
from lmtui.models import hardware
from lmtui.models.load import load
from lmtui.models.progress import Progress
from tests.models import tiny


def refused(spec: Path, **options) -> LmtuiError:
    with pytest.raises(LmtuiError) as caught:
        load(str(spec), **options)
    return caught.value


@pytest.fixture
def folder(llama_folder: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(llama_folder, tmp_path / "model"))


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def reference(folder: Path) -> torch.Tensor:
    model = LlamaForCausalLM.from_pretrained(folder).eval()
    return tiny.logits(model, tiny.tokenizer())


def test_folder_loads_as_an_exact_model(llama_folder: Path):
    loaded = load(str(llama_folder), device="cpu", threads=1)
    assert loaded.name == str(llama_folder)
    assert loaded.folder == llama_folder
    assert (loaded.precision, loaded.dtype) == ("exact", torch.float32)
    assert loaded.threads == torch.get_num_threads() == 1
    assert not loaded.model.training
    assert loaded.tokenizer.is_fast
    assert loaded.tokenizer.chat_template == tiny.TEMPLATE
    found = tiny.logits(loaded.model, loaded.tokenizer)
    assert torch.equal(found, reference(llama_folder))


def test_a_reduced_dtype_is_the_fast_path(llama_folder: Path):
    loaded = load(str(llama_folder), device="cpu", dtype="bfloat16")
    assert (loaded.precision, loaded.dtype) == ("fast", torch.bfloat16)


def test_folder_in_parts_loads_as_the_whole_model(tmp_path: Path, llama_folder: Path):
    parts = tiny.save_llama(tmp_path / "parts", max_shard_size="100kB")
    loaded = load(str(parts), device="cpu")
    assert torch.equal(
        tiny.logits(loaded.model, loaded.tokenizer), reference(llama_folder)
    )


def test_gguf_file_loads_as_the_same_model_and_leaves_no_weights(
    llama_gguf: Path, llama_folder: Path, capfd: pytest.CaptureFixture[str]
):
    seen: list[Progress] = []
    first = load(str(llama_gguf), device="cpu", on_progress=seen.append)
    told = [progress.what for progress in seen]
    assert f"loading {llama_gguf.stem}" in told  # not its whole path
    assert not any(str(llama_gguf.parent) in what for what in told)
    second = load(str(llama_gguf), device="cpu")
    assert capfd.readouterr() == ("", "")
    wanted = reference(llama_folder)
    for loaded in (first, second):
        assert loaded.tokenizer.chat_template == tiny.TEMPLATE
        found = tiny.logits(loaded.model, loaded.tokenizer)
        assert torch.allclose(found, wanted, atol=1e-5)
        ids = loaded.tokenizer(tiny.TEXT, add_special_tokens=False).input_ids
        assert ids == tiny.tokenizer()(tiny.TEXT, add_special_tokens=False).input_ids
    kept = [file.name for file in cache_dir.root("packed").glob("*/*")]
    assert "tokenizer.json" in kept
    assert not [name for name in kept if name.endswith((".safetensors", ".gguf"))]


@pytest.mark.parametrize("damage", ["cut", "missing", "manifest", "other version"])
def test_damaged_cached_tokenizer_is_made_again(damage: str, llama_gguf, llama_folder):
    load(str(llama_gguf), device="cpu")
    (kept,) = cache_dir.root("packed").glob("*-stored")
    tokenizer, manifest = kept / "tokenizer.json", kept / "lmtui.json"
    match damage:
        case "cut":
            tokenizer.write_bytes(tokenizer.read_bytes()[:1000])
        case "missing":
            tokenizer.unlink()
        case "manifest":
            manifest.write_text("{")
        case _:
            about = json.loads(manifest.read_text()) | {"gguf": "0"}
            manifest.write_text(json.dumps(about))
    loaded = load(str(llama_gguf), device="cpu")
    found = tiny.logits(loaded.model, loaded.tokenizer)
    assert torch.allclose(found, reference(llama_folder), atol=1e-5)
    assert tokenizer.is_file()


def test_neighbours_of_a_gguf_file_are_not_read(llama_gguf: Path, tmp_path: Path):
    file = Path(shutil.copy(llama_gguf, tmp_path))
    (tmp_path / "config.json").write_text("{nonsense")
    (tmp_path / "chat_template.jinja").write_text("another")
    assert load(str(file), device="cpu").tokenizer.chat_template == tiny.TEMPLATE


@pytest.fixture(params=["full", "unwritable"])
def bad_cache(request, tmp_path: Path, monkeypatch) -> str:
    """A home that keeps no copy; what is said of it."""
    if request.param == "unwritable":
        (tmp_path / "file").touch()
        monkeypatch.setenv("LMTUI_HOME", str(tmp_path / "file" / "home"))
        return "can't be written to"
    small_disk = request.getfixturevalue("small_disk")
    monkeypatch.setenv("LMTUI_HOME", str(small_disk(1_000)))
    return "the disk is full"


def test_cache_that_keeps_nothing_costs_a_warning(
    bad_cache: str, llama_gguf: Path, llama_folder: Path
):
    seen: list[Progress] = []
    loaded = load(str(llama_gguf), device="cpu", on_progress=seen.append)
    found = tiny.logits(loaded.model, loaded.tokenizer)
    assert torch.allclose(found, reference(llama_folder), atol=1e-5)
    assert not list(cache_dir.root("packed").glob("*"))
    assert not list(cache_dir.root("packed").glob(".*"))
    (warning,) = [p.what for p in seen if p.warning]
    assert bad_cache in warning


@pytest.mark.parametrize("name", ["cuda:7", "mps", "tpu", "cpu:3", ""])
def test_unknown_device_is_refused(name: str, llama_folder: Path):
    if name in hardware.devices():
        pytest.skip("this machine has it")
    error = refused(llama_folder, device=name)
    assert "device" in error.title
    assert error.hint.startswith("Give one of: auto, ")
    assert "cpu" in error.hint


def test_unknown_dtype_is_refused(llama_folder: Path):
    assert "bfloat16" in refused(llama_folder, dtype="int3").hint


@pytest.mark.parametrize("threads", [0, 20_000, 1_000_000])
def test_threads_that_do_not_fit_the_machine_are_refused(
    threads: int, llama_folder: Path
):
    error = refused(llama_folder, threads=threads)
    assert error.title == "threads is out of range"
    assert error.hint.endswith(f"from 1 to {2 * processes.usable_processors()}.")


def test_model_too_large_for_the_memory_is_refused(
    llama_folder, llama_gguf, monkeypatch
):
    monkeypatch.setattr(hardware, "available_ram", lambda: 1_000_000)
    for spec in (llama_folder, llama_gguf):
        error = refused(spec, device="cpu")
        assert error.title == "this model is too large for the free memory"
        assert "1.0 MB are free" in error.detail
        assert error.hint


def test_folder_without_a_tokenizer_is_refused(folder: Path):
    (folder / "tokenizer.json").unlink()
    error = refused(folder)
    assert error.title == "this model has no tokenizer"
    assert "tokenizer.json" in error.hint


def test_broken_tokenizer_is_refused(folder: Path):
    (folder / "tokenizer.json").write_text("{}")
    assert refused(folder).title in (
        "the model's tokenizer can't be loaded",
        "this model can't be loaded",
    )


def test_slow_tokenizer_is_refused(folder: Path, monkeypatch):
    class Slow:
        is_fast = False

    monkeypatch.setattr("lmtui.models.load.library_tokenizer", lambda _: Slow())
    error = refused(folder)
    assert error.title == "this model has only a slow tokenizer"
    assert "tokenizer.json" in error.hint


def test_unknown_architecture_is_refused(folder: Path):
    edit_config(folder, model_type="dreamt-up", architectures=["DreamtUp"])
    error = refused(folder)
    assert error.title == "this kind of model is not supported"
    assert "transformers" in error.hint


def test_code_that_comes_with_a_model_is_not_run(folder: Path):
    code = "modeling_it.It"
    edit_config(folder, model_type="it", auto_map={"AutoModelForCausalLM": code})
    (folder / "modeling_it.py").write_text("raise SystemExit('it ran')")
    assert refused(folder).title in (
        "this model brings code of its own, which is never run",
        "this kind of model is not supported",
    )


def test_masked_language_model_is_refused(tmp_path: Path):
    small = BertConfig(
        vocab_size=320,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertForMaskedLM(small).save_pretrained(tmp_path / "bert")
    tiny.tokenizer().save_pretrained(tmp_path / "bert")
    error = refused(tmp_path / "bert")
    assert error.title == "this is not a causal language model"
    assert "lmtui models list" in error.hint


def test_unknown_gguf_architecture_is_refused(tmp_path: Path):
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "dreamtup")
    writer.add_tensor("a", np.zeros(32, dtype=np.float32))
    tiny.finish(writer)
    error = refused(tmp_path / "x.gguf")
    assert error.title == "this kind of model is not supported"
    assert "dreamtup" in error.detail


def test_load_leaves_the_settings_of_the_libraries(llama_folder: Path):
    from huggingface_hub import constants
    from transformers.utils import logging as library

    before = (library.get_verbosity(), constants.HF_HUB_OFFLINE)
    filters = list(warnings.filters)
    level = logging.getLogger("torch").level
    load(str(llama_folder), device="cpu")
    assert before == (library.get_verbosity(), constants.HF_HUB_OFFLINE)
    assert filters == list(warnings.filters)
    assert level == logging.getLogger("torch").level


NO_NETWORK = """
import socket, sys
def refuse(*a, **k):
    raise SystemExit("the network was used")
socket.getaddrinfo = socket.socket.connect = refuse
from lmtui.models.load import load
load(sys.argv[1], device="cpu")
"""


def test_folder_loads_without_network_or_output(llama_folder: Path):
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK, str(llama_folder)],
        capture_output=True,
        env=os.environ | {"HF_HUB_OFFLINE": ""},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.real
def test_default_model_predicts_paris(default_home: Path, monkeypatch):
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    loaded = load(device="cpu")
    assert loaded.name == "smollm2-135m-instruct"
    assert loaded.precision == "exact"
    ids = loaded.tokenizer("The capital of France is").input_ids
    with torch.inference_mode():
        best = int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax())
    assert loaded.tokenizer.convert_ids_to_tokens(best) == "ĠParis"
