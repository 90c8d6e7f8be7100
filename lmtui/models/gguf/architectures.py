"""The architectures of GGUF files that can run, and the error for the others."""

from __future__ import annotations

from lmtui.errors import LmtuiError
from lmtui.models.gguf.header import GgufHeader

_OTHER_NAMES = {
    "gpt-oss": "gpt_oss",
    "minimax-m2": "minimax_m2",
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
}
"""Names in files, and those by which transformers lists what it reads."""
_NOT_RUN = {"general", "tokenizer", "mistral", "deci", "t5", "umt5"}
"""Entries of that list that are no architecture of a file, no causal model, or have no
model in transformers."""


def runnable() -> list[str]:
    """Return the architectures that transformers reads, by their names in files."""
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    listed = {*GGUF_CONFIG_ARCHS, *GGUF_SUPPORTED_ARCHITECTURES} - _NOT_RUN
    in_files = {theirs: ours for ours, theirs in _OTHER_NAMES.items()}
    return sorted(in_files.get(name, name) for name in listed)


def require_runnable(header: GgufHeader) -> None:
    """Refuse a file whose architecture can't run."""
    known = runnable()
    if header.architecture not in known:
        raise LmtuiError(
            "this kind of model is not supported",
            f"{header.path}: its architecture is {header.architecture}",
            f"GGUF files of these run: {', '.join(known)}. For others, try the model's "
            "folder from the Hub.",
        )
