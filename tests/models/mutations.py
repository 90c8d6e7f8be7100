"""Damaged and hostile models, made from small whole ones by a seed.

Owns what is changed: tensors, headers, configuration, tokenizer and template of GGUF
files and of folders, and adapters. The same seed makes the same
mutant.
"""

from __future__ import annotations

import base64
import json
import math
import os
import random
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lmtui.models.gguf.header import SCALARS, STRING, GgufArray, read_gguf_header
from tests.models import tiny

KINDS = ("Q8_0", "Q4_1", "F32")
ROOM = 400  # characters for a template in a GGUF file, whatever it is

NUMBERS = (0, 1, -1, 2, 3, 5, 64, 127, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
FLOATS = (0.0, -1.0, 1e-45, 1e30, -1e-5, math.nan, math.inf, -math.inf, 0.5)
VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "evil/kernel", [], {}, [1], [[]], {"a": 1}),
    *(0, 1, -1, 3, 10**7, 2**31, 2**63, 10**30, 0.5, -0.5, 1e30, math.nan, math.inf),
)
TEMPLATES = (
    "{{ 1/0 }}",
    "{{ range(10**9) }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{{ 'a' * 2000000000 }}",
    "{{ '%1000000000s' % 'a' }}",
    "{{ 'a'|center(10**9) }}",
    "{{ lipsum(n=100000) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ '\\ud800' }}",
    "{% for m in messages %}{{ m.role.__class__.__mro__ }}{% endfor %}",
    "{{ raise_exception('no') }}",
    "{% if %}",
    "{{ messages[0].content }}<|im_end|>",
    "{{ messages[7].content }}",
    "",
    "{{ ''.__class__ }}{{ cycler.__init__.__globals__ }}",
    "{{" + "(" * 150 + "1" + ")" * 150 + "}}",
    "{% set n = namespace(s='ab') %}{% for i in range(40) %}"
    "{% set n.s = n.s + n.s %}{% endfor %}",
)
REGEXES = ("(a+)+$", "(?:", "", ".", "(?=x)*", "\\p{Nope}", "(.*)*b", "a{99999}")
HOSTILE: dict[str, Any] = {
    "_attn_implementation": "evil/kernel",
    "attn_implementation": "evil/kernel",
    "_experts_implementation": "evil/kernel",
    "auto_map": {"AutoModelForCausalLM": "evil.Evil", "AutoConfig": "evil.Evil"},
    "quantization_config": {"quant_method": "gptq", "bits": 4},
    "text_config": {"model_type": "llama", "num_hidden_layers": 10**7},
    "model_type": "gpt2",
    "architectures": ["Evil"],
    "is_encoder_decoder": True,
    "torch_dtype": "int4",
    "dtype": "float8_e5m2",
    "layer_types": ["sliding_attention"],
    "rope_parameters": {"rope_type": "yarn", "factor": -1, "rope_theta": 0},
    "rope_scaling": {"type": "dynamic", "factor": 0},
    "tie_word_embeddings": True,
    "per_layer_config": {"0": {"hidden_size": 10**9}},
    "use_sliding_window": True,
    "pretraining_tp": 10**9,
    "num_labels": 10**9,
    "id2label": {f"{label}": "x" for label in range(50_000)},
    "label2id": {"x": 10**9},
    "vision_config": {"model_type": "clip_vision_model", "num_labels": 10**9},
}


@dataclass(frozen=True)
class Bases:
    """The whole models, and an adapter."""

    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    adapter: Path


def make_bases(place: Path) -> Bases:
    """Make them in a folder; the last of the folders has 16 bits."""
    plain = tiny.save_llama(place / "plain")
    brief = tiny.save_brief(place / "brief", "llama", torch.bfloat16)
    template = _padded(tiny.TEMPLATE)
    files = [
        tiny.write_gguf(plain, place / f"{kind}.gguf", kind, template=template)
        for kind in KINDS
    ]
    return Bases(tuple(files), (plain, brief), _save_adapter(place / "adapter"))


def _save_adapter(folder: Path) -> Path:
    """An adapter of one matrix."""
    folder.mkdir()
    about = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4}
    (folder / "adapter_config.json").write_text(json.dumps(about))
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    halves = {
        f"{name}A.weight": torch.ones(2, 64),
        f"{name}B.weight": torch.ones(64, 2),
    }
    save_file(halves, folder / "adapter_model.safetensors")
    return folder


def mutated(seed: int, bases: Bases, target: Path) -> Path:
    """Make a mutant in the new folder `target`; the file or the folder that it is."""
    chance = random.Random(seed)
    target.mkdir()
    kind = chance.random()
    if kind < 0.05:
        return _adapter(chance, bases.adapter, target / "adapter")
    if kind < 0.55:
        base = chance.choice(bases.files)
        data = bytearray(base.read_bytes())
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            data = chance.choice(_OF_FILES)(chance, data, base)
        file = target / "model.gguf"
        file.write_bytes(data)
        return file
    folder = Path(shutil.copytree(chance.choice(bases.folders), target / "model"))
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        chance.choice(_OF_FOLDERS)(chance, folder)
    return folder


def with_number(data: bytes, key: str, value: int | float) -> bytearray:
    """A GGUF file with another value for a key that has a number."""
    at = data.index(struct.pack("<Q", len(key)) + key.encode()) + 8 + len(key)
    (kind,) = struct.unpack_from("<I", data, at)
    changed = bytearray(data)
    SCALARS[kind].pack_into(changed, at + 4, value)
    return changed


def _fitting(kind: int, value: int | float) -> int | float:
    """A value that can be written as a number of a kind."""
    form = SCALARS[kind].format[-1]
    if form in "fd":
        return float(value)
    if form == "?":
        return bool(value)
    size = 8 * SCALARS[kind].size
    whole = int(value) if math.isfinite(value) else 0
    wrapped = whole % 2**size
    return (
        wrapped - 2**size if form.islower() and wrapped >= 2 ** (size - 1) else wrapped
    )


# GGUF files.


def _header_end(base: Path) -> int:
    return min(tensor.offset for tensor in read_gguf_header(base).tensors)


def _number(chance: random.Random, data: bytearray, base: Path) -> bytearray:
    pairs = read_gguf_header(base).pairs
    named = [k for k, v in pairs.items() if isinstance(v, int | float)]
    key = chance.choice(named)
    at = data.find(struct.pack("<Q", len(key)) + key.encode())
    if at < 0 or at + 8 + len(key) > len(data) - 12:  # it was cut before
        return data
    (kind,) = struct.unpack_from("<I", data, at + 8 + len(key))
    if kind not in SCALARS:
        return data
    before = pairs[key]
    near = [before + 1, before - 1, before * 2, before // 2]  # type: ignore[operator]
    value = chance.choice([*NUMBERS, *FLOATS, *near])
    return with_number(data, key, _fitting(kind, value))


def _header_bytes(chance: random.Random, data: bytearray, base: Path) -> bytearray:
    end = min(_header_end(base), len(data))
    for _ in range(chance.choice((1, 2, 8)) if end > 1500 else 0):
        # The last part tells of the tensors, the first of the model.
        place = chance.choice((chance.randrange(end), end - chance.randrange(1, 1500)))
        data[place] = chance.choice((0, 1, 255, chance.randrange(256)))
    return data


def _array(chance: random.Random, data: bytearray, base: Path) -> bytearray:
    """Tokens, merges and types of tokens."""
    pairs = read_gguf_header(base).pairs.values()
    array = chance.choice([v for v in pairs if isinstance(v, GgufArray)])
    at = array.offset
    if array.kind != STRING:
        size = SCALARS[array.kind].size
        place = at + size * chance.randrange(array.count)
        data[place : place + size] = chance.randbytes(size)
        return data
    skipped = chance.randrange(array.count)
    while at <= len(data) - 8 and skipped:
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        skipped -= 1
    if at > len(data) - 8:  # it was cut before
        return data
    length = struct.unpack_from("<Q", data, at)[0]
    if length > len(data) - at - 8:  # it was changed before
        return data
    data[at + 8 : at + 8 + length] = chance.randbytes(min(length, 64)).ljust(length)
    return data


def _file_template(chance: random.Random, data: bytearray, base: Path) -> bytearray:
    at = data.find(tiny.TEMPLATE.encode())
    if at >= 0:
        data[at : at + ROOM] = _padded(chance.choice(TEMPLATES)).encode()[:ROOM]
    return data


def _padded(template: str) -> str:
    """A template with a comment behind it, so that all have one length."""
    return f"{template}{{#{' ' * (ROOM - len(template) - 4)}#}}"


def _file_tensors(chance: random.Random, data: bytearray, base: Path) -> bytearray:
    end = _header_end(base)
    start = chance.randrange(end, max(end + 1, len(data) - 600))
    count = chance.choice((1, 16, 600))
    data[start : start + count] = chance.choice(
        (b"\xff" * count, b"\0" * count, chance.randbytes(count))
    )
    return data


def _cut(chance: random.Random, data: bytearray, base: Path) -> bytearray:
    return data[: chance.randrange(len(data))]


def _many_keys(chance: random.Random, data: bytearray, base: Path) -> bytearray:
    """Add keys at the beginning; each has 32 bytes, so that tensors stay aligned."""
    if len(data) < 24:  # it was cut before
        return data
    count = chance.choice((100, 4_000, 60_000))
    (before,) = struct.unpack_from("<Q", data, 16)
    if before + count < 2**63:
        struct.pack_into("<Q", data, 16, before + count)
    start = chance.choice(("k", "llama.", "general."))
    keys = (f"{start}{number}".ljust(16, "_").encode() for number in range(count))
    data[24:24] = b"".join(struct.pack("<Q16sII", 16, key, 4, 1) for key in keys)
    return data


_OF_FILES: tuple[Callable[[random.Random, bytearray, Path], bytearray], ...] = (
    *(_number, _number, _number, _header_bytes, _header_bytes),
    *(_array, _file_template, _file_tensors, _cut, _many_keys),
)


# Folders.


def _change(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """A JSON value with a part of it changed."""
    if isinstance(value, dict) and value and chance.random() > 0.1 * depth:
        key = chance.choice(list(value))
        if chance.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _change(chance, value[key], depth + 1)}
    if isinstance(value, list) and value and chance.random() > 0.1 * depth:
        index = chance.randrange(len(value))
        if chance.random() < 0.15:
            return value[:index] + value[index + 1 :]
        return [
            *value[:index],
            _change(chance, value[index], depth + 1),
            *value[index + 1 :],
        ]
    near = [value + 1, value - 1, value * 2] if type(value) in (int, float) else []
    return chance.choice([*VALUES, *near])


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise OSError("a pipe, or gone")
    return file.read_bytes()


def _json(name: str) -> Callable[[random.Random, Path], None]:
    def change(chance: random.Random, folder: Path) -> None:
        file = folder / name
        about = json.loads(_read(file))
        if name == "config.json" and chance.random() < 0.3:
            key = chance.choice(list(HOSTILE))
            about = {**about, key: HOSTILE[key]}
        else:
            about = _change(chance, about)
        file.write_text(json.dumps(about))

    def tried(chance: random.Random, folder: Path) -> None:
        with suppress(OSError, ValueError):  # another change has destroyed it
            change(chance, folder)

    return tried


def _regex(chance: random.Random, folder: Path) -> None:
    file = folder / "tokenizer.json"
    with suppress(OSError, ValueError, TypeError):
        about = json.loads(_read(file))
        pattern = {"Regex": chance.choice(REGEXES)}
        split = {"type": "Split", "pattern": pattern, "behavior": "Isolated"}
        about["pre_tokenizer"] = {**split, "invert": chance.random() < 0.5}
        file.write_text(json.dumps(about))


def _step(chance: random.Random, most: int) -> dict[str, Any]:
    """A rule of a normalizer that makes a text longer, or may, with a text of at most
    so many characters."""
    long = min(most, chance.choice((1, 2, 10, 1000, 1_000_000)))
    content = chance.choice(("a", "▁", "\ufdfa", "ａ", "İ")) * long
    pattern = chance.choice(
        (
            {"String": "a"},
            {"String": ""},
            {"String": " "},
            {"Regex": "."},
            {"Regex": ""},
        )
    )
    table = (4).to_bytes(4, "little") + bytes(4) + content.encode() + b"\0"
    return chance.choice(
        (
            {"type": "Replace", "pattern": pattern, "content": content},
            {"type": "Prepend", "prepend": content},
            {"type": chance.choice(("NFC", "NFD", "NFKC", "NFKD", "Lowercase"))},
            {"type": "ByteLevel"},
            {
                "type": "Precompiled",
                "precompiled_charsmap": base64.b64encode(table).decode(),
            },
        )
    )


def _growth(chance: random.Random, folder: Path) -> None:
    """Rules that make texts longer, in any part of a tokenizer, nested or not."""
    file = folder / "tokenizer.json"
    count = chance.choice((1, 2, 8, 40))
    steps = [_step(chance, 100_000 // count**3 + 10) for _ in range(count)]
    if chance.random() < 0.3:
        steps = [steps[0]] * count
    for _ in range(chance.choice((0, 0, 1, 5))):
        steps = [{"type": "Sequence", "normalizers": steps}] * 2
    bytes_ = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
    cut = {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated"}
    pieces = [bytes_, metaspace, {**cut, "invert": False}]
    special = {"SpecialToken": {"id": "x", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    ends = {
        "type": "TemplateProcessing",
        "single": [special, text] * count * chance.choice((1, 500)),
        "pair": [text],
        "special_tokens": {"x": {"id": "x", "ids": [1] * 999, "tokens": ["x"] * 999}},
    }
    added = {
        **{"id": 999, "content": "a" * 40, "single_word": False, "lstrip": False},
        **{"rstrip": False, "normalized": True, "special": False},
    }
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        about = json.loads(_read(file))
        match chance.randrange(5):
            case 0:
                pieces = [chance.choice(pieces) for _ in range(count)]
                about["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": pieces}
            case 1:
                about["post_processor"] = ends
            case 2:
                about["decoder"] = {"type": "Sequence", "decoders": steps}
            case _:
                about["normalizer"] = {"type": "Sequence", "normalizers": steps}
        if chance.random() < 0.3:
            about["added_tokens"].append(added)
        file.write_text(json.dumps(about))


def _dropout(chance: random.Random, folder: Path) -> None:
    file = folder / "tokenizer.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        about = json.loads(_read(file))
        affix = chance.choice(("", "#" * 10, "#" * 1_000_000))
        about["model"] |= {
            "dropout": chance.choice((0.0, 0.5, 1.0)),
            chance.choice(("continuing_subword_prefix", "end_of_word_suffix")): affix,
        }
        file.write_text(json.dumps(about))


def _folder_template(chance: random.Random, folder: Path) -> None:
    file = folder / "chat_template.jinja"
    if file.is_fifo():
        return
    file.write_text(chance.choice((*TEMPLATES, "x" * (2 << 20))))


def _weights_header(chance: random.Random, folder: Path) -> None:
    file = folder / "model.safetensors"
    if not file.is_file():
        return
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError:
        return
    name = chance.choice(list(header))
    if name != "__metadata__" and isinstance(header[name], dict):
        part = chance.choice(("dtype", "shape", "data_offsets", None))
        dtypes = ("I64", "F8_E4M3", "F32", "BF16", "F16", "BOOL", "U8", "X")
        match part:
            case "dtype":
                header[name]["dtype"] = chance.choice(dtypes)
            case None:
                header[f"{name}.{chance.randrange(3)}.weight"] = header.pop(name)
            case _:
                header[name][part] = _change(chance, header[name][part])
    else:
        header.pop(name)
    written = json.dumps(header).encode()
    file.write_bytes(len(written).to_bytes(8, "little") + written + data[8 + length :])


def _weights_bytes(chance: random.Random, folder: Path) -> None:
    file = folder / "model.safetensors"
    if not file.is_file():
        return
    data = bytearray(file.read_bytes())
    if chance.random() < 0.2:
        data = data[: chance.randrange(len(data))]
    for _ in range(chance.choice((1, 8, 64))):
        place = chance.randrange(len(data)) if data else 0
        data[place : place + 4] = chance.choice((b"\xff" * 4, chance.randbytes(4)))
    file.write_bytes(data)


def _special_file(chance: random.Random, folder: Path) -> None:
    names = (
        *("config.json", "tokenizer.json", "chat_template.jinja", "extra.json"),
        *("tokenizer_config.json", "generation_config.json", "model.safetensors"),
    )
    file = folder / chance.choice(names)
    file.unlink(missing_ok=True)
    match chance.randrange(4):
        case 0:
            os.mkfifo(file)
        case 1:
            file.symlink_to("/dev/zero")
        case 2:
            file.write_bytes(chance.randbytes(500))
        case _:
            pass


_OF_FOLDERS: tuple[Callable[[random.Random, Path], None], ...] = (
    *(_json("config.json"), _json("config.json"), _json("config.json")),
    *(_json("tokenizer.json"), _json("tokenizer.json"), _regex),
    *(_json("tokenizer_config.json"), _json("generation_config.json")),
    *(_folder_template, _weights_header, _weights_header, _weights_bytes),
    *(_special_file, _growth, _growth, _dropout),
)


# Adapters.


def _adapter(chance: random.Random, adapter: Path, target: Path) -> Path:
    """Copy an adapter with a pipe or a link in it, or with damaged bytes."""
    shutil.copytree(adapter, target)
    if chance.random() < 0.2:
        return _odd_file(chance, target)
    file = chance.choice(sorted(target.iterdir()))
    data = bytearray(file.read_bytes())
    for _ in range(chance.choice((0, 1, 4, 40))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.1:
        data = data[: chance.randrange(len(data))]
    file.write_bytes(data)
    return target


def _odd_file(chance: random.Random, target: Path) -> Path:
    names = (
        *("card.json", "adapter_config.json", "adapter_model.safetensors"),
        *("tokenizer_config.json", "chat_template.jinja"),
    )
    odd = target / chance.choice(names)
    odd.unlink(missing_ok=True)
    if chance.random() < 0.5:
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero")
    return target
