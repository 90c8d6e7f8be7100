"""Facts about tokenizer, template and stop tokens, without loading a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from lmtui.engine.text.text_facts import text_facts
from tests.models import tiny

SWITCHED = (
    "{% set shown = 1 %}{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>"
    "{% endfor %}{% if enable_thinking %}<think>{% endif %}{{ shown }}{{ eos_token }}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("facts") / "model")


def test_facts_of_a_gguf_file(folder: Path, tmp_path: Path) -> None:
    file = tiny.write_gguf(folder, tmp_path / "it.gguf", "Q8_0", template=SWITCHED)
    facts = text_facts(file)
    types = facts.pop("types")
    assert facts == {
        "vocabulary": len(tiny.tokenizer()),
        "tokenizer_kind": "byte-level BPE",
        "pre_tokenizer": "smollm",
        "bos": False,
        "stop_tokens": ["<|endoftext|>", "<|im_end|>"],
        "template_switches": ["enable_thinking"],
        "guessed": [],
    }
    assert isinstance(types, dict)
    assert types["Q8_0"] > types["F32"] > 0
    assert sum(types.values()) == pytest.approx(1)


def test_facts_of_a_folder(folder: Path) -> None:
    facts = text_facts(folder)
    assert facts["tokenizer_kind"] == "byte-level BPE"
    assert facts["stop_tokens"] == ["<|endoftext|>", "<|im_end|>"]
    assert facts["template_switches"] == []
    assert "guessed" not in facts
    assert text_facts(folder.parent) == {}


def test_folder_declares_several_stop_tokens(folder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [1, 5]})
    )
    (tmp_path / "config.json").write_text("damaged")
    spelled = tiny.tokenizer().convert_ids_to_tokens(5)
    stops = text_facts(tmp_path)["stop_tokens"]
    assert isinstance(stops, list)
    assert {spelled, "<|im_start|>"} <= {*stops}


@pytest.mark.parametrize(
    ("name", "text", "empty"),
    [
        ("generation_config.json", '{"eos_token_id": [-1, true]}', False),
        ("generation_config.json", f'{{"eos_token_id": {2**70}}}', False),
        ("tokenizer_config.json", "[]", True),
        ("tokenizer_config.json", "[" * 100_000, True),
        ("chat_template.jinja", "{% for", False),
    ],
)
def test_damaged_files_of_a_folder_are_no_bug(
    name: str, text: str, empty: bool, folder: Path, tmp_path: Path
) -> None:
    for each in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / each).write_bytes((folder / each).read_bytes())
    (tmp_path / name).write_text(text)
    facts = text_facts(tmp_path)
    assert (facts == {}) == empty
    assert empty or "<|im_start|>" not in str(facts["stop_tokens"])


def test_template_within_the_configuration_is_read(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    for template in (SWITCHED, [{"name": "default", "template": SWITCHED}]):
        text = json.dumps(config | {"chat_template": template})
        (tmp_path / "tokenizer_config.json").write_text(text)
        assert text_facts(tmp_path)["template_switches"] == ["enable_thinking"]


def test_what_a_file_leaves_open_is_said(tmp_path: Path) -> None:
    def write(name: str, model: str) -> Path:
        writer = gguf.GGUFWriter(tmp_path / name, "llama")
        writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
        writer.add_tokenizer_model(model)
        writer.add_token_list(["a", "b", "ab"])
        writer.add_token_merges(["a b"])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tmp_path / name

    guessed: Any = text_facts(write("a.gguf", "gpt2"))["guessed"]
    assert len(guessed) == 2
    assert any("pre-tokenizer" in guess for guess in guessed)
    assert any("template" in guess for guess in guessed)
    refused = str(text_facts(write("b.gguf", "rwkv"))["tokenizer_kind"])
    assert refused.startswith("none: ") and "'rwkv'" in refused
