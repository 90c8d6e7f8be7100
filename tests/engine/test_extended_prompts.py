"""A text that goes on after ids is exactly that text, whatever the tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.text.drop_turns import prompt_of
from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.types import Encoding, Prompt
from tests.byte_level import trained

CORPUS = ["The quick brown fox jumps over the lazy dog.\n", "a b c d e f g h\n"] * 3


class Reader:
    """As much of an engine as is asked here."""

    def __init__(self, tokenizer: Any) -> None:
        self._writer = PromptBuilder(tokenizer)
        self._vocabulary = Vocabulary(tokenizer)

    def encode(self, text: str, *, bos: Any = "auto") -> Encoding:
        return self._writer.document(text, bos)

    def said(self, ids: tuple[int, ...]) -> str:
        data = b"".join(self._vocabulary.bytes(id_) for id_ in ids)
        return data.decode()


def byte_level() -> Reader:
    tokenizer = trained(CORPUS, size=300)
    return Reader(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def with_a_space_before() -> Reader:
    """As SentencePiece does it: a document begins with a space of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    alphabet = [chr(code) for code in range(32, 127)] + ["\n", "▁"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return Reader(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


READERS = {"byte level": byte_level(), "a space before": with_a_space_before()}


@pytest.mark.parametrize("name", READERS)
@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12))
def test_ids_of_a_prefill_spell_its_text(name: str, text: str) -> None:
    reader: Any = READERS[name]
    prompt = prompt_of(reader, Prompt((7,), "x"), prefill=text)[0]
    assert prompt.ids[0] == 7 and prompt.text == f"x{text}"
    assert reader.said(prompt.ids[1:]) == text
