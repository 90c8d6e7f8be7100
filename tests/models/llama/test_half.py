"""Models whose weights are run as they lie in the user's files, or exactly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmtui.engine.engine import LocalEngine
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from lmtui.kernels import build, compiler
from lmtui.models import hardware
from lmtui.models.llama import cache
from lmtui.models.llama.load import FallbackReason, load_quantized
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel
from tests.models import tiny

needs_compiler = pytest.mark.skipif(
    compiler.compiler_id() is None, reason="there is no C++ compiler"
)
HEAD_DIM = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_brief(tmp_path_factory.mktemp("brief"), "llama", torch.bfloat16)


@pytest.fixture(autouse=True)
def _home(home: Path, built: Path) -> None:
    """What is compiled once is there for every test."""
    shutil.copytree(built, home)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("built") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(home))
        home.mkdir()
        if compiler.compiler_id() is not None:
            build.library_for([HEAD_DIM])
    return home


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A folder that can be changed."""
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def loaded(place: Path, **more: Any) -> LoadedModel:
    return load(str(place), device="cpu", **({"quantize": "auto"} | more))


def logprobs(found: LoadedModel) -> torch.Tensor:
    """[n, V]"""
    engine = LocalEngine(found)
    ids = engine.encode(tiny.TEXT * 3).ids
    return torch.cat(list(engine.backend.all_logits(ids))).double().log_softmax(-1)


def divergence(place: Path) -> float:
    """Mean KL of what is run from the exact path, in nats."""
    exact, found = logprobs(loaded(place, quantize="none")), logprobs(loaded(place))
    return float((exact.exp() * (exact - found)).sum(-1).mean())


@needs_compiler
@pytest.mark.parametrize(
    ("family", "dtype", "options"),
    [
        ("llama", torch.bfloat16, {"tie_word_embeddings": True}),
        ("llama", torch.float16, {}),
        ("mistral", torch.bfloat16, {"sliding_window": None}),
        ("qwen2", torch.float16, {"tie_word_embeddings": True}),
        ("qwen3", torch.bfloat16, {"head_dim": 32}),
    ],
)
def test_half_model_agrees_with_the_exact_path(
    family: str,
    dtype: torch.dtype,
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = tiny.save_brief(tmp_path / "m", family, dtype, **options)
    found, exact = loaded(place), loaded(place, quantize="none")
    assert (found.precision, found.why) == ("fast", "")
    assert found.number_format == str(dtype).removeprefix("torch.")
    assert exact.precision == "exact"
    one, other = LocalEngine(found), LocalEngine(exact)
    for name in ("architecture", "parameters", "vocabulary", "context", "has_template"):
        assert getattr(one.info, name) == getattr(other.info, name)
    assert one.end_ids == other.end_ids
    talk = [ChatTurn("user", "the fox <|im_end|>"), ChatTurn("assistant", "ça va?")]
    assert one.prompt(talk) == other.prompt(talk)
    assert divergence(place) < 1e-3
    monkeypatch.setattr(hardware, "fast_at_bfloat16", lambda device: False)
    assert divergence(place) < 1e-5  # what attention rounds to float16


@needs_compiler
def test_weights_in_several_files_load_as_one_model(tmp_path: Path) -> None:
    one = tiny.save_brief(tmp_path / "one", "llama", torch.bfloat16)
    several = tiny.save_brief(
        tmp_path / "several", "llama", torch.bfloat16, max_shard_size="40KB"
    )
    assert len(list(several.glob("*.safetensors"))) > 2
    assert torch.equal(logprobs(loaded(one)), logprobs(loaded(several)))


@needs_compiler
def test_weights_are_mapped_from_the_users_file(folder: Path) -> None:
    found = loaded(folder)
    kept = sum(file.stat().st_size for file in found.folder.iterdir())
    assert not list(found.folder.glob("*.safetensors"))
    assert kept < 100_000
    places = Path("/proc/self/maps")
    if not places.exists():
        pytest.skip("what is mapped is not told here")
    head = found.model.weights.embedding.matrix.data
    (line,) = (
        line
        for line in places.read_text().splitlines()
        if "-" in line
        and int(line.partition("-")[0], 16) <= head.data_ptr()
        and head.data_ptr() < int(line.split()[0].partition("-")[2], 16)
    )
    assert line.endswith("model.safetensors")


@needs_compiler
def test_changed_weights_file_is_loaded_anew(copied: Path) -> None:
    before = loaded(copied)
    wanted = logprobs(before)
    file = copied / "model.safetensors"
    tensors = {name: tensor * 1.5 for name, tensor in load_file(file).items()}
    file.unlink()
    save_file(tensors, file)
    after = loaded(copied)
    assert after.folder != before.folder
    assert not torch.equal(logprobs(after), wanted)
    template = copied / "chat_template.jinja"
    template.write_text("another")
    assert loaded(copied).tokenizer.chat_template == "another"


@pytest.mark.parametrize("harm", ["cut", "gone", "no header", "no tensor", "odd"])
@pytest.mark.parametrize("before", [False, True])
def test_damaged_files_end_as_on_the_exact_path(
    harm: str, before: bool, copied: Path
) -> None:
    file = copied / "model.safetensors"
    if before:
        loaded(copied)
    content = file.read_bytes()
    file.unlink()
    match harm:
        case "cut":
            file.write_bytes(content[:-100])
        case "no header":
            file.write_bytes(b"\xff" * len(content))
        case "no tensor":
            file.write_bytes(content)
            tensors = load_file(file)
            del tensors["model.layers.1.mlp.up_proj.weight"]
            file.unlink()
            save_file(tensors, file)
        case "odd":  # every tensor begins at an odd place, which is allowed
            size = int.from_bytes(content[:8], "little")
            header = content[8 : 8 + size] + b" "
            odd = len(header).to_bytes(8, "little") + header + content[8 + size :]
            file.write_bytes(odd)
    told = []
    for quantize in ("none", "auto"):
        try:
            told.append(str(len(logprobs(loaded(copied, quantize=quantize)))))
        except LmtuiError as error:
            told.append(str(error))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model_type": "gpt2"}, "not shaped like Llama"),
        ({"quantization_config": {"quant_method": "x"}}, "that is not supported"),
    ],
)
def test_unsupported_models_fall_back_with_a_reason(
    changes: dict[str, Any], why: str, copied: Path
) -> None:
    config = copied / "config.json"
    about = json.loads(config.read_text())
    config.write_text(json.dumps(about | changes))
    found = load_quantized("m", copied, tiny.how())
    assert isinstance(found, FallbackReason)
    assert why in found.words


@needs_compiler
def test_model_with_a_float32_matrix_runs_exactly(copied: Path) -> None:
    file = copied / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["lm_head.weight"].float()
    file.unlink()
    save_file(tensors, file, {"format": "pt"})
    found = loaded(copied)
    assert (found.precision, found.is_llama) == ("exact", False)
    assert "lm_head.weight is torch.float32" in found.why


@needs_compiler
def test_tied_model_with_another_output_layer_runs_exactly(copied: Path) -> None:
    file, config = copied / "model.safetensors", copied / "config.json"
    tensors, about = load_file(file), json.loads(config.read_text())
    embedding = tensors["model.embed_tokens.weight"]
    config.write_text(json.dumps(about | {"tie_word_embeddings": True}))
    exactly(copied, "its output layer")
    file.unlink()
    tensors["lm_head.weight"] = embedding.clone()
    save_file(tensors, file, {"format": "pt"})
    assert loaded(copied).precision == "fast"


def exactly(place: Path, why: str) -> None:
    found = loaded(place)
    assert (found.precision, found.number_format) == ("exact", "float32")
    assert why in found.why
    assert why in LocalEngine(found).info.why


def test_quantize_and_dtype_override_the_half_path(folder: Path) -> None:
    assert loaded(folder, quantize="none").precision == "exact"
    assert loaded(folder, quantize="int8").number_format == "Q8_0"
    assert loaded(folder, dtype="bfloat16").number_format == "bfloat16"
    assert not loaded(folder, dtype="bfloat16").is_llama


def test_failing_compiler_is_not_run_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(build.root(), ignore_errors=True)
    broken = tmp_path / "c++"
    broken.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/asked\necho tired >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    exactly(folder, "its kernels can't be compiled: tired")
    asked = (tmp_path / "asked").read_text()
    exactly(folder, "its kernels can't be compiled: tired")
    assert (tmp_path / "asked").read_text() == asked
    assert list(build.failures(str(compiler.compiler_id())).values()) == ["tired"]
    assert build.failures("another") == {}


def test_stopped_compiler_is_run_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(build.root(), ignore_errors=True)
    stopped = tmp_path / "c++"
    stopped.write_text("#!/bin/sh\nkill -INT $$\n")
    stopped.chmod(0o755)
    monkeypatch.setenv("CXX", str(stopped))
    exactly(folder, "its kernels can't be compiled: the compiler was stopped")
    assert build.failures(str(compiler.compiler_id())) == {}


@needs_compiler
@pytest.mark.parametrize("harm", ["cut", "overwritten"])
def test_damaged_library_is_compiled_again(harm: str, folder: Path) -> None:
    library = build.library_for([HEAD_DIM])
    whole = library.read_bytes()
    library.unlink()
    library.write_bytes(whole[:-1000] if harm == "cut" else b"x" * len(whole))
    assert LocalEngine(loaded(folder)).info.precision == "fast"
    assert loaded(folder).precision == "fast"
    assert len(build.library_for([HEAD_DIM]).read_bytes()) == len(whole)


@needs_compiler
def test_damaged_packed_folder_is_made_again(folder: Path) -> None:
    kept = loaded(folder).folder
    wanted = logprobs(loaded(folder))
    for name, content in (("config.json", b"["), ("tokenizer.json", b"{}")):
        size = (kept / name).stat().st_size
        (kept / name).write_bytes(content.ljust(size))
        assert torch.equal(logprobs(loaded(folder)), wanted)
        assert cache.is_complete(kept)


@needs_compiler
def test_unwritable_kernel_cache_runs_exactly(folder: Path) -> None:
    shutil.rmtree(build.root())
    build.root().write_text("not a folder")
    exactly(folder, "can't be kept")
