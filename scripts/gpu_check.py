"""What can be said of the GPU path only where there is a GPU, in one go.

Runs the tests that need CUDA, scores a text on the GPU and in float32 on the CPU, and
measures decoding with every statistic against `generate` and against the bound that the
memory sets: each token reads each weight once. `--device cpu` goes the same way without
a GPU, to try this script itself.
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import mean

import torch
from bench import library_decode, our_decode
from bench_tools import compare

from lmtui.engine.local import LocalEngine
from lmtui.engine.types import Prompt, SamplingSettings
from lmtui.models.load import load

TEXT = Path(__file__).parents[1] / "README.md"
CONTEXTS = (32, 512, 2048)
_COPIED = 2**28  # bytes


def main() -> None:
    """Everything, as Markdown on stdout."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default=None)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("error: there is no CUDA device here", file=sys.stderr)
        print("hint: run this on a machine with an NVIDIA GPU", file=sys.stderr)
        sys.exit(2)
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "cuda"], check=False
    )
    print_machine(options.device)
    print_fidelity(options)
    print_speed(options)
    sys.exit(tests.returncode)


def print_machine(device: str) -> None:
    """What this ran on."""
    name = "the CPU"
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    print(f"\n{name}, torch {torch.__version__}\n", flush=True)


def print_fidelity(options: Namespace) -> None:
    """The text's log-probabilities here against those of float32 on the CPU."""
    text = TEXT.read_text(encoding="utf-8")
    rows = []
    for device, dtype in (("cpu", "float32"), (options.device, "auto")):
        engine = LocalEngine.open(options.model, device=device, dtype=dtype)
        ids = engine.encode(text).ids[:2000]
        rows.append(list(engine.score(ids, top=1)))
    exact, ours = rows
    pairs = [(a, b) for a, b in zip(exact, ours, strict=True) if a.logprob is not None]
    off = [abs((a.logprob or 0) - (b.logprob or 0)) for a, b in pairs]
    same = mean(a.top[0].id == b.top[0].id for a, b in pairs)
    print("| against float32 on the CPU | |\n|---|---|")
    print(
        f"| mean, max difference of a logprob | {mean(off):.2g}, {max(off):.2g} nats |"
    )
    print(f"| same first token | {same:.2%} |\n", flush=True)


def print_speed(options: Namespace) -> None:
    """Decoding against `generate` and against the memory."""
    device = torch.device(options.device)
    engine = LocalEngine.open(options.model, device=options.device)
    loaded = load(options.model, device=options.device)
    weights = sum(p.nbytes for p in loaded.model.parameters())
    bound = bandwidth(device) / weights
    settings = SamplingSettings(seed=1, max_tokens=options.tokens)
    ids = engine.encode(TEXT.read_text(encoding="utf-8")).ids
    print("| context | tokens/s | generate | × | of the bound |\n|---|---|---|---|---|")
    for context in CONTEXTS:
        prompt = Prompt((ids * (1 + context // len(ids)))[:context], "")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        ours, peer, ratio = compare(
            lambda prompt=prompt: our_decode(engine, prompt, settings),
            lambda prompt=prompt: library_decode(loaded, prompt, options.tokens),
            options.rounds,
        )
        line = f"{context} | {ours:.1f} | {peer:.1f} | {ratio:.2f} | {ours / bound:.0%}"
        print(f"| {line} |", flush=True)
    forward = engine._forward
    recorded = getattr(forward, "_records", False)
    print(f"\nsteps are {'recorded' if recorded else 'not recorded'}; ", end="")
    print(f"the bound is {bound:.0f} tokens/s", end="")
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**20
        print(f"; at most {peak:,.0f} MiB of its memory in use", end="")
    print()


def bandwidth(device: torch.device) -> float:
    """Bytes a second that the device's memory can be read at, by a sum over a lot of
    it."""
    numbers = torch.ones(_COPIED // 4, device=device)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        float(numbers.sum())
        best = max(best, _COPIED / (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    main()
