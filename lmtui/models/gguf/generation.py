"""What a GGUF file says of generation: stop tokens and recommended sampling settings.

Fields: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
from typing import Any

from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.tokenizer import (
    END_NAMES,
    HARMONY,
    GgufTokenizer,
    is_token_id,
)

_END_FIELDS = ("eos", "eot", "eom")  # end of a text, of a turn, of a message
_SAMPLING = {
    "temperature": ("temp", 0.0, math.inf),
    "top_k": ("top_k", 0, math.inf),
    "top_p": ("top_p", 1e-6, 1.0),
    "min_p": ("min_p", 0.0, 1.0),
    "repetition_penalty": ("penalty_repeat", 1e-6, math.inf),
}
"""transformers' names of the settings; those of the fields, and their ranges."""


def end_ids(header: GgufHeader, tokenizer: GgufTokenizer) -> list[int]:
    """Return the tokens that end an answer or a text: those that fields name, and those
    that are so by their usual names."""
    ids: dict[str, int] = tokenizer.backend.get_vocab()
    fields = (f"tokenizer.ggml.{name}_token_id" for name in _END_FIELDS)
    named = [header.values.get(field) for field in fields]
    ends = {i for i in named if is_token_id(i, len(ids))}
    names = {*END_NAMES, tokenizer.specials.get("eos_token")}
    ends |= {ids[name] for name in names if name in ids}
    if ids.keys() >= HARMONY:
        # There, <|end|> ends one channel of an answer, not the answer.
        ends.discard(ids.get("<|end|>", -1))
    return sorted(ends)


def generation_config(header: GgufHeader, tokenizer: GgufTokenizer) -> dict[str, Any]:
    """Return both in the form of transformers' `generation_config.json`."""
    return {"eos_token_id": end_ids(header, tokenizer), **sampling_in(header)}


def sampling_in(header: GgufHeader) -> dict[str, float]:
    settings: dict[str, float] = {}
    for name, (field, low, high) in _SAMPLING.items():
        value = header.values.get(f"general.sampling.{field}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and low <= value <= high:
            settings[name] = value
    return settings
