"""What writing with the model costs: pairs with plain transformers, and the screen.

The pairs run here, one after the other like all of `bench.py`; what somebody waits for
at the keyboard is measured by `bench_editor.py` in a process of its own.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import torch
from bench_documents import cut, prose
from bench_tools import compare, measured_by, row

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.kernels import cpu_features
from lmtui.models.loaded_model import LoadedModel

SCORED = 1_000
GHOST = 16
_AIMS = {
    "typing": "p95 ≤ 120 at the end of 1,000",
    "first": "p50 ≤ 20",
    "at once": "p50 ≤ 60",
    "whole": "p50 ≤ 750",
}
_ROWS = {
    "typing": "from a key to the panel, writing on",
    "paused": "from a key to the panel, after a ghost",
    "first": "from the end of the pause to the ghost",
    "at once": "from a key to the ghost, without a pause",
    "whole": f"from the end of the pause to {GHOST} tokens of it",
    "alternatives": "5 alternatives",
    "replacements": "the first replacements",
}
_HEAVY = ("alternatives", "replacements")  # too few for a p95


def machine() -> str:
    """The processor, and how much of it."""
    name = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        lines = about.read_text(encoding="utf-8").splitlines()
        names = (ln.split(":", 1)[1].strip() for ln in lines if "model name" in ln)
        name = next(names, name)
    cores = psutil.cpu_count(logical=False)
    classes = cpu_features.instruction_class(), torch.backends.cpu.get_cpu_capability()
    return (
        f"{name}, {cores} cores, {torch.get_num_threads()} torch threads, "
        f"kernels for {classes[0]}, torch's for {classes[1]}"
    )


def our_rescore(engine: LocalEngine, texts: list[str]) -> float:
    """1 / seconds for all tokens of a text whose first word has changed."""
    texts.reverse()
    start = time.perf_counter()
    for _ in engine.document.score_span(texts[0], 0, len(texts[0])):
        pass
    return 1 / (time.perf_counter() - start)


@torch.inference_mode()
def bare_score(loaded: LoadedModel, ids: Sequence[int]) -> float:
    """1 / seconds for a forward over the same tokens and their log-softmax."""
    start = time.perf_counter()
    loaded.model(torch.tensor([ids]), use_cache=False).logits.log_softmax(-1)
    return 1 / (time.perf_counter() - start)


def our_ghost(engine: LocalEngine, text: str) -> float:
    """1 / seconds for a suggestion, where the panel was told already."""
    greedy = SamplingSettings(temperature=0, max_tokens=GHOST)
    engine.document.predict_at(text, len(text))
    start = time.perf_counter()
    steps = list(engine.document.complete(text, len(text), greedy, top_n=1))
    taken = time.perf_counter() - start
    assert len(steps) == GHOST + 1, "the text ends where the model goes on"
    return 1 / taken


class LibraryGhost:
    """`model.generate` after a prefix that is cached but for its last token."""

    def __init__(self, loaded: LoadedModel, ids: Sequence[int]) -> None:
        self._model = loaded.model
        self._ids = torch.tensor([ids])
        with torch.inference_mode():
            self._cache = loaded.model(self._ids, use_cache=True).cache

    def speed(self) -> float:
        """1 / seconds for as many tokens."""
        kept = self._ids.shape[1] - 1
        self._cache.crop(kept - self._cache.get_seq_length())
        start = time.perf_counter()
        self._model.generate(
            input_ids=self._ids,
            attention_mask=torch.ones_like(self._ids),
            cache=self._cache,
            max_new_tokens=GHOST,
            min_new_tokens=GHOST,
            do_sample=False,
        )
        return 1 / (time.perf_counter() - start)


def print_pairs(engine: LocalEngine, loaded: LoadedModel, rounds: int) -> None:
    """The table of what has a peer."""
    text = cut(engine, prose(), SCORED)
    ids = engine.encode(text).ids
    texts = [f"{word} {text}" for word in ("Here", "Now")]
    peer = LibraryGhost(loaded, ids)
    print("\n| writing | lmtui | peer | ratio |\n|---|---|---|---|")
    result = compare(
        lambda: our_rescore(engine, texts), lambda: bare_score(loaded, ids), rounds
    )
    row(f"score {len(ids):,} tokens anew / bare forward, log-softmax", result, "s")
    result = compare(lambda: our_ghost(engine, text), peer.speed, rounds)
    row(f"{GHOST} tokens after a cached prefix / model.generate", result, "s")


def print_editor(model: str | None, *, rounds: int, quick: bool) -> None:
    """The table of what somebody waits for."""
    given = (model or "", str(rounds), "1000" if quick else "100,1000,8000")
    measured = measured_by("bench_editor.py", *given)
    cases = measured["cases"]
    heads = [f"{case['tokens']:,} {case['place']}" for case in cases]
    print(f"\n| ms: p50 / p95 | {' | '.join(heads)} | aim |")
    print("|---|" + "---|" * (len(cases) + 1))
    for name, what in _ROWS.items():
        cells = [_cell(case[name], tail=name not in _HEAVY) for case in cases]
        print(f"| {what} | {' | '.join(cells)} | {_AIMS.get(name, '')} |")
    _print_rest(measured)


def _cell(values: list[float], *, tail: bool) -> str:
    """A median, and a tail where wanted; – where no ghost came in all rounds."""
    if len(values) < 2:
        return "–"
    middle = f"{median(values):.0f}"
    return f"{middle} / {p95(values):.0f}" if tail else middle


def p95(values: list[float]) -> float:
    """Nineteen in twenty are at most this."""
    return quantiles(values, n=20)[-1]


def _print_rest(measured: dict[str, Any]) -> None:
    step = median(measured["steps"])
    times = [taken for taken, _ in measured["cancels"]]
    tokens = max(count for _, count in measured["cancels"])
    print(
        f"\nFrom Esc to an engine that has stopped: {median(times):.0f} ms, p95 "
        f"{p95(times):.0f} ms; that is {median(times) / step:.1f} and "
        f"{p95(times) / step:.1f} steps of {step:.0f} ms; tokens made after it: at "
        f"most {tokens} (aim: 1)."
    )
    told = ", ".join(
        f"{p95(lags):.1f} ms {what}" for what, lags in measured["lags"].items()
    )
    print(f"p95 of the event loop's lag: {told} (aim: below 10).")
