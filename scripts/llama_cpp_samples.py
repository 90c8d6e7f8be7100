"""Cut llama.cpp's vocabularies down to what some texts need, for tests without network.

Writes tests/models/gguf/samples: a small GGUF file for each vocabulary, and the texts
with llama.cpp's tokens of them. Run by the Python of .venv, after scripts/llama_cpp.

A text is read alike with a part of a vocabulary as long as that holds every token that
reading the text makes on its way. `llama.cpp` reads both, and the results are compared.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lmtui.models.gguf.header import GgufArray, GgufHeader, read_array, read_gguf_header  # noqa: E402
from lmtui.models.gguf.tokenizer import read_tokenizer  # noqa: E402
from tests.models.gguf.llama_cpp import fixtures, oracle, vocabularies  # noqa: E402
from tests.models.gguf.random_texts import random_texts  # noqa: E402

SAMPLES = ROOT / "tests/models/gguf/samples"
TEXTS = 200
SPECIALS = 40
NORMAL = 1


def merge_ranks(backend: Tokenizer) -> dict[tuple[str, str], int]:
    """Return the rank of every merge of a tokenizer."""
    merges = json.loads(backend.to_str())["model"].get("merges", ())
    return {(left, right): rank for rank, (left, right) in enumerate(merges)}


def made(backend: Tokenizer, ranks: dict[tuple[str, str], int], text: str) -> set[str]:
    """Return every token that byte-pair merging makes of a text on its way."""
    found: set[str] = set()
    if backend.normalizer:
        text = backend.normalizer.normalize_str(text)
    pieces = [(text, (0, 0))]
    if backend.pre_tokenizer:
        pieces = backend.pre_tokenizer.pre_tokenize_str(text)
    for piece, _ in pieces:
        parts = [*piece]
        while known := [
            (ranks[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in ranks
        ]:
            _, at = min(known)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
            found.add(parts[at])
        found |= {*piece, piece}
    return found


def cut(vocabulary: Path, texts: list[str], used: set[str]) -> Path:
    """Write the part of a vocabulary that `texts` need, and the tokens `used`; return
    the new file."""
    header = read_gguf_header(vocabulary)
    built = read_tokenizer(header)
    backend = built.backend
    spelled = [item.decode() for item in read_array(header, TOKENS) or ()]
    kinds = read_array(header, "tokenizer.ggml.token_type") or [NORMAL] * len(spelled)
    marks = [text for text, kind in zip(spelled, kinds, strict=False) if kind != NORMAL]
    bytes_ = {f"<0x{byte:02X}>" for byte in range(256)}
    ranks = merge_ranks(backend)
    keep = {*built.specials.values(), *marks[:SPECIALS], *bytes_, *used}
    for text in texts:
        keep |= made(backend, ranks, text) | {m for m in marks if m in text}
        for apart in (False, True):
            backend.encode_special_tokens = apart
            keep |= set(backend.encode(text, add_special_tokens=False).tokens)
    scores = read_array(header, "tokenizer.ggml.scores") or []
    if header.values["tokenizer.ggml.model"] == "t5":
        keep.add(spelled[min(range(len(scores)), key=lambda i: scores[i])])
    old = [i for i, text in enumerate(spelled) if text in keep]
    target = SAMPLES / vocabulary.name.removeprefix("ggml-vocab-")
    writer = gguf.GGUFWriter(target, header.architecture)
    new = {i: place for place, i in enumerate(old)}
    kept = {i: spelled[i] for i in old}
    pairs: dict[str, Any] = dict(header.pairs)
    for key, value in pairs.items():
        if key.startswith("tokenizer.") and key != "tokenizer.chat_template":
            if isinstance(value, GgufArray):
                value = part(header, key, kept)
            if key.endswith("charsmap"):
                value = bytes(item & 0xFF for item in value)
            add(writer, key, value, new)
    if isinstance(name := header.values.get("general.name"), str):
        writer.add_name(name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return target


TOKENS = "tokenizer.ggml.tokens"


def part(header: GgufHeader, key: str, kept: dict[int, str]) -> list[Any]:
    """Return the items of an array that concern the tokens `kept`, by their ids."""
    items = read_array(header, key) or []
    if key.rpartition(".")[2] in ("tokens", "scores", "token_type"):
        items = [items[i] for i in kept]
    texts = [i.decode() if isinstance(i, bytes) else i for i in items]
    if not key.endswith("merges"):
        return texts
    known = {*kept.values()}
    cuts = [(text, text.find(" ", 1)) for text in texts]
    return [
        text
        for text, at in cuts
        if {text[:at], text[at + 1 :], text[:at] + text[at + 1 :]} <= known
    ]


def add(writer: gguf.GGUFWriter, key: str, value: Any, new: dict[int, int]) -> None:
    """Add a pair; ids of tokens become those in `new`."""
    match value:
        case bytes() | list():
            writer.add_array(key, value)
        case bool():
            writer.add_bool(key, value)
        case int():
            if value in new:
                writer.add_uint32(key, new[value])
        case str():
            writer.add_string(key, value)


def main() -> None:
    """Write all samples."""
    folder = ROOT / ".llama_cpp"
    SAMPLES.mkdir(exist_ok=True)
    random = random_texts(TEXTS, seed=1, wide_spaces=False)
    found: dict[str, Any] = {"texts": random, "vocabularies": {}}
    for vocabulary in vocabularies(folder):
        fixed = fixtures(vocabulary)
        texts = [*(text for text, _ in fixed), *random]
        asked = [(text, special) for text in texts for special in (False, True)]
        whole = spelled(vocabulary, oracle(folder, vocabulary, asked))
        used = {token.decode() for each in whole for token in each}
        file = cut(vocabulary, texts, used)
        ids = oracle(folder, file, asked)
        if spelled(file, ids) != whole:
            raise SystemExit(f"{file.name}: the part of the vocabulary reads otherwise")
        found["vocabularies"][file.stem] = {
            "texts": [text for text, _ in fixed],
            "as text": ids[::2],
            "with control tokens": ids[1::2],
        }
        print(f"{file.name}: {file.stat().st_size:,} bytes, {len(texts)} texts")
    (SAMPLES / "tokens.json").write_text(json.dumps(found, separators=(",", ":")))


def spelled(vocabulary: Path, ids: list[list[int]]) -> list[list[bytes]]:
    """Return each id as its vocabulary spells it."""
    tokens = read_array(read_gguf_header(vocabulary), TOKENS) or []
    return [[tokens[i] for i in each] for each in ids]


if __name__ == "__main__":
    main()
