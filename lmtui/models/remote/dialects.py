"""Table of the servers that list the most probable tokens of a position.

A dialect says where such a server is asked, by which fields, and what it tells besides.
Sends nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
DrawSettings = Mapping[str, Any]
"""How an answer is drawn: values by the names of `SamplingSettings`, with a `seed`, the
`logit_bias` of ids (-inf for a ban), and a `grammar` by its kind and its text. Whoever
asks ends the answer at an end token, if the server does not."""

COMMON_SETTINGS = frozenset(
    {"temperature", "top_k", "top_p", "min_p", "repetition_penalty",
     "presence_penalty", "frequency_penalty", "logit_bias"}
)  # fmt: skip
"""Sampling settings that vLLM draws with."""
LLAMA_SETTINGS = COMMON_SETTINGS | {
    "penalty_window",
    "dry_multiplier",
    "dry_window",
    "top_n_sigma",
    "typical_p",
    "xtc_probability",
    "sampler_order",
}
"""Those that llama.cpp draws with, and lmtui; a stage's first setting stands for its
others."""
LEAST_TOP_P = 1e-6  # 0 is refused
_GRAMMARS = {"schema": "json", "regex": "regex", "lark": "grammar", "gbnf": "grammar"}
"""Fields of vLLM's `structured_outputs` by the kinds of a grammar."""
_STAGES = {"typical_p": "typ_p"}  # of llama.cpp, where they are not ours
_COMPLETION_NAMES = (
    "temperature", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "seed",
)  # fmt: skip
_LLAMA_NAMES = (
    "temperature", "top_k", "top_p", "min_p", "typical_p", "xtc_probability",
    "xtc_threshold", "presence_penalty", "frequency_penalty", "dry_multiplier",
    "dry_base", "dry_allowed_length",
)  # fmt: skip
"""Settings that are sent under our names."""


@dataclass(frozen=True, slots=True)
class Dialect:
    name: str
    """As `--dialect` names it."""
    path: str
    length: str
    """Field of the number of tokens to draw."""
    rows: str
    """Field of the number of tokens to list."""
    counts: Sequence[int]
    """Numbers of tokens to list: the first that the server allows is used."""
    always: Mapping[str, Any]
    """Fields of every request."""
    greedy: Mapping[str, Any]
    """Fields with which the most probable token is drawn."""
    sampling: Callable[[DrawSettings, int], Json]
    """Returns the fields of some settings, given the context."""
    takes: frozenset[str]
    """Names of the sampling settings that it draws with."""
    order: Sequence[str] = ()
    """Order of its stages; empty where that is ours."""
    scores: str = ""
    """Field that asks for the scores of a prompt; empty where there is none."""
    props: str = ""
    """Path of what it tells of its model besides `/v1/models`; empty where there is
    none."""
    raw_numbers: bool = False
    """Whether it says that the log-probabilities of drawn tokens are those before the
    temperature."""
    plain_tokenize: bool = False
    """Whether its `/tokenize` reads control tokens as text where it is asked to."""
    token_logprobs: bool = False
    """Whether it may have vLLM's `logprob_token_ids` and `structured_outputs`."""


def _completion_fields(settings: DrawSettings, _: int) -> Json:
    bias = settings["logit_bias"].items()
    body = {name: settings[name] for name in _COMPLETION_NAMES} | {
        "top_k": settings["top_k"] or -1,
        "top_p": max(settings["top_p"], LEAST_TOP_P),
        # From -100, which is as good as a ban, to 100.
        "logit_bias": {str(i): max(-100.0, min(100.0, value)) for i, value in bias},
    }
    if settings["grammar"]:
        kind, text = settings["grammar"]
        body |= {"structured_outputs": {_GRAMMARS[kind]: text}, "logprobs": 1}
    return body


def llama_bias(bias: Mapping[int, float]) -> list[tuple[int, float | bool]]:
    """Return a bias of ids as llama.cpp takes it: false for a ban."""
    return [(i, value if value > -math.inf else False) for i, value in bias.items()]


def _llama_fields(settings: DrawSettings, context: int) -> Json:
    """Return all of the sampler's settings: what is left out has the value that the
    server was started with."""
    order = settings["sampler_order"]
    return {name: settings[name] for name in _LLAMA_NAMES} | {
        "top_n_sigma": settings["top_n_sigma"] or -1,  # 0 is on in some versions
        "repeat_penalty": settings["repetition_penalty"],
        "repeat_last_n": settings["penalty_window"] or context,
        "dry_penalty_last_n": settings["dry_window"] or context,
        # It refuses an empty list, and passes over an empty text.
        "dry_sequence_breakers": list(settings["dry_breakers"]) or [""],
        "samplers": [_STAGES.get(stage, stage) for stage in order],
        "dynatemp_range": 0,
        "min_keep": 0,
        "ignore_eos": False,
        "seed": settings["seed"] % (1 << 32),
        "logit_bias": llama_bias(settings["logit_bias"]),
    }


VLLM = Dialect(
    name="vllm",
    path="/v1/completions",
    length="max_tokens",
    rows="logprobs",
    counts=(500, 100, 20, 5, 1),  # 20 without --max-logprobs
    always={"return_tokens_as_token_ids": True},
    greedy={"temperature": 0},
    sampling=_completion_fields,
    takes=COMMON_SETTINGS,
    order=("penalties", "temperature", "min_p", "top_k", "top_p"),
    scores="prompt_logprobs",
    token_logprobs=True,
)
LLAMA_SERVER = Dialect(
    name="llama-server",
    path="/completion",
    length="n_predict",
    rows="n_probs",
    # As fast as 1: the server sorts its whole vocabulary in either case.
    counts=(500,),
    # Mirostat would replace the other stages.
    always={"cache_prompt": True, "mirostat": 0},
    greedy={"samplers": ["top_k"], "top_k": 1, "logit_bias": []},
    sampling=_llama_fields,
    takes=LLAMA_SETTINGS,
    props="/props",
    raw_numbers=True,
    plain_tokenize=True,
)
DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect for dialect in (VLLM, LLAMA_SERVER)
}
