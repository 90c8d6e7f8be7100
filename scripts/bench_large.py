"""A model of a billion random weights, mapped from its GGUF file, against llama.cpp.

The shape is that of Llama 3.2 1B. Two files are made: one of Q4_0 alone, and one with
the mix of Q4_K and Q6_K that is common. Their tokens are those of the default model,
and unused ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from bench_fast import Llama, llama, print_decoding, print_prompts, without_guesses

from lmtui.engine.engine import LocalEngine
from lmtui.models.download import default_model
from lmtui.models.gguf.header import read_array, read_gguf_header
from lmtui.models.load import load

LAYERS, WIDTH, FFN, HEADS, KV_HEADS, VOCABULARY = 16, 2048, 8192, 32, 8, 128_256
FILES = {"Q4_0": ("Q4_0",) * 3, "Q4_K and Q6_K": ("Q4_K", "Q6_K", "Q6_K")}
_PROMPT = 512
_OPENING = """
import json, sys, time
start = time.perf_counter()
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import Prompt

def private():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return int(next(line for line in lines if line.startswith("Anonymous")).split()[1])

engine = LocalEngine.open(sys.argv[1], device="cpu", quantize="auto")
prompt = Prompt(tuple(range(100, 132)), "")
next(engine.generate(prompt, SamplingSettings(max_tokens=1)))
taken = time.perf_counter() - start
list(engine.generate(prompt, SamplingSettings(max_tokens=20, temperature=0)))
print(json.dumps({"seconds": taken, "private": private() * 1024}))
"""
_IDLE = """
import torch
from lmtui.models.load import load
lines = open("/proc/self/smaps_rollup").read().splitlines()
kilobytes = next(line for line in lines if line.startswith("Anonymous")).split()[1]
print(int(kilobytes) * 1024)
"""


def write_model(path: Path, kinds: tuple[str, str, str]) -> None:
    """Write a model whose matrices are of the first kind; of the second are half of
    those that files mix, and of the third the embedding."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random 1B")
    writer.add_context_length(131_072)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCABULARY)
    _add_tokens(writer)
    most, others, embedding = kinds
    keys = WIDTH // HEADS * KV_HEADS
    _add_matrix(writer, "token_embd", VOCABULARY, WIDTH, embedding)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for index in range(LAYERS):
        mixed = others if index % 2 == 0 else most
        for name in ("attn_norm", "ffn_norm"):
            ones = np.ones(WIDTH, np.float32)
            writer.add_tensor(f"blk.{index}.{name}.weight", ones)
        for name, rows, columns, kind in (
            ("attn_q", WIDTH, WIDTH, most),
            ("attn_k", keys, WIDTH, most),
            ("attn_v", keys, WIDTH, mixed),
            ("attn_output", WIDTH, WIDTH, most),
            ("ffn_gate", FFN, WIDTH, most),
            ("ffn_up", FFN, WIDTH, most),
            ("ffn_down", WIDTH, FFN, mixed),
        ):
            _add_matrix(writer, f"blk.{index}.{name}", rows, columns, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokens(writer: gguf.GGUFWriter) -> None:
    """Add the default model's tokenizer, filled up with unused tokens."""
    header = read_gguf_header(default_model.default_file())

    def texts(name: str) -> list[str]:
        items = read_array(header, f"tokenizer.ggml.{name}") or []
        return [item.decode() if isinstance(item, bytes) else item for item in items]

    tokens = texts("tokens")
    unused = [f"<unused {index}>" for index in range(VOCABULARY - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens + unused)
    writer.add_token_types([1] * len(tokens) + [5] * len(unused))
    writer.add_token_merges(texts("merges"))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _add_matrix(
    writer: gguf.GGUFWriter, name: str, rows: int, columns: int, kind: str
) -> None:
    """Add random weights of about 0.02: Q4_0 quantised by the library, which has none
    of the K formats; these as random blocks with small scales."""
    stored = gguf.GGMLQuantizationType[kind]
    random = np.random.default_rng(rows + columns)
    if not kind.endswith("_K"):
        weights = random.standard_normal((rows, columns), np.float32) * np.float32(0.02)
        data = gguf.quantize(weights, stored)
    else:
        weights_in, size = gguf.GGML_QUANT_SIZES[stored]
        shape = rows, columns // weights_in, size
        data = random.integers(0, 256, shape, dtype=np.uint8)
        scales = {0: 4e-5, 2: 3e-4} if kind == "Q4_K" else {208: 1e-5}
        for at, scale in scales.items():
            data[..., at : at + 2] = np.array([scale], np.float16).view(np.uint8)
        data = data.reshape(rows, -1)
    writer.add_tensor(f"{name}.weight", data, raw_dtype=stored)


def bandwidth() -> float:
    """Bytes a second that a sum over a gigabyte reads, the best of eight."""
    numbers, best = torch.ones(2**28), 0.0
    for _ in range(8):
        start = time.perf_counter()
        numbers.sum()
        best = max(best, 2**30 / (time.perf_counter() - start))
    return best


def bfloat16_peak() -> float:
    """Tokens of a prompt a second if only the products counted, in bfloat16."""
    inputs = torch.randn(_PROMPT, WIDTH).bfloat16()
    weights, best = torch.randn(FFN, WIDTH).bfloat16(), 0.0
    for _ in range(8):
        start = time.perf_counter()
        torch.nn.functional.linear(inputs, weights)
        best = max(best, inputs.shape[0] * FFN * WIDTH / (time.perf_counter() - start))
    keys = WIDTH // HEADS * KV_HEADS
    return best / (LAYERS * WIDTH * (2 * WIDTH + 2 * keys + 3 * FFN))


def first_opening(file: Path) -> dict[str, float]:
    """Seconds and private bytes of a process that opens a file for the first time, with
    the kernels compiled."""
    with tempfile.TemporaryDirectory() as home:
        found: dict[str, float] = {}
        for _ in range(2):  # the first one compiles
            shutil.rmtree(Path(home, "cache", "packed"), ignore_errors=True)
            found = _child(_OPENING, str(file), home=home)
    return found


def _child(code: str, *given: str, home: str | None = None) -> Any:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *given],
        check=True,
        stdout=subprocess.PIPE,
        env=dict(os.environ) | ({"LMTUI_HOME": home} if home else {}),
    )
    return json.loads(done.stdout)


@without_guesses()
def print_large(options: Any) -> None:
    """The tables of a model of a billion weights."""
    with tempfile.TemporaryDirectory() as folder:
        for name, kinds in FILES.items():
            file = Path(folder, f"{kinds[0]}.gguf")
            write_model(file, kinds)
            with llama(options.llama, file) as other:
                _print_file(name, file, other, options)


def _print_file(name: str, file: Path, other: Llama, options: Any) -> None:
    size, rounds, tokens = file.stat().st_size, options.rounds, options.tokens
    opened = first_opening(file)
    private = opened["private"] - _child(_IDLE)
    engine = LocalEngine(load(str(file), quantize="auto"))
    print(f"\n1.2B weights of {name}, {size / 1e9:.2f} GB:")
    decoded = print_decoding(engine, other, rounds, tokens, (32,))
    share = decoded[32] * size / bandwidth()
    print_prompts(engine, other, rounds, (_PROMPT,))
    print(f"\nFirst opening → first token: {opened['seconds']:.1f} s.")
    print(f"Private memory above an idle process: {private / size:.2f} of the file.")
    print(f"Bytes read at context 32, of those of a sum over 1 GB: {share:.0%}.")
    print(f"A prompt if only its products counted: {bfloat16_peak():,.0f} tokens/s.")
