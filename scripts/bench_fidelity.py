"""How far each quantisation is from float32 of the same file, beside llama.cpp.

The default model is quantised anew in each type; llama.cpp makes the mixes of K types.
Other files can be given. All read the same tokens. Reading at once is what a prompt
does, token by token what an answer does.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from bench_fast import llama_python

from lmtui.engine.engine import LocalEngine
from lmtui.models.download import default_model
from lmtui.models.gguf.header import GgufArray, read_array, read_gguf_header
from lmtui.models.gguf.tensors import GgufTensors
from lmtui.models.load import load

KINDS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
MIXES = {"Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}
"""llama.cpp's numbers of file types."""
_TOKENS = 400
_ROOT = Path(__file__).parent.parent
_QUANTIZE = """
import sys, llama_cpp
given, made, kind = sys.argv[1:]
options = llama_cpp.llama_model_quantize_default_params()
options.ftype, options.allow_requantize = int(kind), True
llama_cpp.llama_model_quantize(given.encode(), made.encode(), options)
"""
_LOGITS = """
import json, sys
import numpy as np
from llama_cpp import Llama
file, out, ids = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = Llama(file, n_ctx=2048, logits_all=True, verbose=False)
model.eval(ids)
np.save(out, np.array(model.scores[: len(ids)], np.float32))
"""


def write_as(kind: str, path: Path) -> None:
    """Write the default model with every matrix of one kind."""
    header = read_gguf_header(default_model.default_file())
    tensors = GgufTensors(header)
    writer = gguf.GGUFWriter(path, header.architecture)
    for key, value in header.pairs.items():
        if key in ("general.architecture", "general.file_type"):
            continue
        if isinstance(value, GgufArray):
            items = read_array(header, key) or []
            texts = [
                each.decode() if isinstance(each, bytes) else each for each in items
            ]
            writer.add_array(key, texts)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_string(key, value)
    for tensor in header.tensors:
        weights = tensors.floats(tensor.name).numpy()
        stored = gguf.GGMLQuantizationType[kind if weights.ndim > 1 else "F32"]
        writer.add_tensor(tensor.name, gguf.quantize(weights, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _logprobs(engine: LocalEngine, ids: list[int]) -> torch.Tensor:
    return torch.cat(list(engine.backend.all_logits(ids))).log_softmax(-1)


@torch.inference_mode()
def _one_by_one(engine: LocalEngine, ids: list[int]) -> torch.Tensor:
    held = engine.backend.new_cache()
    rows = [engine.backend.logits([token], held) for token in ids]
    return torch.cat(rows).log_softmax(-1)


def _figures(exact: torch.Tensor, other: torch.Tensor) -> str:
    """The mean KL divergence in nats, and how often the top token is the same."""
    kl = (exact.exp() * (exact - other)).sum(-1).mean()
    same = (exact.argmax(-1) == other.argmax(-1)).float().mean()
    return f"{float(kl):.1e}, {float(same):.1%}"


def print_fidelity_of_types(options: Any) -> None:
    """The table of all types."""
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name, llama_python(options.llama) as python:
        folder = Path(name)
        print(f"\nMean KL in nats and share of the same top token, {_TOKENS} tokens:")
        print("\n| file | at once | token by token | llama.cpp | matrices |")
        print("|---|---|---|---|---|")
        for kind in (*KINDS, *MIXES):
            file = folder / f"{kind}.gguf"
            if kind in KINDS:
                write_as(kind, file)
            else:
                command = [
                    python,
                    "-P",
                    "-c",
                    _QUANTIZE,
                    str(folder / "Q8_0.gguf"),
                    str(file),
                ]
                quiet = subprocess.DEVNULL
                subprocess.run([*command, str(MIXES[kind])], check=True, stderr=quiet)
            _print_file(kind, file, text, python, folder)
            if kind != "Q8_0":
                file.unlink()
        for file in options.file:
            _print_file(file.stem, file, text, python, folder)


def _print_file(name: str, file: Path, text: str, python: str, folder: Path) -> None:
    exact = LocalEngine(load(str(file)))
    ids = list(exact.encode(text).ids[:_TOKENS])
    wanted = _logprobs(exact, ids)
    fast = LocalEngine(load(str(file), quantize="auto"))
    out = folder / "logits.npy"
    subprocess.run(
        [python, "-P", "-c", _LOGITS, str(file), str(out), str(ids)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    peer = torch.from_numpy(np.load(out)).log_softmax(-1)
    cells = [
        _figures(wanted, _logprobs(fast, ids)),
        _figures(wanted, _one_by_one(fast, ids)),
        _figures(wanted, peer),
    ]
    tensors = read_gguf_header(file).tensors
    counts = Counter(tensor.type for tensor in tensors if len(tensor.shape) > 1)
    types = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    print(f"| {name} | {' | '.join(cells)} | {types} |", flush=True)
    out.unlink()
