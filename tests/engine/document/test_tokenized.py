"""After any edit the tokens are those of the whole text read anew, for little work."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from lmtui.engine.document.tokenized import TokenizedDocument
from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.text.tokenizer import TextTokenizer, TokenizedText
from tests.engine import tiny

PARTS = st.text(st.sampled_from("the cat'sx \n\t.,1é日👩\u0301<>_"), max_size=12)
STRINGS = ["<think>", "the cat sat", " on the mat\n", "\n\n", "  ", "don't ", "2024"]
pieces = st.one_of(PARTS, st.sampled_from(STRINGS))
edits = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1), pieces), min_size=1, max_size=8
)


def _trained(backend: Tokenizer, *, size: int) -> PreTrainedTokenizerFast:
    # Of characters that the tokenizer does not know, each byte is a token.
    single = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=size + 256, show_progress=False, special_tokens=single
    )
    backend.train_from_iterator(tiny.CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@cache
def spaces_in_tokens() -> PreTrainedTokenizerFast:
    """Without a pre-tokenizer: spaces are marked, and the text begins with one."""
    backend = Tokenizer(models.BPE(unk_token=None, byte_fallback=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Replace("▁", " ")
    return _trained(backend, size=400)


@cache
def marked_words() -> PreTrainedTokenizerFast:
    """Cut at spaces, which are marked; the first word gets a mark as well."""
    backend = Tokenizer(models.BPE(byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    return _trained(backend, size=300)


@cache
def spaced_bytes() -> PreTrainedTokenizerFast:
    """Byte-level; a text begins with a space, and runs of spaces are tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=True),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    made = _trained(backend, size=400)
    made.add_tokens([AddedToken("   ", normalized=False), AddedToken("the c")])
    return made


@cache
def looking_ahead() -> PreTrainedTokenizerFast:
    """Cut by a pattern that looks at what follows, as the newer ones do."""
    pattern = (
        r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    from tokenizers import Regex

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return _trained(backend, size=400)


KINDS = [tiny.tokenizer, spaces_in_tokens, marked_words, spaced_bytes, looking_ahead]


class Counting(TextTokenizer):
    """Counts the characters that it is given."""

    characters = 0

    def read(self, text: str) -> TokenizedText:
        self.characters += len(text)
        return super().read(text)


def assert_reads_as_a_whole(document: TokenizedDocument) -> None:
    whole = document._tokenizer.read(document.text)
    assert document.ids() == whole.ids
    assert document.spans() == whole.spans


def edited(text: str, place: float, size: float, added: str) -> str:
    start = round(place * len(text))
    return text[:start] + added + text[start + round(size * 0.2 * len(text)) :]


@pytest.mark.parametrize("kind", KINDS)
@given(start=st.lists(pieces, max_size=30), history=edits)
@settings(deadline=None)
def test_edited_document_has_the_tokens_of_the_whole_text(
    kind: Any, start: list[str], history: list[tuple[float, float, str]]
) -> None:
    document = TokenizedDocument(TextTokenizer(kind()))
    text = "".join(start)
    document.update(text)
    assert_reads_as_a_whole(document)
    for edit in history:
        text = edited(text, *edit)
        before = document.ids()
        splice = document.update(text)
        assert_reads_as_a_whole(document)
        end = splice.first + splice.removed
        kept = before[: splice.first], before[end:]
        middle = document.ids(splice.first, splice.first + splice.added)
        assert [*kept[0], *middle, *kept[1]] == document.ids()
        changed = before[splice.first : end]
        assert not changed or not middle or changed[0] != middle[0]
        assert not changed or not middle or changed[-1] != middle[-1]


@pytest.mark.parametrize("kind", KINDS)
@given(start=st.lists(pieces, max_size=60), part=st.integers(1, 60))
@settings(deadline=None)
def test_a_text_read_in_parts_has_the_tokens_of_the_whole(
    kind: Any, start: list[str], part: int
) -> None:
    text = "".join(start)
    tokenizer = TextTokenizer(kind())
    ids = tokenizer.ids(text, part=part)
    assert ids == tokenizer.read(text).ids
    assert tuple(ids) == PromptBuilder(kind()).document(text, "no").ids


@pytest.mark.parametrize("kind", KINDS)
def test_text_read_in_parts_is_hardly_read_twice(kind: Any) -> None:
    tokenizer = Counting(kind())
    text = "the cat sat on the mat, and the dog\nsat on the log.\n" * 4000
    tokenizer.ids(text, part=5000)
    assert len(text) < tokenizer.characters < 1.2 * len(text)


@pytest.mark.parametrize("kind", KINDS)
@given(start=st.lists(pieces, min_size=1, max_size=30), place=st.floats(0, 1))
@settings(deadline=None)
def test_tokens_before_a_cursor_equal_those_of_its_text_alone(
    kind: Any, start: list[str], place: float
) -> None:
    tokenizer = TextTokenizer(kind())
    document = TokenizedDocument(tokenizer)
    text = "".join(start)
    document.update(text)
    cursor = round(place * len(text))
    before = document.before(cursor)
    alone = tokenizer.read(text[:cursor])
    ids = [*document.ids(0, before.shared), *before.ids, *before.typed_ids]
    assert ids == alone.ids
    count = before.shared + len(before.ids)
    assert before.start == (alone.spans[count][0] if before.typed_ids else cursor)
    assert len(before.typed_ids) <= len(alone.ids)
    assert bool(before.typed_ids) == bool(alone.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_edit_in_a_long_text_tokenizes_little(kind: Any) -> None:
    tokenizer = Counting(kind())
    document = TokenizedDocument(tokenizer)
    text = "the cat sat on the mat, and the dog\nsat on the log.\n" * 4000
    document.update(text)
    chance = random.Random(1)
    for _ in range(20):
        place = chance.randrange(len(text))
        text = text[:place] + chance.choice(["x", " the", "", "\n"]) + text[place + 1 :]
        tokenizer.characters = 0
        document.update(text)
        document.before(place)
        assert tokenizer.characters < 1500
    assert_reads_as_a_whole(document)


@pytest.mark.parametrize(
    ("before", "typed"),
    [
        ("the cat sat", " sat"),
        ("the cat ", " "),
        ("the", "the"),
        ("the cat.\n\n", "\n\n"),
        ("", ""),
    ],
)
def test_typed_letters_are_the_last_piece_before_the_cursor(
    before: str, typed: str
) -> None:
    document = TokenizedDocument(TextTokenizer(tiny.tokenizer()))
    document.update(before + "on the mat")
    assert before[document.before(len(before)).start :] == typed


def test_typed_part_of_an_endless_piece_is_bounded() -> None:
    document = TokenizedDocument(TextTokenizer(tiny.tokenizer()))
    document.update("the " + "zq" * 500)
    assert 1 < len(document.before(1004).typed_ids) < 40


@pytest.mark.real
def test_the_default_model_reads_an_edited_text_as_a_whole(default_home: Path) -> None:
    from lmtui.engine.engine import LocalEngine

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(default_home))
        engine = LocalEngine.open()
    document = TokenizedDocument(TextTokenizer(engine.prompts._tokenizer))
    text = Path(__file__).read_text(encoding="utf-8")
    document.update(text)
    chance = random.Random(2)
    for _ in range(100):
        place, size = chance.randrange(len(text)), chance.choice([0, 0, 1, 9])
        added = chance.choice(["x", " ", "\n", "12", "\n\n  ", "Möwe 日本", "'s", ""])
        text = text[:place] + added + text[place + size :]
        document.update(text)
        encoding = engine.encode(text)
        assert tuple(document.ids()) == encoding.ids
        assert tuple(document.spans()) == encoding.spans
