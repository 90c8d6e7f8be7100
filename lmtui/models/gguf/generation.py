"""What a GGUF file says of generation: stop tokens and recommended sampling settings.

Fields: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from typing import Any

from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.tokenizer import END_NAMES, GgufTokenizer

_END_FIELDS = ("eos", "eot", "eom")  # end of a text, of a turn, of a message
_HARMONY = ("<|return|>", "<|call|>")
_SAMPLING = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
"""transformers' names of the settings, and those of the fields."""


def end_ids(header: GgufHeader, tokenizer: GgufTokenizer) -> list[int]:
    """Return the tokens that end an answer or a text: those that fields name, and those
    that are so by their usual names."""
    ids: dict[str, int] = tokenizer.backend.get_vocab()
    fields = (f"tokenizer.ggml.{name}_token_id" for name in _END_FIELDS)
    named = {header.values.get(field) for field in fields}
    ends = {i for i in named if isinstance(i, int) and 0 <= i < len(ids)}
    names = {*END_NAMES, tokenizer.specials.get("eos_token")}
    if ids.keys() >= set(_HARMONY):
        # There, <|end|> ends one channel of an answer, not the answer.
        names.discard("<|end|>")
    return sorted(ends | {ids[name] for name in names if name in ids})


def generation_config(header: GgufHeader, tokenizer: GgufTokenizer) -> dict[str, Any]:
    """Return both in the form of transformers' `generation_config.json`."""
    found: dict[str, Any] = {"eos_token_id": end_ids(header, tokenizer)}
    for name, field in _SAMPLING.items():
        value = header.values.get(f"general.sampling.{field}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    return found
