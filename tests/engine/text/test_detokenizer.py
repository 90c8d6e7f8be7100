"""Bytes are the truth: streamed text is the whole text, and only whole characters."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from lmtui.engine.text.detokenizer import TextStream, Vocabulary
from tests.engine import tiny

texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("👩‍👩‍👧🇩🇪日本語é\u200d \n\t<|>"),
    ),
    max_size=60,
)


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Words with `▁` for the space, and bytes for what the vocabulary lacks."""
    pieces = ["<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", "▁cat", "s"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<s>"))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>"
    )
    fast.add_tokens([AddedToken("<tool>", special=False)])
    return fast


TOKENIZERS = {"byte level": tiny.tokenizer, "sentencepiece": sentencepiece_like}


def streamed(vocabulary: Vocabulary, ids: list[int]) -> list[str]:
    stream = TextStream()
    return [*(stream.feed(vocabulary.bytes(i)) for i in ids), stream.finish()]


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=texts)
@example("a▁cat")
def test_streamed_pieces_join_to_the_decoded_text(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    ids = tokenizer(text, add_special_tokens=False).input_ids
    vocabulary = Vocabulary(tokenizer)
    pieces = streamed(vocabulary, ids)
    if kind == "sentencepiece":
        text = text.replace("▁", " ")  # what it writes for a space means one
    assert "".join(pieces) == tokenizer.decode(ids) == text
    assert b"".join(map(vocabulary.bytes, ids)) == text.encode()


@given(ids=st.lists(st.integers(0, len(tiny.tokenizer()) - 1), max_size=30))
def test_any_ids_stream_as_they_decode(ids: list[int]) -> None:
    tokenizer = tiny.tokenizer()
    whole = tokenizer.decode(ids)
    text = "".join(streamed(Vocabulary(tokenizer), ids))
    # The end of an unfinished character is dropped here and marked by the library.
    assert whole in (text, text + "\ufffd")


def test_text_stream_emits_only_whole_characters() -> None:
    data = "é日".encode()
    stream = TextStream()
    assert [stream.feed(data[i : i + 1]) for i in range(5)] == ["", "é", "", "", "日"]
    assert stream.feed("👩".encode()[:3]) == ""
    assert stream.finish() == ""


def test_a_tokens_text_shows_stray_bytes() -> None:
    vocabulary = Vocabulary(tiny.tokenizer())
    first, *_ = tiny.tokenizer()("語", add_special_tokens=False).input_ids
    assert vocabulary.bytes(first)[:1] == "語".encode()[:1]
    assert vocabulary.text(first).startswith(("⟨E8", "語"))
    assert vocabulary.text(10**6) == "⟨unused 1000000⟩"


def test_stop_text_split_over_tokens_ends_the_stream() -> None:
    stream = TextStream(["\nUser:"])
    assert stream.feed(b"Hi\nUs") == "Hi"
    assert stream.feed(b"a?\n") == "\nUsa?"
    assert stream.feed(b"User: x") == ""
    assert stream.found == "\nUser:"
    assert stream.feed(b"more") == stream.finish() == ""


def test_unfinished_stop_text_is_returned_at_the_end() -> None:
    stream = TextStream(["\nUser:"])
    assert stream.feed(b"Hi\nUs") + stream.finish() == "Hi\nUs"


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_no_token_has_more_bytes_than_the_longest(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    vocabulary = Vocabulary(tokenizer)
    sizes = [len(vocabulary.bytes(token)) for token in range(len(tokenizer))]
    assert vocabulary.longest == max(sizes)
