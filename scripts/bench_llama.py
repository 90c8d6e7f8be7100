"""llama.cpp as a peer: reads questions from stdin, answers with seconds on stdout.

Runs in an environment of its own, which has llama-cpp-python and not this program:
`bench_llama.py MODEL THREADS`. A question is a JSON list: `["decode", flash, context,
tokens, logprobs]` or `["prefill", flash, tokens]`; the answer is one number, the
seconds for one token, or for all of a prompt.
"""

from __future__ import annotations

import json
import sys
import time

from llama_cpp import Llama

_CONTEXT = 4096


def ids(count: int) -> list[int]:
    """Any tokens."""
    return [100 + (7 * i * i + i) % 20_000 for i in range(count)]


def opened(flash: bool, *, logits: bool = False) -> Llama:
    """The model, with flash attention or without."""
    threads = int(sys.argv[2])
    return Llama(
        sys.argv[1],
        n_ctx=_CONTEXT,
        n_threads=threads,
        n_threads_batch=threads,
        flash_attn=flash,
        logits_all=logits,
        verbose=False,
    )


MODELS: dict[tuple[bool, bool], Llama] = {}


def model(flash: bool, *, logits: bool = False) -> Llama:
    """The same one again."""
    key = flash, logits
    if key not in MODELS:
        MODELS[key] = opened(flash, logits=logits)
    return MODELS[key]


def decode(flash: bool, context: int, tokens: int, logprobs: int) -> float:
    """Seconds a token after so many of context, greedy."""
    llama = model(flash, logits=bool(logprobs))
    prompt = ids(context)
    if logprobs:  # the library's own way to the probabilities
        times: list[float] = []
        for _ in llama.create_completion(
            prompt,
            max_tokens=tokens,
            temperature=0,
            logprobs=logprobs,
            stream=True,
        ):
            times.append(time.perf_counter())
        return (times[-1] - times[0]) / (len(times) - 1)
    llama.reset()
    llama.eval(prompt)
    start = time.perf_counter()
    for _ in range(tokens):
        llama.eval([llama.sample(temp=0)])
    return (time.perf_counter() - start) / tokens


def prefill(flash: bool, tokens: int) -> float:
    """Seconds for a prompt."""
    llama = model(flash)
    llama.reset()
    start = time.perf_counter()
    llama.eval(ids(tokens))
    return time.perf_counter() - start


for line in sys.stdin:
    kind, *given = json.loads(line)
    print(decode(*given) if kind == "decode" else prefill(*given), flush=True)
