"""What can be said of the GPU path only where there is a GPU, in one go.

Runs the tests that need CUDA, scores a text on the GPU and in float32 on the CPU, and
measures decoding with every statistic, in the model's own dtype and with weights of 4
bits, against `generate` and against the bound that the memory sets: each token reads
each weight once. It counts how often a token waits for the GPU, which should be once.
`--device cpu` goes the same way without a GPU, to try this script itself.
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from bench import library_decode, our_decode
from bench_fast import analysis
from bench_tools import compare

from lmtui.engine.engine import LocalEngine
from lmtui.engine.types import Prompt, SamplingSettings, Step
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel

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
        rows.append(list(engine.score(ids, top_n=1)))
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
    read, on_gpu = bandwidth(device), device.type == "cuda"
    print("| weights | context | tokens/s | generate | × | of the bound |")
    print("|---|---|---|---|---|---|")
    plain = load(options.model, device=options.device)
    engine, bound = LocalEngine(plain), read / weight_bytes(plain.model)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    print_contexts(engine, plain, bound, options)
    print("\n" + note_of(engine, bound, options))


def print_contexts(
    engine: LocalEngine, plain: LoadedModel, bound: float, options: Namespace
) -> None:
    """A row for each length of what was read before."""
    settings = SamplingSettings(seed=1, max_tokens=options.tokens)
    for context in CONTEXTS:
        prompt = prompt_of(engine, context)
        ours, peer, ratio = compare(
            lambda prompt=prompt: our_decode(engine, prompt, settings),
            lambda prompt=prompt: library_decode(plain, prompt, options.tokens),
            options.rounds,
        )
        line = f"{engine.info.dtype} | {context} | {ours:.1f} | {peer:.1f}"
        print(f"| {line} | {ratio:.2f} | {ours / bound:.0%} |", flush=True)


def note_of(engine: LocalEngine, bound: float, options: Namespace) -> str:
    """What else there is to say of a way to hold the weights."""
    recorded = getattr(engine.backend, "_records", False)
    said = [
        f"steps are {'recorded' if recorded else 'not recorded'}",
        f"the bound is {bound:.0f} tokens/s",
        f"all that is shown of a token takes {analysis(engine) * 1e3:.2f} ms",
    ]
    if engine.info.why:
        said.append(engine.info.why)
    if options.device.startswith("cuda"):
        said.append(f"{waits(engine):.2f} waits for the GPU a token, where 1 is meant")
        peak = torch.cuda.max_memory_allocated(options.device) / 2**20
        said.append(f"at most {peak:,.0f} MiB of its memory in use")
    return f"{engine.info.dtype}: {'; '.join(said)}"


def prompt_of(engine: LocalEngine, context: int) -> Prompt:
    """So many tokens of a text."""
    ids = engine.encode(TEXT.read_text(encoding="utf-8")).ids
    return Prompt((ids * (1 + context // len(ids)))[:context], "")


def weight_bytes(model: Any) -> int:
    """What a token reads of a model."""
    return sum(int(p.nbytes) for p in model.parameters())


def waits(engine: LocalEngine) -> float:
    """How often the GPU is waited for, a token."""
    made = engine.generate(prompt_of(engine, 32), SamplingSettings(max_tokens=40))
    steps = [next(made) for _ in range(8)]  # by then a step is recorded
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        steps = [step for step in made if isinstance(step, Step)]
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(each.message) for each in told) / len(steps)


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
