"""A GGUF header is read right, and a hostile one can do no harm."""

from __future__ import annotations

import random
import struct
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmtui.errors import LmtuiError
from lmtui.models.gguf.config_check import read_gguf_model
from lmtui.models.gguf.header import GgufArray, read_gguf_header
from lmtui.models.gguf.tensors import GgufTensors
from tests.examples import examples
from tests.models import tiny

U32, U64 = struct.Struct("<I"), struct.Struct("<Q")


def test_header_equals_what_gguf_reader_reads(llama_gguf: Path):
    header, reader = read_gguf_header(llama_gguf), GGUFReader(llama_gguf)
    assert header.architecture == "llama"
    assert header.name == "Tiny Llama"
    assert header.context == 128
    assert header.quantisation == "F32"
    assert header.has_template
    tokens = header.pairs["tokenizer.ggml.tokens"]
    assert isinstance(tokens, GgufArray)
    assert tokens.count == len(tiny.tokenizer())
    ours = [(t.name, t.shape, t.bytes, t.offset) for t in header.tensors]
    theirs = [
        (t.name, tuple(map(int, t.shape)), int(t.n_bytes), int(t.data_offset))
        for t in reader.tensors
    ]
    assert ours == theirs
    assert header.parameters == sum(int(np.prod(t.shape)) for t in reader.tensors)


def test_header_names_the_quantisation(llama_folder: Path, tmp_path: Path):
    header = read_gguf_header(tiny.write_gguf(llama_folder, tmp_path / "q", "Q8_0"))
    assert header.quantisation == "Q8_0, F32"


def test_text_file_named_gguf_is_refused(tmp_path: Path):
    file = tmp_path / "notes.gguf"
    file.write_text("Dear diary")
    with pytest.raises(LmtuiError) as caught:
        read_gguf_header(file)
    assert caught.value.title == "this is not a GGUF file"
    assert "Dear" in caught.value.detail
    assert "begins with GGUF" in caught.value.hint


def test_empty_gguf_file_is_refused(tmp_path: Path):
    file = tmp_path / "empty.gguf"
    file.touch()
    with pytest.raises(LmtuiError, match="it is empty"):
        read_gguf_header(file)


@pytest.mark.parametrize("part", [0.001, 0.5, 0.9, 0.9999])
def test_truncated_gguf_file_is_refused(part: float, llama_gguf: Path, tmp_path: Path):
    whole = llama_gguf.read_bytes()
    file = tmp_path / "cut.gguf"
    file.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(LmtuiError) as caught:
        read_gguf_header(file)
    assert caught.value.title == "this GGUF file is damaged or cut short"
    assert "again" in caught.value.hint


def text(word: str) -> bytes:
    return U64.pack(len(word)) + word.encode()


def tensor(name: str, shape: tuple[int, ...], offset: int, kind: int = 0) -> bytes:
    dims = b"".join(map(U64.pack, shape))
    return text(name) + U32.pack(len(shape)) + dims + U32.pack(kind) + U64.pack(offset)


def gguf(body: bytes, tensors: int = 0, pairs: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + U32.pack(version) + U64.pack(tensors) + U64.pack(pairs) + body


HUGE = 2**62
HOSTILE = {
    "key-value pairs": gguf(b"", pairs=HUGE),
    "tensors": gguf(b"", tensors=HUGE),
    "a name of": gguf(U64.pack(HUGE), pairs=1),
    "inside its header": gguf(text("k") + U32.pack(8) + U64.pack(HUGE), pairs=1),
    "an array of": gguf(text("k") + U32.pack(9) + U32.pack(8) + U64.pack(HUGE), 0, 1),
    "items of type 9": gguf(text("k") + U32.pack(9) + U32.pack(9) + U64.pack(1), 0, 1),
    "unknown type, 77": gguf(text("k") + U32.pack(77), pairs=1),
    "twice": gguf((text("k") + U32.pack(0) + b"x") * 2, pairs=2),
    "dimensions": gguf(text("t") + U32.pack(99), tensors=1),
    "unknown type, 4444": gguf(tensor("t", (32,), 0, 4444), tensors=1),
    "does not fit its type": gguf(tensor("t", (31,), 0, 2), tensors=1),
    "or place": gguf(tensor("t", (1,), 7), tensors=1),
    "bytes of": gguf(tensor("t", (HUGE, HUGE, HUGE), 0), tensors=1),
    "the same name": gguf(tensor("t", (1,), 0) * 2 + bytes(256), tensors=2),
    "overlap": gguf(
        tensor("a", (16,), 0) + tensor("b", (16,), 0) + bytes(96), tensors=2
    ),
    "alignment": gguf(text("general.alignment") + U32.pack(4) + U32.pack(0), pairs=1),
}


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_gguf_header_is_refused(words: str, tmp_path: Path):
    file = tmp_path / "hostile.gguf"
    file.write_bytes(HOSTILE[words])
    with pytest.raises(LmtuiError, match="damaged or cut short") as caught:
        read_gguf_header(file)
    assert words in caught.value.detail


UNSUPPORTED = {
    "version 99 of the format": gguf(b"", version=99),
    "version 50,331,648": gguf(b"", version=3 << 24),
    "5,000 key-value pairs; more than 4,096 are not read": gguf(
        b"".join(text(f"k{n}") + U32.pack(0) + b"x" for n in range(5000)), pairs=5000
    ),
}


@pytest.mark.parametrize("words", UNSUPPORTED)
def test_file_that_is_whole_but_not_supported_is_not_called_damaged(
    words: str, tmp_path: Path
) -> None:
    file = tmp_path / "other.gguf"
    file.write_bytes(UNSUPPORTED[words])
    with pytest.raises(LmtuiError, match="is not supported") as caught:
        read_gguf_header(file)
    assert words in caught.value.detail
    assert "newer lmtui" in caught.value.hint


def header_or_error(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    try:
        header = read_gguf_header(file)
    except LmtuiError:
        return
    assert sum(tensor.bytes for tensor in header.tensors) <= len(data)
    assert all(t.offset + t.bytes <= len(data) for t in header.tensors)


FUZZ = settings(
    max_examples=examples(100, 1000),
    deadline=2000,  # milliseconds
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(data=st.data())
def test_damage_gives_an_error_or_a_header(data, llama_gguf: Path, tmp_path: Path):
    whole = bytearray(llama_gguf.read_bytes())
    reach = st.integers(0, min(len(whole) - 1, 20_000))  # the header and a bit more
    for at in data.draw(st.lists(reach, max_size=8)):
        whole[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    header_or_error(tmp_path / "f", bytes(whole[:end]))


@FUZZ
@given(body=st.binary(max_size=400), tensors=st.integers(0, 3), pairs=st.integers(0, 3))
def test_noise_gives_an_error_or_a_header(body, tensors, pairs, tmp_path: Path):
    header_or_error(tmp_path / "f", gguf(body, tensors, pairs))


def test_mutated_headers_are_refused_or_read(
    llama_folder: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    whole = tiny.write_gguf(llama_folder, tmp_path / "whole", "Q8_0").read_bytes()
    end = read_gguf_header(tmp_path / "whole").tensors[0].offset
    chance = random.Random(1)
    outcomes: Counter[str] = Counter()
    tracemalloc.start()
    for _ in range(10_000 if pytestconfig.getoption("--full") else 500):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(4, end - 8)
            value = chance.choice([0, 1, 255, 2**31, 2**63, 2**64 - 1, at, len(whole)])
            size = chance.choice([1, 4, 8])
            data[at : at + size] = (value % 256**size).to_bytes(size, "little")
        file = tmp_path / "mutated"
        file.write_bytes(data)
        try:
            header = read_gguf_header(file)
        except LmtuiError as error:
            assert error.hint
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        tensors = GgufTensors(header)
        for tensor in filter(lambda t: t.bytes, header.tensors[:4]):
            rows = tensors.floats(tensor.name)
            assert rows.numel() * 4 <= 8 * len(whole)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 * len(whole)
    assert min(outcomes["refused"], outcomes["read"]) > 20


def test_many_keys_are_checked_in_linear_time(
    llama_folder: Path, tmp_path: Path
) -> None:
    def calls(keys: int) -> int:
        def add(writer: GGUFWriter) -> None:
            for key in range(keys):
                writer.add_uint32(f"k{key}", key)

        file = tiny.write_gguf(llama_folder, tmp_path / f"{keys}", change=add)
        count = 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(counted)
        try:
            read_gguf_model(file)
        finally:
            sys.setprofile(None)
        return count

    assert calls(2000) < 3 * calls(1000)
