"""Documents as ids and blocks: the engine's ids, and no token lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from lmtui.engine.text.prompt import PromptBuilder
from lmtui.train.dataset import Example, example, examples, pack, padding
from lmtui.train.notes import NotesDocument
from tests.byte_level import SPECIALS
from tests.engine import tiny
from tests.engine.text.test_detokenizer import texts
from tests.models import tiny as small

made_up = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30).map(
        lambda pairs: Example(
            "a", tuple(i for i, _ in pairs), tuple(counts for _, counts in pairs)
        )
    ),
    max_size=8,
)


@given(made_up, st.integers(1, 40))
def test_no_token_is_lost_in_blocks(made: list[Example], length: int) -> None:
    blocks = pack(made, length, 99)
    together = [pair for b in blocks for pair in zip(b.ids, b.trained, strict=True)]
    real = sum(block.real for block in blocks)
    assert together[:real] == [
        pair for item in made for pair in zip(item.ids, item.trained, strict=True)
    ]
    assert set(together[real:]) <= {(99, False)}
    assert all(len(block.ids) == length for block in blocks)
    assert all(block.real == length for block in blocks[:-1])
    assert all(block.real for block in blocks)


@given(st.lists(texts, max_size=5))
def test_texts_are_joined_by_the_end_of_document_token(contents: list[str]) -> None:
    tokenizer = tiny.tokenizer()
    documents = [NotesDocument(f"{i}", text) for i, text in enumerate(contents)]
    made, skipped = examples(documents, tokenizer)
    assert skipped == ()
    blocks = pack(made, 16, padding(tokenizer))
    ids = [token for block in blocks for token in block.ids[: block.real]]
    assert tokenizer.decode(ids) == "".join(f"{text}<|endoftext|>" for text in contents)
    assert ids.count(0) == len(contents)


@given(texts)
def test_example_ids_equal_those_that_the_engine_scores(text: str) -> None:
    made = example(NotesDocument("a", text), tiny.tokenizer())
    assert made.ids == (*ENGINE.encode(text).ids, 0)
    assert made.trained == (True,) * len(made.ids)


ENGINE = tiny.engine()


@pytest.mark.parametrize("special", [*SPECIALS, "<think>"])
def test_special_token_strings_stay_text(special: str) -> None:
    made = example(NotesDocument("a", f"x{special}y{special}" * 9), tiny.tokenizer())
    assert [i for i in made.ids if i < 3] == [0]
    assert made.ids[:-1] == ENGINE.encode(f"x{special}y{special}" * 9).ids


def test_a_text_begins_with_bos_where_the_tokenizer_says_so() -> None:
    tokenizer = tiny.tokenizer().__class__(
        tokenizer_object=tiny.tokenizer().backend_tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|endoftext|>",
    )
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    made, _ = examples([NotesDocument("a", "ab"), NotesDocument("b", "the")], tokenizer)
    encoded = PromptBuilder(tokenizer).document("ab", "auto")
    assert encoded.prefix == (1,)
    assert made[0].ids == (1, *encoded.ids, 0)
    assert made[0].trained == (False, *[True] * (len(made[0].ids) - 1))
    assert [item.ids[0] for item in made] == [1, 1]


def test_end_of_turn_token_ends_no_document() -> None:
    tokenizer = small.tokenizer()
    assert tokenizer.eos_token == "<|im_end|>"
    assert example(NotesDocument("a", "the"), tokenizer).ids[-1] == 0
    assert padding(tokenizer) == 0


def test_documents_without_an_end_token_end_in_blank_lines() -> None:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["the fox"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    made, _ = examples(
        [NotesDocument("a", "the"), NotesDocument("b", "fox")], tokenizer
    )
    assert [tokenizer.decode(item.ids) for item in made] == ["the\n\n\n", "fox\n\n\n"]
    assert all(all(item.trained) for item in made)
    assert tokenizer.decode([padding(tokenizer)]) == "\n"
