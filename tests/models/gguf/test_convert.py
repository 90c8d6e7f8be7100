"""What the libraries are told of a GGUF header is what they would read themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import transformers.modeling_gguf_pytorch_utils as legacy
from gguf import GGUFReader, GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers.integrations.gguf import gguf_tokenizer_mapping, reader

from lmtui.models.gguf.convert import read_once
from lmtui.models.gguf.header import read_gguf_header
from tests.examples import examples
from tests.models import tiny

ARRAYS = ("tokenizer.ggml.tokens", "tokenizer.ggml.merges", "any.texts")


def outcome(read: Callable[[], Any]) -> str:
    """What comes of reading, with all types to be seen; of an error, its kind."""
    try:
        return repr(read())
    except Exception as error:
        return type(error).__name__


def readings(file: Path) -> list[str]:
    """All that the libraries' functions say of a file."""
    place = str(file)
    return [
        outcome(lambda: legacy.load_gguf_checkpoint(place)),
        outcome(lambda: reader.read_gguf_metadata(place)),
        outcome(lambda: reader.read_gguf_metadata(place, ARRAYS)),
        outcome(lambda: gguf_tokenizer_mapping.get_gguf_tokenizer(place)),
    ]


def check(file: Path) -> list[str]:
    wanted = readings(file)
    with read_once(read_gguf_header(file)):
        assert readings(file) == wanted
    return wanted


def test_readings_of_a_model_are_the_same_with_read_once(llama_gguf: Path) -> None:
    assert "'hidden_size'" in check(llama_gguf)[0]


@pytest.mark.real
def test_readings_of_the_default_model_are_the_same_with_read_once(
    default_home: Path,
) -> None:
    (file,) = (default_home / "models").glob("*.gguf")
    assert "'vocab_size': 49152" in check(file)[0]


def test_read_once_restores_the_readers_of_the_libraries(llama_gguf: Path) -> None:
    before = legacy.load_gguf_checkpoint, reader.read_gguf_metadata, gguf.GGUFReader
    with pytest.raises(KeyError), read_once(read_gguf_header(llama_gguf)):
        legacy.load_gguf_checkpoint(str(llama_gguf))
        raise KeyError
    now = legacy.load_gguf_checkpoint, reader.read_gguf_metadata, gguf.GGUFReader
    assert now == before


def test_read_once_keeps_the_libraries_from_reading_the_header(
    llama_gguf: Path, monkeypatch
) -> None:
    header = read_gguf_header(llama_gguf)

    def refuse(*args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(GGUFReader, "__init__", refuse)
    monkeypatch.setattr(reader, "_read_metadata", refuse)
    with read_once(header):
        assert "AssertionError" not in readings(llama_gguf)
    assert "AssertionError" in readings(llama_gguf)


def test_read_once_results_survive_changes_by_their_reader(llama_gguf: Path) -> None:
    with read_once(read_gguf_header(llama_gguf)):
        first = legacy.load_gguf_checkpoint(str(llama_gguf))
        wanted = repr(first)
        first["config"].clear()
        first.pop("tokenizer")
        assert repr(legacy.load_gguf_checkpoint(str(llama_gguf))) == wanted


def write(file: Path, architecture: str, pairs: dict[str, Any], tensors: int) -> None:
    writer = GGUFWriter(file, architecture)
    for key, value in pairs.items():
        match value:
            case list():
                writer.add_array(key, value)
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case float():
                writer.add_float32(key, value)
            case _:
                writer.add_string(key, value)
    for index in range(tensors):
        writer.add_tensor(f"blk.{index}.t", np.zeros(4, np.float32))
    tiny.finish(writer)


numbers = st.integers(0, 2**31 - 1)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
texts = st.text(max_size=8)
scalars = st.one_of(numbers, floats, st.booleans(), texts)
arrays = st.one_of(
    st.lists(texts, min_size=1, max_size=5),
    st.lists(numbers, min_size=1, max_size=5),
    st.lists(floats, min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=1, max_size=5),
)
SUFFIXES = (
    "context_length",
    "block_count",
    "embedding_length",
    "attention.head_count_kv",
    "attention.key_length",
    "rope.dimension_count",
    "rope.freq_base",
    "vocab_size",
)


@settings(
    max_examples=examples(120, 1000),
    deadline=None,
    suppress_health_check=[*HealthCheck],
)
@given(
    architecture=st.sampled_from(
        ["llama", "qwen2", "qwen3", "mistral", "gemma3", "gpt-oss", "lfm2", "dreamtup"]
    ),
    data=st.data(),
)
def test_readings_of_any_header_are_the_same_with_read_once(
    architecture: str, data: st.DataObject, tmp_path: Path
) -> None:
    names = [f"{architecture}.{suffix}" for suffix in SUFFIXES]
    kinds = [f"tokenizer.ggml.{name}" for name in ("model", "pre", "bos_token_id")]
    keys = st.sampled_from([*names, *kinds, *ARRAYS, "general.name", "any.thing"])
    pairs = st.dictionaries(keys, st.one_of(scalars, arrays), max_size=8)
    file = tmp_path / "x.gguf"
    write(file, architecture, data.draw(pairs), data.draw(st.integers(0, 2)))
    check(file)


@pytest.mark.parametrize("key", ["tokenizer.ggml.model", "any.texts"])
def test_texts_that_are_not_utf8_fail_alike_with_read_once(
    key: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.gguf"
    value = ["a", "bad!"] if key == "any.texts" else "bad!"
    write(file, "llama", {key: value}, 1)
    file.write_bytes(file.read_bytes().replace(b"bad!", b"bad\xff"))
    assert "UnicodeDecodeError" in check(file)


@pytest.mark.parametrize(
    ("module", "name"),
    [(reader, "read_gguf_metadata"), (legacy, "load_gguf_checkpoint")],
)
def test_read_once_leaves_unknown_library_versions_alone(
    module: Any, name: str, llama_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module, name)
    before = vars(reader).copy(), vars(legacy).copy()
    with read_once(read_gguf_header(llama_gguf)):
        assert (vars(reader), vars(legacy)) == before
