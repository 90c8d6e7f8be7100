"""Does lmtui run on this machine's GPU, exactly and fast? One table, each row with a
verdict: holds, falls short, or not tried.

It runs the tests that need CUDA, compares numbers (float32 with the CPU, bfloat16 with
float32 on the GPU), and measures decoding with every statistic: against `generate`, a
CUDA build of llama.cpp (`llama-bench` on the path or by `--llama`) and the bound that
memory sets, since each token reads each weight once; how often a token waits for the
GPU; and memory. Takes some minutes. Exits with 1 where a row falls short, and with 2
where there is no GPU. `--device cpu` tries the script itself.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, NamedTuple

import torch
from bench import library_decode, our_decode
from bench_fast import analysis
from bench_tools import compare

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.models import accelerator, memory
from lmtui.models.download import default_model
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel

TEXT = Path(__file__).parents[1] / "README.md"
CONTEXTS = (32, 512, 2048)
NEAR = 1e-3  # nats: a logprob in float32
NEAR_IN_HALF = 2e-3  # nats: mean divergence in bfloat16, which is 1.2e-3 on a CPU
OF_LLAMA = 0.9  # of llama.cpp's tokens/s
OF_BANDWIDTH = 0.7  # by a model that is large enough to be bound by it
LARGE = 8e9  # bytes of such a model
_COPIED = 2**28  # bytes
_SCORED = 1000  # tokens


class Row(NamedTuple):
    """A line of the table."""

    what: str
    figure: str
    holds: bool | None
    """None where it was not tried."""

    @property
    def verdict(self) -> str:
        if self.holds is None:
            return "not tried"
        return "holds" if self.holds else "falls short"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, each row as soon as it is known."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default=None)
    parser.add_argument("--llama", default=shutil.which("llama-bench"))
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.device != "cpu" and options.device not in accelerator.names():
        print("error: there is no such device here", file=sys.stderr)
        print("hint: run this on a machine with a GPU", file=sys.stderr)
        sys.exit(2)
    name = accelerator.described(torch.device(options.device))
    print(f"{name}, torch {torch.__version__}\n\n| what | figure | verdict |")
    print("|---|---|---|", flush=True)
    rows: list[Row] = []
    for row in tried(CHECKS, options):
        print(f"| {row.what} | {row.figure} | {row.verdict} |", flush=True)
        rows.append(row)
    sys.exit(status(rows))


Check = Callable[[Namespace], Iterator[Row]]


def tried(checks: Sequence[Check], options: Namespace) -> Iterator[Row]:
    """Yield the rows of all checks; one that fails is a row that falls short."""
    for check in checks:
        try:
            yield from check(options)
        except (RuntimeError, OSError, SubprocessError, LmtuiError) as error:
            words = " ".join(str(error).split())
            yield Row(check.__name__.replace("_", " "), words[:200], False)


def status(rows: Sequence[Row]) -> int:
    """Return the exit status: 1 where a row falls short, or none was tried."""
    verdicts = [row.holds for row in rows]
    return int(False in verdicts or True not in verdicts)


def tests_that_need_cuda(options: Namespace) -> Iterator[Row]:
    if torch.device(options.device).type != "cuda":
        yield Row("tests that need CUDA", "", None)
        return
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-m", "cuda"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    last = (done.stdout.strip() or done.stderr.strip()).split("\n")[-1].strip("= ")
    yield Row("tests that need CUDA", last, done.returncode == 0)


def exactness(options: Namespace) -> Iterator[Row]:
    """The text's log-probabilities, as they are computed in three ways."""
    exact, at = logprobs(options, options.device, "float32")
    on_cpu, _ = logprobs(options, "cpu", "float32")
    off = (exact.gather(1, at) - on_cpu.gather(1, at)).abs()
    figure = f"a logprob is off by {float(off.max()):.2g} nats at most"
    yield Row("float32, against the CPU", figure, float(off.max()) <= NEAR)
    half, _ = logprobs(options, options.device, "bfloat16")
    divergence = float((exact.exp() * (exact - half)).sum(-1).mean())
    same = float((exact.argmax(-1) == half.argmax(-1)).double().mean())
    figure = f"{divergence:.2g} nats a token, the same first token at {same:.1%}"
    yield Row("bfloat16, against float32", figure, divergence <= NEAR_IN_HALF)


def logprobs(
    options: Namespace, device: str, dtype: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities after each token of a text but the last: float64 [n - 1, V],
    and the ids of the tokens there, [n - 1, 1]."""
    engine = LocalEngine.open(options.model, device=device, dtype=dtype)
    ids = engine.encode(TEXT.read_text(encoding="utf-8")).ids[:_SCORED]
    blocks = [block.cpu() for block in engine.backend.all_logits(ids[:-1])]
    return torch.cat(blocks).double().log_softmax(-1), torch.tensor(ids[1:])[:, None]


def decoding(options: Namespace) -> Iterator[Row]:
    """Speed, waits and memory of the model as a chat runs it."""
    device = torch.device(options.device)
    on_cuda = device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    loaded = load(options.model, device=options.device, quantize="auto")
    engine = LocalEngine(loaded)
    speeds = yield from against_generate(engine, loaded, options)
    recorded = bool(getattr(engine.backend, "_records", False))
    yield Row("steps are recorded", "", recorded if on_cuda else None)
    seconds = f"{analysis(engine) * 1e3:.2f} ms for all that is shown of a token"
    yield Row("the panel's numbers", seconds, None)
    yield against_memory(engine, speeds[0], device)
    yield against_llama(options, speeds[0])
    if not on_cuda:
        yield Row("waits for the GPU", "", None)
        yield Row("memory", "", None)
        return
    count = waits(engine)
    yield Row("waits for the GPU", f"{count:.2f} a token; 1 is meant", count <= 1)
    peak = torch.cuda.max_memory_allocated(device)
    need = memory.bytes_needed(parameters(loaded), engine.info.dtype)
    figure = f"{peak / 2**20:,.0f} MiB of the GPU's, {need / 2**20:,.0f} said before"
    yield Row("memory", figure, peak <= need)


def against_generate(
    engine: LocalEngine, loaded: LoadedModel, options: Namespace
) -> Generator[Row, None, list[float]]:
    """Yield a row for each length of what was read before; return our tokens/s."""
    settings, speeds = SamplingSettings(seed=1, max_tokens=options.tokens), []
    for context in CONTEXTS:
        prompt = prompt_of(engine, context)
        if isinstance(loaded.model, torch.nn.Module):
            ours, peer, ratio = compare(
                lambda prompt=prompt: our_decode(engine, prompt, settings),
                lambda prompt=prompt: library_decode(loaded, prompt, options.tokens),
                options.rounds,
            )
            figure = f"{ours:.1f} tokens/s, {ratio:.2f} × {peer:.1f} of `generate`"
            holds: bool | None = ratio >= 1
        else:
            ours, holds = our_decode(engine, prompt, settings), None
            figure = f"{ours:.1f} tokens/s"
        speeds.append(ours)
        yield Row(f"{engine.info.dtype} after {context} tokens", figure, holds)
    return speeds


def against_memory(engine: LocalEngine, speed: float, device: torch.device) -> Row:
    """The share of the bound that reading each weight once a token sets."""
    model = engine.loaded.model
    if not isinstance(model, torch.nn.Module):
        return Row("share of the bandwidth", "", None)
    size = sum(int(weight.nbytes) for weight in model.parameters())
    share = speed * size / bandwidth(device)
    figure = (
        f"{share:.0%}; {OF_BANDWIDTH:.0%} are meant of {LARGE / 1e9:.0f} GB or more"
    )
    return Row(
        "share of the bandwidth",
        figure,
        share >= OF_BANDWIDTH if size >= LARGE else None,
    )


def against_llama(options: Namespace, speed: float) -> Row:
    """The same file run by llama.cpp, every layer on the GPU."""
    file = Path(options.model or default_model.default_file())
    what = "against llama.cpp"
    if options.llama is None or file.suffix != ".gguf":
        missing = "no llama-bench" if options.llama is None else "no GGUF file"
        return Row(what, missing, None)
    command = [options.llama, "-m", str(file), "-p", "0", "-o", "json"]
    asked = ["-n", str(options.tokens), "-r", str(options.rounds), "-ngl", "99"]
    done = subprocess.run([*command, *asked], check=True, capture_output=True)
    theirs = float(json.loads(done.stdout)[-1]["avg_ts"])
    figure = f"{speed / theirs:.2f} × {theirs:.1f} tokens/s"
    return Row(what, figure, speed >= OF_LLAMA * theirs)


def prompt_of(engine: LocalEngine, context: int) -> Prompt:
    """So many tokens of a text."""
    ids = engine.encode(TEXT.read_text(encoding="utf-8")).ids
    return Prompt((ids * (1 + context // len(ids)))[:context], "")


def parameters(loaded: Any) -> int:
    return sum(weight.numel() for weight in loaded.model.parameters())


def waits(engine: LocalEngine) -> float:
    """How often the GPU is waited for, a token."""
    settings = SamplingSettings(seed=1, max_tokens=40)  # a draw may end it at once
    made = engine.generate(prompt_of(engine, 32), settings)
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


CHECKS: tuple[Check, ...] = (tests_that_need_cuda, exactness, decoding)

if __name__ == "__main__":
    main()
