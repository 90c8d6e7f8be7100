"""What the numbers of `lmtui inspect` cost, beyond those that anybody would compute.

Ours are all: logprob, rank, entropy, and the totals with histograms. The peers are one
forward in float32, alone or with a log-softmax of all its logits and the tokens' own
picked out. As a script it scores once and prints how much memory that took:
`bench_inspect.py ours|peer MODEL`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import psutil
import torch
from bench_documents import cut, prose
from bench_tools import Work, compare
from torch import Tensor

from lmtui.analysis.summary import Totals
from lmtui.engine.engine import LocalEngine
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel

LENGTH = 4_096
"""Tokens, where memory is measured."""


def score(engine: LocalEngine, ids: Sequence[int]) -> Totals:
    """All that `inspect` computes, in one window."""
    totals = Totals(limit=20)
    window = len(ids)
    for token in engine.score(ids, window=window):
        totals.add(token)
    return totals


@torch.inference_mode()
def forward(loaded: LoadedModel, ids: Sequence[int]) -> Tensor:
    """All logits [n, V]."""
    logits: Tensor = loaded.model(torch.tensor([ids]), use_cache=False).logits[0]
    return logits


@torch.inference_mode()
def naive(loaded: LoadedModel, ids: Sequence[int]) -> float:
    """The sum of the log-probabilities, the way it is written in a line."""
    logprobs = forward(loaded, ids[:-1]).log_softmax(-1)
    return float(logprobs.gather(1, torch.tensor(ids[1:]).unsqueeze(1)).double().sum())


def print_inspect(
    engine: LocalEngine, loaded: LoadedModel, *, model: str | None, rounds: int
) -> None:
    """The tables of time and of memory."""
    ids = engine.encode(cut(engine, prose(), engine.info.windows().window)).ids
    ours, theirs = score(engine, ids).logprob, naive(loaded, ids)
    assert ours is not None and abs(ours - theirs) < 1e-3 * abs(theirs)

    def speed(work: Callable[[], object]) -> Work:
        def measured() -> float:
            start = time.perf_counter()
            work()
            return len(ids) / (time.perf_counter() - start)

        return measured

    print("\n| inspect | lmtui | peer | ratio | aim |\n|---|---|---|---|---|")
    mine = speed(lambda: score(engine, ids))
    for what, peer, aim in (
        ("forward, log-softmax, gather", lambda: naive(loaded, ids), "≥ 0.95"),
        ("bare forward", lambda: forward(loaded, ids), "≥ 0.85"),
    ):
        result = compare(mine, speed(peer), rounds)
        named = f"all numbers of {len(ids):,} tokens / {what}"
        _row(named, result, "{:,.0f} tokens/s", aim)
    sizes = [_memory(who, model) for who in ("ours", "peer")]
    named = f"memory for {LENGTH:,} tokens / forward, log-softmax, gather"
    _row(named, (*sizes, sizes[0] / sizes[1]), "{:,.0f} MB", "< 0.5")


def _row(what: str, result: Sequence[float], form: str, aim: str) -> None:
    mine, peer, ratio = result
    told = f"{form.format(mine)} | {form.format(peer)} | {ratio:.2f} | {aim}"
    print(f"| {what} | {told} |", flush=True)


def _memory(who: str, model: str | None) -> float:
    """Megabytes that one scoring takes, in a process of its own."""
    command = [sys.executable, __file__, who, model or ""]
    return float(subprocess.check_output(command, text=True)) / 1e6


def _measure_memory(who: str, model: str | None) -> None:
    loaded = load(model)
    engine = LocalEngine(loaded)
    ids = engine.encode(cut(engine, prose(), LENGTH)).ids
    naive(loaded, ids[:16])  # what is made once is not counted
    done, process = threading.Event(), psutil.Process()
    before = process.memory_info().rss
    seen = [before]

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    score(engine, ids) if who == "ours" else naive(loaded, ids)
    done.set()
    watcher.join()
    print(max(seen) - before)


if __name__ == "__main__":
    _measure_memory(sys.argv[1], sys.argv[2] or None)
