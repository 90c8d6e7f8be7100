"""Tokenizers built from the fields of GGUF files: the tokens are llama.cpp's."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any
from unicodedata import category

import gguf
import pytest
from transformers import LlamaConfig, Qwen2Config

from lmtui.engine.engine import LocalEngine
from lmtui.errors import LmtuiError
from lmtui.models.gguf.generation import generation_config
from lmtui.models.gguf.header import read_array, read_gguf_header
from lmtui.models.gguf.pre_tokenizers import PRE_TOKENIZERS
from lmtui.models.gguf.tokenizer import GgufTokenizer, read_tokenizer, save_tokenizer
from lmtui.models.load import load
from lmtui.models.tokenizer_json import TokenizersTokenizer, library_tokenizer, same_as
from tests.models import tiny
from tests.models.gguf.llama_cpp import fixtures, oracle, vocabularies
from tests.models.gguf.random_texts import random_texts

SAMPLES = Path(__file__).parent / "samples"
TOKENS = json.loads((SAMPLES / "tokens.json").read_text())
NAMES = sorted(TOKENS["vocabularies"])
WAYS = ("as text", "with control tokens")
ASCII_SPACES = ("deepseek-coder", "deepseek-llm", "phi-3")
"""The patterns of DeepSeek take wide spaces for letters, llama.cpp for spaces; and
control tokens of Phi-3 take wide spaces behind them, in llama.cpp those of ASCII."""
UNIGRAM = "nomic-bert-moe"
"""The library normalises a character with its marks at once, and may drop marks."""


def tokenizer(name: str) -> GgufTokenizer:
    return read_tokenizer(read_gguf_header(SAMPLES / f"{name}.gguf"))


def comparable(name: str, texts: list[str]) -> list[str]:
    if name != UNIGRAM:
        return texts
    marks = ("Mn", "Mc", "Me", "Cf")
    return [t for t in texts if not any(category(c) in marks for c in t)]


def ids(read: GgufTokenizer, text: str, *, special: bool) -> list[int]:
    read.backend.encode_special_tokens = not special
    found: list[int] = read.backend.encode(text, add_special_tokens=False).ids
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_those_of_llama_cpp(name: str, way: str) -> None:
    read, known = tokenizer(name), TOKENS["vocabularies"][name]
    texts = [*known["texts"], *TOKENS["texts"]]
    compared = comparable(name, texts)
    assert len(compared) > 100
    for text, wanted in zip(texts, known[way], strict=True):
        if text in compared:
            assert ids(read, text, special=way == WAYS[1]) == wanted, text


@pytest.mark.parametrize("name", NAMES)
def test_saved_tokenizer_is_the_same_in_both_libraries(
    name: str, tmp_path: Path
) -> None:
    save_tokenizer(tokenizer(name), tmp_path)
    Qwen2Config().save_pretrained(tmp_path)  # a type with a tokenizer of its own
    library, light = library_tokenizer(tmp_path), TokenizersTokenizer(tmp_path)
    assert same_as(library, light)
    again = tmp_path / "again"
    library.save_pretrained(again)
    LlamaConfig().save_pretrained(again)
    assert same_as(library_tokenizer(again), TokenizersTokenizer(again))


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize("name", ["llama-spm", "phi-3", "falcon", "llama-bpe", "qwen2"])
def test_loaded_model_reads_texts_as_llama_cpp(
    name: str, quantize: Any, tmp_path: Path
) -> None:
    header = read_gguf_header(SAMPLES / f"{name}.gguf")
    size = len(read_array(header, "tokenizer.ggml.tokens") or [])
    folder = tiny.save_llama(tmp_path / "model", vocabulary=size)
    file = tiny.write_gguf(folder, tmp_path / "it.gguf", vocabulary=header)
    engine = LocalEngine(load(str(file), device="cpu", quantize=quantize))
    known = TOKENS["vocabularies"][name]
    for text, wanted in zip(known["texts"], known["as text"], strict=False):
        assert [*engine.encode(text, bos="no").ids] == wanted, text


@pytest.fixture(scope="session")
def llama_cpp(request: pytest.FixtureRequest) -> Path:
    """What `scripts/llama_cpp` fetches, as `scripts/test --full` does."""
    folder = Path(__file__).parents[3] / ".llama_cpp"
    if not request.config.getoption("--full"):
        pytest.skip("llama.cpp itself is asked with --full")
    if not (folder / ".ready").exists():
        pytest.fail("run scripts/llama_cpp first")
    return folder


def wrong(
    read: GgufTokenizer, folder: Path, file: Path, texts: list[str]
) -> list[tuple[str, list[int], list[int]]]:
    """Texts of which llama.cpp makes other tokens, with ours and its."""
    asked = [(text, bool(i % 2)) for i, text in enumerate(texts)]
    found = [ids(read, text, special=special) for text, special in asked]
    wanted = oracle(folder, file, asked)
    rows = zip(texts, found, wanted, strict=True)
    return [row for row in rows if row[1] != row[2]]


@pytest.mark.parametrize("name", NAMES)
def test_fixtures_and_random_texts_equal_llama_cpp(name: str, llama_cpp: Path) -> None:
    (file,) = (f for f in vocabularies(llama_cpp) if f.stem == f"ggml-vocab-{name}")
    read = read_tokenizer(read_gguf_header(file))
    for text, wanted in fixtures(file):
        assert ids(read, text, special=False) == wanted, text
    texts = random_texts(10_000, seed=2, wide_spaces=name not in ASCII_SPACES)
    assert wrong(read, llama_cpp, file, comparable(name, texts)) == []


FOLLOWS_THE_MODEL = {
    "afmoe": "llama.cpp takes text before digits into their piece",
    "cohere2moe": "llama.cpp does not cut before capitals",
    "kimi-k2": "llama.cpp does not cut before capitals",
    "tiny_aya": "llama.cpp does not cut before capitals",
    "youtu": "llama.cpp knows capitals of ASCII only",
    "tekken": "llama.cpp knows capitals of ASCII only",
    "gpt-4o": "llama.cpp knows capitals of ASCII only",
    "llama4": "llama.cpp knows capitals of ASCII only",
    "kanana2": "llama.cpp knows capitals of ASCII only",
    "talkie": "llama.cpp knows capitals of ASCII only",
    "minimax-m2": "llama.cpp knows capitals of ASCII only",
    "granite-embed-multi-97m": "llama.cpp knows capitals of ASCII only",
    "gemma4": "another kind of vocabulary",
    "granite-embed-multi-311m": "another kind of vocabulary",
    "sarvam-moe": "another kind of vocabulary",
}
"""Names that are not compared with llama.cpp, and why."""


def renamed(vocabulary: Path, name: str, target: Path) -> Path:
    """A vocabulary with another name for its pre-tokenizer."""
    data, key = vocabulary.read_bytes(), b"tokenizer.ggml.pre"
    at = data.index(struct.pack("<Q", len(key)) + key) + 8 + len(key) + 4
    (size,) = struct.unpack_from("<Q", data, at)
    text = struct.pack("<Q", len(name)) + name.encode()
    target.write_bytes(data[:at] + text + data[at + 8 + size :])
    return target


@pytest.mark.parametrize("name", sorted(PRE_TOKENIZERS))
def test_every_pre_tokenizer_keeps_every_character(name: str, tmp_path: Path) -> None:
    file = renamed(SAMPLES / "llama-bpe.gguf", name, tmp_path / "it.gguf")
    read = read_tokenizer(read_gguf_header(file))
    for text in random_texts(30, seed=3):
        pieces = read.backend.pre_tokenizer.pre_tokenize_str(text)
        spans = [span for _, span in pieces]
        assert [a for a, _ in spans] == [0, *(b for _, b in spans[:-1])]
        assert spans[-1][1] == len(text)


ASCII_ONLY = sorted(n for n, why in FOLLOWS_THE_MODEL.items() if "ASCII" in why)


@pytest.mark.parametrize("name", [n for n in ASCII_ONLY if n != "youtu"])
def test_capitals_of_ascii_are_cut_as_llama_cpp_does(
    name: str, llama_cpp: Path, tmp_path: Path
) -> None:
    vocabulary = llama_cpp / "source/models/ggml-vocab-llama-bpe.gguf"
    file = renamed(vocabulary, name, tmp_path / "it.gguf")
    read = read_tokenizer(read_gguf_header(file))
    texts = [text for text in random_texts(4000, seed=5) if text.isascii()]
    assert len(texts) > 100
    assert wrong(read, llama_cpp, file, texts) == []


@pytest.mark.parametrize("name", sorted({*PRE_TOKENIZERS} - {*FOLLOWS_THE_MODEL}))
def test_every_pre_tokenizer_cuts_as_llama_cpp(
    name: str, llama_cpp: Path, tmp_path: Path
) -> None:
    vocabulary = llama_cpp / "source/models/ggml-vocab-llama-bpe.gguf"
    file = renamed(vocabulary, name, tmp_path / "it.gguf")
    read = read_tokenizer(read_gguf_header(file))
    texts = random_texts(1000, seed=4, wide_spaces=name not in ASCII_SPACES)
    assert wrong(read, llama_cpp, file, texts) == []


TOKENS_OF_ALL_KINDS = {
    **{"<unk>": 2, "<s>": 3, "</s>": 3, "▁": 1, "a": 1, "b": 1, "ab": 1, "▁ab": 1},
    "<|im_end|>": 4,
}
BYTES = {f"<0x{byte:02X}>": 6 for byte in range(256)}


def made(
    folder: Path, tokens: dict[str, int] = TOKENS_OF_ALL_KINDS, /, **fields: Any
) -> GgufTokenizer:
    """The tokenizer of a file with these tokens, each with its type; without fields, a
    byte-level BPE."""
    usual = {"model": "gpt2", "pre": "gpt-2", "merges": ["a b", "▁ ab", "b x", "b"]}
    arrays = {
        "tokens": [*tokens],
        "token_type": [*tokens.values()],
        "scores": [float(-i) for i in range(len(tokens))],
    }
    writer = gguf.GGUFWriter(folder / "it.gguf", "llama")
    for name, value in (usual | arrays | fields).items():
        key = name if "." in name else f"tokenizer.ggml.{name}"
        match value:
            case bool():
                writer.add_bool(key, value)
            case list():
                writer.add_array(key, value)
            case str():
                writer.add_string(key, value)
            case float():
                writer.add_float32(key, value)
            case int():
                writer.add_int32(key, value)
    tiny.finish(writer)
    return read_tokenizer(read_gguf_header(folder / "it.gguf"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pre": "dreamt-up"}, "'dreamt-up'"),
        ({"model": "bert"}, "'bert', is not one of gpt2, llama"),
        ({"model": ""}, "it has none"),
        ({"tokens": ["a", "a"]}, "alike"),
        ({"model": "llama", "token_type": [1]}, "token_type does not go"),
        ({"model": "llama", "scores": ["x", "y"]}, "scores does not go"),
        ({"merges": [1, 2]}, "merges are no texts"),
        ({"model": "t5", "scores": [math.nan] * 9}, ""),
        ({"model": "t5", "scores": [-math.inf] * 9}, ""),
    ],
)
def test_fields_that_make_no_tokenizer_are_named_and_refused(
    fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(LmtuiError) as caught:
        made(tmp_path, **fields)
    assert caught.value.title == "the tokenizer of this GGUF file can't be used"
    assert words in caught.value.detail
    assert caught.value.hint


def test_missing_pre_tokenizer_is_told_as_a_guess(tmp_path: Path) -> None:
    read = made(tmp_path, pre="")
    assert read.pre_tokenizer == "default"
    assert any("pre-tokenizer" in guess for guess in read.guesses)


@pytest.mark.parametrize(
    ("model", "flags", "text", "wanted"),
    [
        ("llama", {}, "ab", ["<s>", "▁ab"]),
        ("llama", {"add_bos_token": False}, "ab", ["▁ab"]),
        ("llama", {"add_eos_token": True}, "ab", ["<s>", "▁ab", "</s>"]),
        ("llama", {"add_space_prefix": False}, "ab", ["<s>", "ab"]),
        ("llama", {}, "aé", ["<s>", "▁", "a", "<0xC3>", "<0xA9>"]),
        ("gpt2", {}, "ab", ["ab"]),
        ("gpt2", {"add_bos_token": True}, "ab", ["<s>", "ab"]),
    ],
)
def test_flags_of_the_file_decide_prefix_and_ends(
    model: str, flags: dict[str, bool], text: str, wanted: list[str], tmp_path: Path
) -> None:
    tokens = TOKENS_OF_ALL_KINDS | (BYTES if model == "llama" else {})
    read = made(tmp_path, tokens, model=model, bos_token_id=1, eos_token_id=2, **flags)
    assert read.backend.encode(text).tokens == wanted


def test_control_looking_token_is_control_whatever_its_type(tmp_path: Path) -> None:
    read = made(tmp_path)
    assert ids(read, "<|im_end|>", special=True) == [8]
    assert 8 not in ids(read, "<|im_end|>", special=False)


def test_stop_tokens_and_sampling_come_from_the_file(tmp_path: Path) -> None:
    fields = {
        **{"eos_token_id": 2, "eot_token_id": 1, "eom_token_id": 4_000_000},
        **{"general.sampling.temp": 0.5, "general.sampling.top_k": 20},
    }
    read = made(tmp_path, **fields)
    assert generation_config(read_gguf_header(tmp_path / "it.gguf"), read) == {
        "eos_token_id": [1, 2, 8],
        "temperature": 0.5,
        "top_k": 20,
    }


@pytest.mark.parametrize("bos", ["<seed:bos>", "$A", "$", ":1", "a:b"])
def test_bos_is_put_before_a_text_whatever_its_name(bos: str, tmp_path: Path) -> None:
    tokens = {"<unk>": 2, bos: 3, "</s>": 3, "a": 1, "▁a": 1, "▁": 1}
    read = made(tmp_path, tokens, model="llama", add_eos_token=True)
    assert read.backend.encode("a").ids == [1, 4, 2]
    save_tokenizer(read, tmp_path)
    assert same_as(library_tokenizer(tmp_path), TokenizersTokenizer(tmp_path))


@pytest.mark.parametrize(("opening", "special"), [(3, True), (4, False)])
def test_closing_tag_is_a_control_token_only_beside_a_control_token(
    opening: int, special: bool, tmp_path: Path
) -> None:
    tokens = {"<unk>": 2, "<bos>": 3, "<eos>": 3, "<s>": opening, "</s>": 4, "▁": 1}
    read = made(tmp_path, tokens, model="llama", bos_token_id=1, eos_token_id=2)
    assert read.backend.get_added_tokens_decoder()[4].special == special


@pytest.mark.parametrize("value", [9999, True])
def test_special_id_that_is_none_gives_way_to_the_usual_one(
    value: Any, tmp_path: Path
) -> None:
    read = made(tmp_path, model="llama", bos_token_id=value)
    assert read.specials["bos_token"] == "<s>"
    assert any("BOS" in guess for guess in read.guesses)


def test_end_of_a_channel_does_not_end_an_answer_of_gpt_oss(tmp_path: Path) -> None:
    tokens = {"a": 1, "b": 1, "ab": 1, "<|return|>": 3, "<|call|>": 3, "<|end|>": 3}
    read = made(tmp_path, tokens, pre="gpt-4o", eos_token_id=5)
    header = read_gguf_header(tmp_path / "it.gguf")
    assert generation_config(header, read) == {"eos_token_id": [3, 4]}
    assert read.specials["eos_token"] == "<|return|>"


def test_merge_listed_twice_has_its_first_rank(tmp_path: Path) -> None:
    tokens = dict.fromkeys(["a", "b", "c", "ab", "bc"], 1)
    read = made(tmp_path, tokens, merges=["a b", "b c", "a b"])
    assert read.backend.encode("abc").tokens == ["ab", "c"]


def test_vocabulary_of_all_substrings_is_refused(tmp_path: Path) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 220)))
    parts = [text[a:b] for a in range(220) for b in range(a + 1, 221)]
    tokens = dict.fromkeys(["<unk>", "<s>", "</s>", *parts], 1)
    with pytest.raises(LmtuiError, match="tokenizer") as caught:
        made(tmp_path, tokens, model="llama")
    assert "too many merges" in caught.value.detail


def test_endless_token_takes_no_endless_time(tmp_path: Path) -> None:
    tokens = {"<unk>": 2, "<s>": 3, "</s>": 3, "a" * 2_000_000: 1, "a": 1}
    read = made(tmp_path, tokens, model="llama")
    assert ids(read, "a", special=False) == [0, 4]


def test_control_tokens_of_phi_3_take_the_spaces_behind_them() -> None:
    read = tokenizer("phi-3")
    assert ids(read, "<|user|>\n a", special=True) == ids(
        read, "<|user|>a", special=True
    )
