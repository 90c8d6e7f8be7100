"""Leaving out each part of a text, against what its tokens take as one prompt."""

from __future__ import annotations

import time
from itertools import islice

from bench_documents import cut, prose

from lmtui.analysis.attribution import Attribution, Granularity
from lmtui.engine.engine import LocalEngine

TOKENS = 256
_UNITS: tuple[Granularity, ...] = ("sentence", "word")
_MOST = 40  # parts; of words the last ones, which have the least behind them


def print_why(engines: list[LocalEngine], rounds: int) -> None:
    """A row a precision and a kind of unit; a ratio above 1 beats the prompt."""
    print("\n| leaving out, before one token | lmtui | its tokens as prompts | ratio |")
    print("|---|---|---|---|")
    for engine in engines:
        text = cut(engine, prose(), TOKENS)
        for by in _UNITS:
            pairs = sorted(_seconds(engine, text, by) for _ in range(rounds))
            own, peer, units = pairs[len(pairs) // 2]
            name = f"{engine.info.dtype}, {units} by {by}"
            print(
                f"| {name} | {own:.2f} s | {peer:.2f} s | {peer / own:.2f} |",
                flush=True,
            )


def _seconds(
    engine: LocalEngine, text: str, by: Granularity
) -> tuple[float, float, int]:
    """Seconds for all units, and for as many tokens as have to be read again at the
    speed of a prompt of them."""
    encoding = engine.encode(text)
    subject = Attribution(engine, text, encoding, len(text) - 1, len(text))
    assert subject.logprob is not None  # the whole text is in the cache now
    start = time.perf_counter()
    effects = list(islice(subject.effects(by), _MOST))
    own = time.perf_counter() - start
    begins = [start for start, _ in encoding.spans]
    behind = sum(sum(begin >= effect.end for begin in begins) for effect in effects)
    prompt = encoding.ids[: max(1, behind // len(effects))]
    engine.cache.reset()
    start = time.perf_counter()
    engine.cache.read(prompt)
    speed = len(prompt) / (time.perf_counter() - start)
    return own, behind / speed, len(effects)
