"""Families of models in GGUF files: right, small and fast, beside llama.cpp.

Small random models of each family are compared with transformers. Speed is that of
models with the shapes of real ones and random blocks of Q4_0, in files that llama.cpp
opens, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bench_fast import (
    llama,
    our_decode,
    our_prefill,
    print_decoding,
    print_prompts,
    without_guesses,
)
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).parent.parent))
from lmtui.engine.backend import Reuse
from lmtui.engine.engine import LocalEngine
from lmtui.models.load import load
from tests.models import learned, tiny
from tests.models.gguf import written
from tests.models.gguf.families import FAMILIES, IDS, made, wanted

_QWEN = {
    **{"num_hidden_layers": 24, "num_attention_heads": 8, "num_key_value_heads": 2},
    **{"head_dim": 256, "linear_num_key_heads": 16, "linear_num_value_heads": 16},
    **{"linear_key_head_dim": 128, "linear_value_head_dim": 128},
    **{"vocab_size": 248_320, "tie_word_embeddings": True},
}
_GEMMA = {
    **{"head_dim": 256, "query_pre_attn_scalar": 256, "num_attention_heads": 4},
    **{"num_key_value_heads": 1, "sliding_window": 512, "tie_word_embeddings": True},
    "vocab_size": 262_144,
}
_ATTENDS = (2, 5, 8, 10, 12, 14)
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "Gemma 3 1B": (
        "gemma3",
        {
            **_GEMMA,
            **{"hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26},
        },
    ),
    "Qwen3.5 0.8B": (
        "qwen3.5, 2 value heads",
        {**_QWEN, "hidden_size": 1024, "intermediate_size": 3584},
    ),
    "Qwen3.5 2B": (
        "qwen3.5, 2 value heads",
        {**_QWEN, "hidden_size": 2048, "intermediate_size": 6144},
    ),
    "LFM2 1.2B": (
        "lfm2",
        {
            **{"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16},
            **{"num_attention_heads": 32, "num_key_value_heads": 8},
            **{"vocab_size": 65_536, "tie_word_embeddings": True},
            "block_auto_adjust_ff_dim": False,
            "layer_types": [
                "full_attention" if i in _ATTENDS else "conv" for i in range(16)
            ],
        },
    ),
    "Gemma 4 E2B": (
        "gemma4",
        {
            **{"hidden_size": 1536, "intermediate_size": 6144, "num_hidden_layers": 35},
            **{"num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256},
            **{"global_head_dim": 512, "sliding_window": 512},
            **{"num_kv_shared_layers": 20, "use_double_wide_mlp": True},
            **{"hidden_size_per_layer_input": 256, "final_logit_softcapping": 30.0},
            **{"vocab_size": 262_144, "vocab_size_per_layer_input": 262_144},
            "tie_word_embeddings": True,
            "layer_types": [*["sliding_attention"] * 4, "full_attention"] * 7,
        },
    ),
}
"""Shapes of real models: the name of a family, and what its configuration says."""

_PROMPT = 500
_REUSE = {
    Reuse.ANY_PREFIX: "any token",
    Reuse.CHECKPOINTS: "checkpoints",
    Reuse.NOTHING: "nothing",
}
_OPENING = """
import json, sys, time
def anonymous():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return int(next(line for line in lines if line.startswith("Anonymous")).split()[1])
import torch, transformers
from transformers import AutoModelForCausalLM
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import Prompt
idle, start = anonymous(), time.perf_counter()
engine = LocalEngine.open(sys.argv[1], device="cpu", quantize="auto")
prompt = Prompt(tuple(range(100, 132)), "")
next(engine.generate(prompt, SamplingSettings(max_tokens=1)))
taken = time.perf_counter() - start
list(engine.generate(prompt, SamplingSettings(max_tokens=20, temperature=0)))
print(json.dumps({"seconds": taken, "bytes": 1024 * (anonymous() - idle)}))
"""


def print_families(options: Any) -> None:
    """The table of right answers, then that of speed."""
    print(
        "\n| family | files | route | log P off by at most, float32 | as stored, mean "
        "KL of 8 tokens | with an adapter, mean KL | goes back to |\n|" + "---|" * 7
    )
    for name in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            for files, cells in _checked(name, Path(folder)):
                print(f"| {name} | {files} | {' | '.join(cells)} |", flush=True)
    for name, (family, shape) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            file = written.write_shape(FAMILIES[family], shape, Path(folder, "it.gguf"))
            _print_speed(f"{name}, Q4_0", file, options)
    for file in options.file:
        _print_speed(file.stem, file, options)


def _checked(name: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield what holds for a family in a GGUF file, and in a folder of 16 bits."""
    model, file = made(name, folder, "F32")
    off = float((_rows(file, "none", IDS) - wanted(model)).abs().max())
    base = folder / "base"
    model.bfloat16().save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    attention = r".*self_attn\.\w+_proj"
    lora = learned.save_lora(folder / "lora", base, target_modules=attention)
    _, file = made(name, folder, "Q8_0")
    yield "GGUF", _cells(file, off, lora)
    again = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    off = float((_rows(base, "none", IDS) - wanted(again)).abs().max())
    yield "folder", _cells(base, off, lora)


def _cells(place: Path, off: float, lora: Path) -> list[str]:
    found = load(str(place), device="cpu", quantize="auto")
    route = "native" if found.is_llama else "general" if found.in_blocks else "library"
    few, ways = IDS[:8], ("none", "auto")
    alone, beside = (
        _divergence(*(_rows(place, way, few, adapter) for way in ways))
        for adapter in (None, str(lora))
    )
    reuse = _REUSE[LocalEngine(found).backend.reuse]
    return [route, f"{off:.0e}", f"{alone:.0e}", f"{beside:.0e}", reuse]


def _rows(
    place: Path, quantize: Any, ids: list[int], adapter: str | None = None
) -> torch.Tensor:
    dtype = "float32" if quantize == "none" else "auto"
    how = {"device": "cpu", "quantize": quantize, "dtype": dtype, "adapter": adapter}
    engine = LocalEngine(load(str(place), **how))
    return torch.cat([*engine.backend.all_logits(ids)]).log_softmax(-1)


def _divergence(one: torch.Tensor, other: torch.Tensor) -> float:
    """The mean KL divergence between rows of logprobs [n, V]."""
    return float((one.exp() * (one - other)).sum(-1).mean())


@without_guesses()
def _print_speed(name: str, file: Path, options: Any) -> None:
    size = file.stat().st_size
    print(f"\n{name}, {size / 1e9:.2f} GB:")
    with tempfile.TemporaryDirectory() as home:
        for _ in range(2):  # the first one compiles
            child = subprocess.run(
                [sys.executable, "-P", "-c", _OPENING, str(file)],
                check=True,
                stdout=subprocess.PIPE,
                env=os.environ | {"LMTUI_HOME": home},
            )
        kept = sum(each.stat().st_size for each in Path(home).rglob("packed/*/*"))
    opened = json.loads(child.stdout)
    engine = LocalEngine(load(str(file), device="cpu", quantize="auto"))
    if not (options.llama and _print_pairs(engine, file, options)):
        alone = our_decode(engine, 32, options.tokens)
        read = our_prefill(engine, _PROMPT)
        print(f"\nDecode {alone:.1f}, a prompt of {_PROMPT} {read:.0f} tokens/s.")
    route = "native" if engine.loaded.is_llama else "general"
    print(
        f"\nRoute: {route}. First word after imports: {opened['seconds']:.1f} s. "
        f"Memory above the idle libraries, mapped file not counted: "
        f"{opened['bytes'] / 1e9:.2f} GB. Kept on disk: {kept / 1e6:.1f} MB."
    )


def _print_pairs(engine: LocalEngine, file: Path, options: Any) -> bool:
    """Print the pairs; return whether llama.cpp opens the file."""
    try:
        with llama(options.llama, file) as other:
            print_decoding(engine, other, options.rounds, options.tokens, (32,))
            print_prompts(engine, other, options.rounds, (_PROMPT,))
    except (ValueError, BrokenPipeError):  # it ended without an answer
        print("llama.cpp does not open it")
        return False
    return True
