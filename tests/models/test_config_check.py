"""Model files whose numbers don't go with their tensors are refused at once."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lmtui.errors import LmtuiError
from lmtui.models.load import load
from tests.models import mutations, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def q8(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    target = tmp_path_factory.mktemp("gguf") / "q8.gguf"
    return tiny.write_gguf(folder, target, "Q8_0").read_bytes()


def refused(place: Path, quantize: Any) -> LmtuiError:
    with pytest.raises(LmtuiError) as caught:
        load(str(place), device="cpu", quantize=quantize)
    assert caught.value.hint
    return caught.value


NUMBERS = {
    "rope.dimension_count": (2**31, 32, 15, 0),
    "block_count": (0, 1, 3, 127, 2**31, 2**32 - 1),
    "attention.layer_norm_rms_epsilon": (-1e-5, 0.0, float("nan"), float("inf")),
    "embedding_length": (0, 63, 128, 2**31),
    "attention.head_count": (0, 3, 2**31),
    "attention.head_count_kv": (0, 3, 8),
    "feed_forward_length": (192, 2**31),
    "context_length": (0, 2**31),
    "vocab_size": (2**31,),
    "rope.freq_base": (0.0, float("nan")),
}


@pytest.mark.parametrize("quantize", ["auto", "none"])
@pytest.mark.parametrize("key", NUMBERS)
def test_contradictory_gguf_header_is_refused(
    key: str, quantize: str, q8: bytes, tmp_path: Path
) -> None:
    for value in NUMBERS[key]:
        file = tmp_path / "bad.gguf"
        file.write_bytes(mutations.with_number(q8, f"llama.{key}", value))
        error = refused(file, quantize)
        assert error.title == "this GGUF file contradicts itself"
        assert str(file) in error.detail


CONFIGS: tuple[dict[str, Any], ...] = (
    {"num_hidden_layers": 10**7},
    {"num_hidden_layers": 3},
    {"num_hidden_layers": 1},
    {"num_hidden_layers": 0},
    {"num_hidden_layers": -1},
    {"vocab_size": 10**9},
    {"hidden_size": 10**9},
    {"intermediate_size": 10**9},
    {"num_attention_heads": 10**9, "head_dim": 2},
    {"head_dim": 2**31},
    {"rms_norm_eps": -1.0},
    {"max_position_embeddings": 10**12},
    {"text_config": {"num_hidden_layers": 10**7}},
)


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_configuration_that_contradicts_the_weights_is_refused(
    changes: dict[str, Any], quantize: str, folder: Path, tmp_path: Path
) -> None:
    copy = changed(folder, tmp_path, **changes)
    title = refused(copy, quantize).title
    assert title in (
        "the weights don't belong to this model",
        "this model can't be loaded",
    )


def changed(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    config = json.loads((copy / "config.json").read_bytes()) | changes
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation"])
def test_attention_implementation_named_by_a_file_is_ignored(
    key: str, folder: Path, tmp_path: Path
) -> None:
    wanted = load(str(folder), device="cpu")
    copy = changed(folder, tmp_path, **{key: "evil/kernel"})
    found = load(str(copy), device="cpu")
    assert found.model.config._attn_implementation in ("sdpa", "eager")
    assert torch.equal(
        tiny.logits(found.model, found.tokenizer),
        tiny.logits(wanted.model, wanted.tokenizer),
    )


HEADERS: dict[str, dict[str, Any]] = {
    "integers": {"dtype": "I32"},
    "8 bits": {"dtype": "F8_E4M3"},
    "unknown": {"dtype": "F33"},
    "no number": {"shape": [float("nan"), 64]},
    "a fraction": {"shape": [0.5, 64]},
    "negative": {"shape": [-1, -20480]},
    "too large": {"shape": [2**31, 2**31]},
    "elsewhere": {"data_offsets": [0, 4]},
}


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_contradictory_safetensors_header_is_refused(
    change: dict[str, Any], quantize: str, folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    file = copy / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["model.layers.0.self_attn.q_proj.weight"] |= change
    written = json.dumps(header).encode()
    rest = data[8 + length :]
    file.write_bytes(len(written).to_bytes(8, "little") + written + rest)
    refused(copy, quantize)


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float8_e4m3fn])
def test_weights_of_unsupported_dtypes_are_refused(
    dtype: torch.dtype, quantize: str, folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    file = copy / "model.safetensors"
    save_file({k: v.to(dtype) for k, v in load_file(file).items()}, file)
    refused(copy, quantize)


@pytest.mark.parametrize("name", ["chat_template.jinja", "config.json", "x.json"])
def test_pipe_among_the_model_files_is_refused(
    name: str, folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    for quantize in ("none", "int8", "auto"):
        assert "no ordinary file" in refused(copy, quantize).detail


@pytest.mark.parametrize("quantize", ["auto", "none"])
@pytest.mark.parametrize(
    "labels",
    [
        {"num_labels": 2_000_000},
        {"num_labels": -1, "id2label": {"x": "y"}, "label2id": 3},
    ],
)
def test_labels_of_classes_are_left_out(
    folder: Path, tmp_path: Path, labels: dict[str, Any], quantize: str
) -> None:
    place = shutil.copytree(folder, tmp_path / "model")
    file = place / "config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | labels))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = load(str(place), device="cpu", quantize=quantize).model
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert taken < 150_000_000  # a label takes more than 100 bytes
    assert quantize == "auto" or model.config.num_labels == 2


def test_far_too_long_configuration_and_header_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(folder, tmp_path / "model")
    long = {f"{number}": "x" * 100 for number in range(100_000)}
    config = json.loads((place / "config.json").read_bytes())
    (place / "config.json").write_text(json.dumps(config | {"other": long}))
    assert "bytes" in refused(place, "none").detail
    (place / "config.json").write_text(json.dumps(config))
    weights = (place / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8:end]) | {"__metadata__": long}
    written = json.dumps(header).encode()
    (place / "model.safetensors").write_bytes(
        len(written).to_bytes(8, "little") + written + weights[end:]
    )
    assert refused(place, "none").title == "a weights file is damaged or cut short"
