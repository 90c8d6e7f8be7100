"""A tokenizer.json read in parts is the one that the library reads as a whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from lmtui.models.tokenizer_json import TokenizersTokenizer
from tests.models import tiny


def old_merges(content: dict[str, Any]) -> None:
    model = content["model"]
    model["merges"] = [" ".join(pair) for pair in model["merges"]]


def more_tokens(content: dict[str, Any]) -> None:
    """Added tokens of all kinds: one of the vocabulary, and some behind it."""
    vocabulary = content["model"]["vocab"]
    word = max(vocabulary, key=len)
    content["added_tokens"] += [
        added(vocabulary[word], word, special=False, normalized=True),
        added(len(vocabulary), "<tool>", special=False, lstrip=True),
        added(len(vocabulary) + 1, "<end of turn>", special=True),
    ]


def added(id_: int, content: str, **flags: bool) -> dict[str, Any]:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": id_, "content": content} | dict.fromkeys(names, False) | flags


def settings(content: dict[str, Any]) -> None:
    content["model"] |= {"byte_fallback": True, "ignore_merges": True, "fuse_unk": True}


def unigram(content: dict[str, Any]) -> None:
    words = [[word, -float(id_)] for word, id_ in content["model"]["vocab"].items()]
    content["model"] = {"type": "Unigram", "unk_id": 0, "vocab": words}


@pytest.mark.parametrize("change", [old_merges, more_tokens, settings, unigram])
def test_the_parts_make_the_whole(tmp_path: Path, change: Any) -> None:
    plain = tiny.save_llama(tmp_path / "plain")
    folder = shutil.copytree(plain, tmp_path / "changed")
    file = folder / "tokenizer.json"
    content = json.loads(file.read_bytes())
    change(content)
    file.write_text(json.dumps(content))

    whole = tokenizers.Tokenizer.from_file(str(file))
    whole.no_padding()
    whole.no_truncation()

    assert TokenizersTokenizer(folder).backend_tokenizer.to_str() == whole.to_str()


@pytest.mark.parametrize("model", [[], {"type": "BPE"}, {"type": "BPE", "vocab": 3}])
def test_a_damaged_file_is_a_value_error(tmp_path: Path, model: Any) -> None:
    folder = tiny.save_llama(tmp_path)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"model": model}))

    with pytest.raises(ValueError, match=r".+"):
        TokenizersTokenizer(folder)
