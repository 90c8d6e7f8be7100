"""Hostile rules in a tokenizer.json: refused before use; those of real families pass.

What is measured is memory, since a tokenizer of a few kB could take all of it.
"""

from __future__ import annotations

import base64
import json
import resource
import shutil
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import normalizers

from lmtui.engine.engine import LocalEngine
from lmtui.errors import LmtuiError, panics_as_errors
from lmtui.models.tokenizer_check import check_file, prepare
from tests.examples import examples
from tests.models import tiny

TEXT = "the quick aaaa ﷺ 日本"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("plain"))


def changed(plain: Path, target: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a model with a change in its tokenizer.json."""
    file = shutil.copytree(plain, target) / "tokenizer.json"
    about = json.loads(file.read_bytes())
    change(about)
    file.write_text(json.dumps(about))
    return target


def replaces(content: str, pattern: dict[str, str] | None = None) -> dict[str, Any]:
    pattern = pattern or {"String": "a"}
    return {"type": "Replace", "pattern": pattern, "content": content}


def chain(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": [*steps]}


def nested(step: dict[str, Any]) -> dict[str, Any]:
    for _ in range(6):
        step = chain(step, step)
    return step


def charsmap(longest: int) -> dict[str, Any]:
    """A table of SentencePiece without a trie, but with a text of so many bytes."""
    data = (4).to_bytes(4, "little") + bytes(4) + b"x" * longest + b"\0"
    return {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(data).decode(),
    }


ADDED = {
    **{"id": 999, "content": "aaab", "single_word": False, "lstrip": False},
    **{"rstrip": False, "normalized": True, "special": False},
}
BYTES = {
    **{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
    "use_regex": False,
}
LONG = 50_000_000
ENDS: dict[str, Any] = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "x", "type_id": 0}}] * 1000
    + [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"x": {"id": "x", "ids": [1] * 1000, "tokens": ["x"] * 1000}},
}
HOSTILE: dict[str, dict[str, Any]] = {
    "ten times": {"normalizer": chain(*[replaces("a" * 10)] * 8)},
    "doubled": {"normalizer": chain(*[replaces("aa")] * 40)},
    "nested": {"normalizer": nested(replaces("aa"))},
    "regex": {"normalizer": chain(*[replaces("aa", {"Regex": "a"})] * 40)},
    "empty match": {"normalizer": chain(*[replaces("a", {"Regex": "(?=a)"})] * 40)},
    "empty": {"normalizer": chain(*[replaces("a", {"String": ""})] * 40)},
    "prepend": {"normalizer": {"type": "Prepend", "prepend": "a" * LONG}},
    "ligatures": {
        "normalizer": chain(
            *[{"type": "NFKC"}, replaces("\ufdfa", {"String": "\u0635"})] * 12
        )
    },
    "wide letters": {
        "normalizer": chain(
            *[replaces("ａ"), replaces("aaa", {"String": "ａ"})] * 12,
        )
    },
    "byte level": {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES] * 30}
    },
    "added token": {
        "normalizer": chain(*[replaces("a" * 10)] * 9),
        "added_tokens": [ADDED],
    },
    "ends": {"post_processor": ENDS},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_growing_rules_are_refused_within_memory(
    plain: Path, tmp_path: Path, name: str
) -> None:
    def change(about: dict[str, Any]) -> None:
        added = HOSTILE[name].get("added_tokens", [])
        about |= HOSTILE[name] | {"added_tokens": about["added_tokens"] + added}

    file = changed(plain, tmp_path / "model", change) / "tokenizer.json"
    size = file.stat().st_size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LmtuiError, match="makes texts far too long") as caught:
        check_file(file)
    assert caught.value.hint
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert taken < 300_000_000 + 10 * size


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_second_normalizer_hides_no_first(
    plain: Path, tmp_path: Path, quantize
) -> None:
    folder = shutil.copytree(plain, tmp_path / "model")
    file = folder / "tokenizer.json"
    first = json.dumps(chain(*[replaces("a" * 10)] * 9))
    text = file.read_text().replace("{", f'{{"normalizer": {first},', 1)
    file.write_text(text)
    with pytest.raises(LmtuiError, match="tokenizer"):
        LocalEngine.open(str(folder), device="cpu", quantize=quantize)


SPACES = chain({"type": "Prepend", "prepend": "▁"}, replaces("▁", {"String": " "}))
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
ONE_SPACE = replaces(" ", {"Regex": " {2,}"})
REAL: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]] = {
    "llama": (SPACES, None),
    "gemma": (replaces("▁", {"String": " "}), METASPACE),
    "qwen": ({"type": "NFC"}, BYTES),
    "gpt2": (None, {**BYTES, "add_prefix_space": True}),
    "t5": (chain(charsmap(33), replaces("▁", {"Regex": " {2,}"})), METASPACE),
    "xglm": (chain(charsmap(33), ONE_SPACE), METASPACE),
    "albert": (
        chain(
            replaces('"', {"String": "``"}),
            {"type": "NFKD"},
            {"type": "StripAccents"},
            {"type": "Lowercase"},
            charsmap(33),
            ONE_SPACE,
        ),
        METASPACE,
    ),
    "bert": (
        {
            **{"type": "BertNormalizer", "clean_text": True, "lowercase": True},
            **{"handle_chinese_chars": True, "strip_accents": None},
        },
        {"type": "BertPreTokenizer"},
    ),
    "clip": (
        chain({"type": "NFC"}, replaces(" ", {"Regex": r"\s+"}), {"type": "Lowercase"}),
        BYTES,
    ),
}


@pytest.mark.parametrize("family", REAL)
def test_rules_of_real_families_pass(plain: Path, tmp_path: Path, family: str) -> None:
    normalizer, pre_tokenizer = REAL[family]

    def change(about: dict[str, Any]) -> None:
        about |= {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}

    file = changed(plain, tmp_path / "model", change) / "tokenizer.json"
    prepare(tokenizers.Tokenizer.from_file(str(file)))


def test_rules_grow_no_text_beyond_what_is_counted() -> None:
    """The count of `prepare` is a bound: chains that pass stay below it."""
    rules = [
        normalizers.Replace("a", "\ufdfa"),
        normalizers.Replace(tokenizers.Regex("b*"), "aa"),
        normalizers.NFKC(),
        normalizers.NFKD(),
        normalizers.Prepend("ab"),
        normalizers.Prepend("İ"),
        normalizers.Lowercase(),
        normalizers.Replace("i̇", "İİ"),
        normalizers.BertNormalizer(),
        normalizers.ByteLevel(),
    ]
    passed = 0
    for chosen in islice(product(rules, repeat=3), 0, None, examples(3, 1)):
        backend = tokenizers.Tokenizer(tokenizers.models.BPE())
        backend.normalizer = normalizers.Sequence([*chosen])
        try:
            prepare(backend)
        except LmtuiError:
            continue
        passed += 1
        for text in (TEXT, "a", "b", "ab" * 20, "İ" * 20, "日" * 20):
            try:
                with panics_as_errors():
                    made = backend.normalizer.normalize_str(text)
            except LmtuiError:  # the library's own defect with empty matches
                continue
            # 11 is Unicode's own: one character becomes 33 bytes.
            assert len(made.encode()) <= 11 * 256 * len(text.encode())
    assert passed > 150


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_text_has_one_encoding_despite_dropout_and_cuts(
    plain: Path, tmp_path: Path, quantize
) -> None:
    def change(about: dict[str, Any]) -> None:
        about["model"]["dropout"] = 0.9
        about["truncation"] = {
            **{"direction": "Right", "max_length": 2, "stride": 0},
            "strategy": "LongestFirst",
        }

    folder = changed(plain, tmp_path / "model", change)
    engine = LocalEngine.open(str(folder), device="cpu", quantize=quantize)
    expected = LocalEngine.open(str(plain), device="cpu", quantize=quantize)
    wanted = expected.encode(tiny.TEXT).ids
    assert [engine.encode(tiny.TEXT).ids for _ in range(5)] == [wanted] * 5
    assert json.loads(engine.tokenizer_json())["model"]["dropout"] is None
