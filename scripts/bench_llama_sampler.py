"""llama.cpp's samplers as a peer: reads questions from stdin, answers with seconds.

Runs in an environment of its own, which has llama-cpp-python and not this program:
`bench_llama_sampler.py MODEL`. A question is a JSON list, `[file, rounds]`: the file
has the tokens of a context and the logits of one position. The answer is the seconds
that the whole chain takes for one token.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

import llama_cpp as cpp
import numpy as np

_ROW = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


def chain(model: cpp.Llama, size: int, context: int) -> cpp.llama_sampler_p:
    """All samplers, in the order of the program that is compared."""
    made = cpp.llama_sampler_chain_init(cpp.llama_sampler_chain_default_params())
    bias = (cpp.llama_logit_bias * 20)(*((i, float("-inf")) for i in range(20)))
    breakers = (ctypes.c_char_p * 4)(b"\n", b":", b'"', b"*")
    vocabulary = cpp.llama_model_get_vocab(model.model)
    for sampler in (
        cpp.llama_sampler_init_logit_bias(size, 20, bias),
        cpp.llama_sampler_init_penalties(size, context, 1.1, 0.1, 0.1),
        cpp.llama_sampler_init_dry(vocabulary, 0.8, 1.75, 2, context, breakers, 4),
        cpp.llama_sampler_init_temp(0.7),
        cpp.llama_sampler_init_top_n_sigma(1.5),
        cpp.llama_sampler_init_top_k(40),
        cpp.llama_sampler_init_typical(0.95, 1),
        cpp.llama_sampler_init_top_p(0.95, 1),
        cpp.llama_sampler_init_min_p(0.05, 1),
        cpp.llama_sampler_init_xtc(0.5, 0.1, 1, 7),
        cpp.llama_sampler_init_dist(7),
    ):
        cpp.llama_sampler_chain_add(made, sampler)
    return made


def seconds(model: cpp.Llama, file: str, rounds: int) -> float:
    """Seconds for one token: candidates from logits, all samplers, the draw."""
    with np.load(file) as found:
        context, logits = found["context"], found["logits"]
    made = chain(model, len(logits), len(context))
    for token in context.tolist():
        cpp.llama_sampler_accept(made, token)
    ids, rows = np.arange(len(logits), dtype=np.int32), np.empty(len(logits), _ROW)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        rows["id"], rows["logit"], rows["p"] = ids, logits, 0.0
        data = rows.ctypes.data_as(ctypes.POINTER(cpp.llama_token_data))
        array = cpp.llama_token_data_array(data, len(rows), -1, False)
        cpp.llama_sampler_apply(made, ctypes.byref(array))
        times.append(time.perf_counter() - start)
    cpp.llama_sampler_free(made)
    return float(np.median(times))


MODEL = cpp.Llama(sys.argv[1], vocab_only=True, verbose=False)
for line in sys.stdin:
    print(seconds(MODEL, *json.loads(line)), flush=True)
