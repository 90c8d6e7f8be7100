"""A tokenizer whose library panics on some texts."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

REGEX = "(a+)+$"
TEXT = "a" * 44 + "!"


def spoil(folder: Path) -> Path:
    """Give the tokenizer in a model's folder a pattern that takes for ever on `TEXT`,
    but for a limit."""
    file = folder / "tokenizer.json"
    about = json.loads(file.read_bytes())
    split = {"type": "Split", "pattern": {"Regex": REGEX}, "behavior": "Isolated"}
    steps = [{**split, "invert": False}, about["pre_tokenizer"]]
    about["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    file.write_text(json.dumps(about))
    return folder


def panic() -> None:
    """Let a library panic."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(REGEX), "isolated")
    tokenizer.encode(TEXT)
