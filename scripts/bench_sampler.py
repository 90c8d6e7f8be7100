"""The sampler's whole chain for one token, against llama.cpp's on the same logits."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median

import numpy as np
import torch
from bench_documents import prose
from bench_fast import llama_python
from bench_tools import compare
from torch import Tensor

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling.chain import DrawConditions, SamplerChain
from lmtui.engine.sampling.draw import draw
from lmtui.engine.sampling.vocabulary_search import VocabularyIndex
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.token_ids import Ids, ids_array

CONTEXT = 2048
"""Tokens that the penalties and DRY look back on."""
LARGE = 151_936
"""Size of a larger vocabulary, with logits that are drawn at random."""
_TOKENS = 200  # of one measurement
GRAMMARS = {
    "JSON schema": json.dumps(
        {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "size": {"type": "number"},
            },
            "required": ["name", "tags", "size"],
        }
    ),
    "any JSON, as GBNF": r"""
root ::= value
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x00-\x1F] | "\\" ["\\bfnrt])* "\"" ws
number ::= "-"? [0-9]+ ("." [0-9]+)? ws
ws ::= | " " | "\n" [ \t]{0,20}
""",
    "a list, as GBNF": 'root ::= item+\nitem ::= "- " [^\\r\\n]+ "\\n"\n',
    "a regular expression": r"/([A-Z][a-z ]{1,40}\. ?){1,5}/",
}
"""Grammars as settings, by what they are called."""


def print_sampler(engine: LocalEngine, peer: Path, options: Namespace) -> None:
    """A table: the default chain, all stages, and all with a grammar's mask."""
    random = torch.Generator().manual_seed(0)
    context = engine.encode(prose()).ids[:CONTEXT]
    real = engine.backend.logits(context)[-1]
    large = torch.randn(LARGE, generator=random) * 3
    print("\n| sampler, one token | lmtui | llama.cpp | ratio |\n|---|---|---|---|")
    for logits in (real, large):
        print_of(engine, logits, ids_array(context), peer=peer, options=options)
    print("\n| grammar, one token | median | 95 % below |\n|---|---|---|")
    for name, grammar in GRAMMARS.items():
        times = sorted(mask_seconds(engine, grammar, rounds=options.rounds))
        slow = times[len(times) * 95 // 100]
        print(f"| {name} | {1e6 * median(times):.0f} µs | {1e6 * slow:.0f} µs |")


@torch.inference_mode()
def print_of(
    engine: LocalEngine, logits: Tensor, context: Ids, *, peer: Path, options: Namespace
) -> None:
    """The rows of one vocabulary."""
    size = logits.numel()
    lookup = VocabularyIndex(engine._vocabulary, engine.info.vocabulary)
    bans = tuple(f"{lookup.vocabulary.text(i)}=ban" for i in range(300, 320))
    everything = SamplingSettings(
        repetition_penalty=1.1,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        dry_multiplier=0.8,
        top_n_sigma=1.5,
        typical_p=0.95,
        xtc_probability=0.5,
        logit_bias=bans,
    )
    mask = torch.rand(size, generator=torch.Generator().manual_seed(1)) < 0.5
    some = DrawConditions(context, coin=0.25)
    masked = DrawConditions(context, coin=0.25, allowed=mask)

    def speed(settings: SamplingSettings, conditions: DrawConditions) -> float:
        return 1 / seconds(SamplerChain(settings, lookup), logits, conditions)

    for what, settings, conditions in (
        ("default settings", SamplingSettings(), some),
        ("all stages and a mask", everything, masked),
    ):
        found = median(speed(settings, conditions) for _ in range(options.rounds))
        print(f"| {size:,} tokens, {what} | {1e6 / found:.0f} µs | – | – |", flush=True)
    with (
        tempfile.NamedTemporaryFile(suffix=".npz") as file,
        llama_python(options.llama) as python,
    ):
        np.savez(file.name, context=context, logits=logits.numpy())
        with _peer(python, peer) as ask:
            mine, theirs, ratio = compare(
                lambda: speed(everything, some),
                lambda: 1 / ask(file.name),
                options.rounds,
            )
    print(
        f"| {size:,} tokens, all stages | {1e6 / mine:.0f} µs | {1e6 / theirs:.0f} µs "
        f"| {ratio:.2f} |",
        flush=True,
    )


@contextmanager
def _peer(python: str, model: Path) -> Iterator[Callable[[str], float]]:
    """The peer in a process; it is asked for the seconds of one token of a file."""
    script = str(Path(__file__).with_name("bench_llama_sampler.py"))
    with subprocess.Popen(
        [python, script, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def ask(file: str) -> float:
            print(json.dumps([file, _TOKENS]), file=asked, flush=True)
            return float(answers.readline())

        yield ask
        asked.close()


def seconds(chain: SamplerChain, logits: Tensor, conditions: DrawConditions) -> float:
    """Seconds for one token: all stages and the draw, without what is shown."""
    random, times = torch.Generator().manual_seed(7), []
    for _ in range(_TOKENS):
        start = time.perf_counter()
        prepared = chain.prepare(logits, conditions)
        table = chain.ranking_inputs(prepared)
        draw(chain.filter(prepared, table, conditions), random)
        times.append(time.perf_counter() - start)
    return median(times)


def mask_seconds(engine: LocalEngine, grammar: str, *, rounds: int) -> list[float]:
    """Seconds for each token of some texts that are drawn among all that a grammar
    allows: its mask, and going on by the token."""
    random, times = Random(7), list[float]()
    compiled = engine._sampler.compiled(grammar)
    for _ in range(rounds):
        matcher = compiled.matcher([2])
        for _ in range(60):
            start = time.perf_counter()
            mask = matcher.mask()
            masked = time.perf_counter()
            token = random.choice(mask.nonzero().flatten().tolist())
            begun = time.perf_counter()
            if token == 2:
                break
            matcher.accept(token)
            times.append(masked - start + time.perf_counter() - begun)
    return times
