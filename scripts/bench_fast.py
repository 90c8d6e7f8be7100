"""The fast path against llama.cpp and plain transformers, and its distance from exact.

llama.cpp runs in a process and an environment of its own, with the same file and as
many threads; of its two kinds of attention the better one counts, context by context.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bench_tools import compare, row

from lmtui.engine.engine import LocalEngine
from lmtui.engine.generation.prompt_lookup import PromptLookup
from lmtui.engine.sampling.chain import DrawConditions, SamplerChain
from lmtui.engine.sampling.draw import draw
from lmtui.engine.sampling.logits_store import LogitsStore, distribution
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Prompt,
    Step,
)
from lmtui.models.download import default_model
from lmtui.models.load import load

CONTEXTS = (32, 512, 2048)
PROMPTS = (50, 512, 2048)  # tokens; 50 is a chat's usual question
_ROOT = Path(__file__).parent.parent
_PACKAGE = "llama-cpp-python"
_WAITS = "OMP_WAIT_POLICY"  # that of this program is not the peer's


class Llama:
    """The peer, which is asked and answers with seconds."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, *question: object) -> float:
        """Seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def flash(self, kind: str, *given: object) -> bool:
        """Which kind of attention is the better one for a question."""
        return self.ask(kind, True, *given) < self.ask(kind, False, *given)


@contextmanager
def llama_python(python: str | None) -> Iterator[str]:
    """The Python of an environment with the peer, which is made where none is given."""
    if python is not None:
        yield python
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"installing {_PACKAGE}, which takes minutes …", file=sys.stderr)
        subprocess.run([sys.executable, "-P", "-m", "venv", folder], check=True)
        python = f"{folder}/bin/python"
        install = [python, "-P", "-m", "pip", "install", "--quiet", _PACKAGE]
        subprocess.run(install, check=True)
        yield python


@contextmanager
def llama(given: str | None, file: Path) -> Iterator[Llama]:
    """The peer with a file open."""
    script = str(Path(__file__).with_name("bench_llama.py"))
    with (
        llama_python(given) as python,
        subprocess.Popen(
            [python, script, str(file), str(torch.get_num_threads())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: os.environ[name] for name in os.environ if name != _WAITS},
        ) as process,
    ):
        yield Llama(process)
        assert process.stdin is not None
        process.stdin.close()


def our_decode(engine: LocalEngine, context: int, tokens: int) -> float:
    """Tokens a second with every statistic, after so many of context; no guesses."""
    ids = tuple(100 + (7 * i * i + i) % 20_000 for i in range(context))
    engine.cache.read(ids)
    settings = SamplingSettings(temperature=0, max_tokens=tokens)
    start = time.perf_counter()
    steps = sum(isinstance(s, Step) for s in engine.generate(Prompt(ids, ""), settings))
    return steps / (time.perf_counter() - start)


def our_prefill(engine: LocalEngine, tokens: int) -> float:
    """Tokens of a prompt a second."""
    engine.cache.reset()
    start = time.perf_counter()
    engine.cache.read([100 + (7 * i * i + i) % 20_000 for i in range(tokens)])
    return tokens / (time.perf_counter() - start)


@torch.inference_mode()
def analysis(engine: LocalEngine) -> float:
    """Seconds for all that a panel shows of a token, and for drawing it."""
    logits = engine.backend.logits([1, 2, 3])[0]
    positions, random = LogitsStore(lambda context: logits), torch.Generator()
    chain, times = SamplerChain(SamplingSettings()), []
    for _ in range(200):
        start = time.perf_counter()
        position = positions.add(logits, DrawConditions())
        look = position.view(chain)
        place = draw(look.sampled, random)
        float(look.sampled_rows.logprobs[place])
        position.rank(place, look)
        distribution(position, look, engine._vocabulary)
        times.append(time.perf_counter() - start)
    return median(times)


def first_start(model: str | None) -> float:
    """Seconds from the start of a process to its first token, with nothing kept."""
    with tempfile.TemporaryDirectory() as home:
        source = default_model.default_file() if model is None else Path(model)
        command = [sys.executable, "-P", "-m", "lmtui", "chat", "--once", "Hi"]
        start = time.perf_counter()
        with subprocess.Popen(
            [*command, "--model", str(source), "--max-tokens", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LMTUI_HOME": home, "PATH": "/usr/bin:/bin"},
        ) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            taken = time.perf_counter() - start
            process.stdout.read()
    return taken


_PEAK = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=-3, stderr=-3)
print(os.wait4(process.pid, 0)[2].ru_maxrss)
"""


def peak_memory(model: str | None) -> int:
    """Bytes that a process needs at most to answer, mapped files included."""
    source = default_model.default_file() if model is None else Path(model)
    command = [sys.executable, "-P", "-m", "lmtui", "chat", "--once", "Hi"]
    # Begun by a small process: a peak counts from what was there before the program.
    told = subprocess.run(
        [sys.executable, "-P", "-c", _PEAK, *command, "--model", str(source)],
        capture_output=True,
        check=True,
    )
    return int(told.stdout) * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def no_compiler() -> Iterator[None]:
    """A home in which nothing is compiled, and no compiler."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"LMTUI_HOME": home, "CXX": "/nowhere/c++"}
        try:
            yield
        finally:
            os.environ.clear()
            os.environ |= before


@contextmanager
def without_guesses() -> Iterator[None]:
    """Nothing is guessed: every token is a pass of its own."""
    guess = PromptLookup.guess
    PromptLookup.guess = lambda self, limit: ()  # type: ignore[method-assign]
    try:
        yield
    finally:
        PromptLookup.guess = guess  # type: ignore[method-assign]


def print_fidelity(fast: LocalEngine, exact: LocalEngine, tokens: int = 4_000) -> None:
    """How far the fast path is from the exact one, on two real texts."""
    print(
        f"\n| {tokens:,} tokens, fast / exact | mean KL, nats | same top token "
        "| mean and largest difference of a token's logprob |\n|---|---|---|---|"
    )
    for file in (_ROOT / "README.md", Path(textwrap.__file__)):
        ids = exact.encode(file.read_text(encoding="utf-8")).ids[:tokens]
        divergence, same, off = [], [], []
        for start in range(0, len(ids), 2_000):
            part = ids[start : start + 2_000]
            targets = torch.tensor(part[1:]).unsqueeze(1)
            both = (
                torch.cat(list(engine.backend.all_logits(part))).log_softmax(-1)
                for engine in (exact, fast)
            )
            wanted, found = both
            divergence.append((wanted.exp() * (wanted - found)).sum(-1))
            same.append((wanted.argmax(-1) == found.argmax(-1)).float())
            difference = wanted[:-1].gather(1, targets) - found[:-1].gather(1, targets)
            off.append(difference.abs())
        figures = [torch.cat(each) for each in (divergence, same, off)]
        kl, alike, mean = (float(each.mean()) for each in figures)
        print(f"| {file.name} | {kl:.1e} | {alike:.1%} | {mean:.3f}", end="")
        print(f", {float(figures[2].max()):.2f} |")


def print_fast(
    fast: LocalEngine, exact: LocalEngine, *, peer: Path, options: object
) -> None:
    """All tables of the fast path."""
    rounds, tokens = options.rounds, options.tokens  # type: ignore[attr-defined]
    with llama(options.llama, peer) as other, without_guesses():  # type: ignore[attr-defined]
        _print_pairs(fast, other, rounds, tokens)
        print("\nThe same, nothing compiled:")
        with no_compiler():
            uncompiled = LocalEngine(load(str(peer), quantize="auto"))
            print_decoding(uncompiled, other, rounds, tokens)
    print(f"\nAll that the panel shows of a token: {analysis(fast) * 1e3:.2f} ms.")
    start = first_start(options.model)  # type: ignore[attr-defined]
    print(f"Process start → first token, with nothing kept: {start:.1f} s.")
    most = peak_memory(options.model) / 2**20  # type: ignore[attr-defined]
    print(f"Peak memory of a process that answers: {most:,.0f} MiB, mapped files too.")
    print_fidelity(fast, exact)


@without_guesses()
def print_busy(fast: LocalEngine, *, peer: Path, options: Any) -> None:
    """The table beside a process that takes a core all of the time."""
    with llama(options.llama, peer) as other:
        print("\nAlone:")
        print_decoding(fast, other, options.rounds, options.tokens)
        print_prompts(fast, other, options.rounds, PROMPTS[:1])
        command = [sys.executable, "-P", "-c", "while True: pass"]
        with subprocess.Popen(command) as busy:
            print("\nBeside a busy process:")
            print_decoding(fast, other, options.rounds, options.tokens)
            print_prompts(fast, other, options.rounds, PROMPTS[:1])
            busy.kill()


def print_decoding(
    fast: LocalEngine,
    other: Llama,
    rounds: int,
    tokens: int,
    contexts: tuple[int, ...] = CONTEXTS,
) -> dict[int, float]:
    """The rows of decoding, for each context; returns our tokens a second there."""
    print("\n| fast path / llama.cpp | lmtui | llama.cpp | ratio |\n|---|---|---|---|")
    found = {}
    for context in contexts:
        flash = other.flash("decode", context, tokens, 0)

        def ours(n: int = context) -> float:
            return our_decode(fast, n, tokens)

        def theirs(n: int = context, flash: bool = flash) -> float:
            return 1 / other.ask("decode", flash, n, tokens, 0)

        result = compare(ours, theirs, rounds)
        row(f"decode with all statistics, context {context:,}", result, "tokens/s")
        found[context] = result[0]
    return found


def _print_pairs(fast: LocalEngine, other: Llama, rounds: int, tokens: int) -> None:
    print_decoding(fast, other, rounds, tokens)
    result = compare(
        lambda: our_decode(fast, 512, tokens),
        lambda: 1 / other.ask("decode", True, 512, tokens, 20),
        rounds,
    )
    row("the same, context 512 / with logprobs=20", result, "tokens/s")
    print_prompts(fast, other, rounds, PROMPTS)


def print_prompts(
    fast: LocalEngine, other: Llama, rounds: int, counts: Sequence[int]
) -> None:
    """The rows of prompts of so many tokens."""
    for count in counts:
        flash = other.flash("prefill", count)
        result = compare(
            lambda n=count: our_prefill(fast, n),
            lambda n=count, f=flash: n / other.ask("prefill", f, n),
            rounds,
        )
        row(f"a prompt of {count:,} tokens", result, "tokens/s")
