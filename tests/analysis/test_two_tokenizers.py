"""Two real models whose tokenizers cut a text differently add up to the same text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from lmtui.analysis.compare import PlacedToken, pieces, unit_of
from lmtui.engine.engine import LocalEngine
from lmtui.engine.types import Encoding
from lmtui.models.loaded_model import LoadedModel
from tests.engine import tiny
from tests.models import tiny as other

TEXTS = [
    "the quick brown fox — ça va? 日本語 👩‍👧\n\tdef f(x):\n",
    "👩‍👩‍👧",
    "a",
]


def second() -> LocalEngine:
    """A model with a vocabulary of its own."""
    torch.manual_seed(7)
    loaded = LoadedModel(
        model=LlamaForCausalLM(other.llama_config()).eval(),
        tokenizer=other.tokenizer(),
        name="other",
        folder=Path(),
        device=torch.device("cpu"),
        dtype=torch.float32,
        precision="exact",
        threads=torch.get_num_threads(),
    )
    return LocalEngine(loaded)


def scored(engine: LocalEngine, text: str) -> tuple[Encoding, list[PlacedToken]]:
    """Every token of a text, the first one after BOS."""
    encoding = engine.encode(text, bos="yes")
    tokens = engine.score(encoding.ids, prefix=encoding.prefix)
    return encoding, list(zip(tokens, encoding.spans, strict=True))


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_add_up_to_text_and_logprob_of_both_models(text: str) -> None:
    one, ours = scored(tiny.engine(), text)
    two, theirs = scored(second(), text)
    found = list(pieces(ours, theirs, unit_of(one, two)))
    for side, tokens in (("logprob", ours), ("other_logprob", theirs)):
        whole = math.fsum(token.logprob or 0 for token, _ in tokens)
        parts = math.fsum(getattr(piece, side) for piece in found)
        assert parts == pytest.approx(whole)
    assert "".join(text[slice(*piece.span)] for piece in found) == text
    for piece in found:
        told = text[slice(*piece.span)].encode()
        assert b"".join(token.bytes for token, _ in piece.tokens) == told
        assert b"".join(token.bytes for token, _ in piece.others) == told
