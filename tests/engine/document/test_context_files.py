"""Other files before a text: what is read of them, and that every number is given
them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.document.context_files import context_ids, shares
from lmtui.engine.document.fill_in_the_middle import file_separator
from lmtui.engine.document.types import ContextFile
from lmtui.engine.sampling_settings import SamplingSettings
from tests.engine import tiny
from tests.engine.document.test_fill_in_the_middle import tokenizer

GREEDY = SamplingSettings(temperature=0, max_tokens=4)
TEXT = "The cat sat on the mat. The dog "
FILES = (ContextFile("notes.txt", "The dog ate the mat."), ContextFile("b.txt", "So."))


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 120))
def test_budget_is_shared_and_small_files_are_whole(
    wanted: list[int], budget: int
) -> None:
    given = shares(wanted, budget)
    assert all(0 <= some <= most for some, most in zip(given, wanted, strict=True))
    assert sum(given) == sum(wanted) if sum(wanted) <= budget else sum(given) <= budget
    cut = [some for some, most in zip(given, wanted, strict=True) if some < most]
    if cut:
        whole = [some for some, most in zip(given, wanted, strict=True) if some == most]
        assert max(cut) - min(cut) <= 1
        assert all(size <= max(cut) + 1 for size in whole)


@pytest.mark.parametrize("separator", [None, 999])
def test_each_file_is_read_after_its_name(separator: int | None) -> None:
    ids, parts = context_ids(
        FILES,
        "own.txt",
        lambda text: list(text.encode()),
        budget=500,
        separator=separator,
    )
    mark = b"" if separator is None else b"|"
    read = b"".join(b"|" if i == separator else bytes([i]) for i in ids)
    names = b"%snotes.txt\nThe dog ate the mat.\n%sb.txt\nSo.\n%sown.txt\n"
    assert read == names % (mark, mark, mark)
    assert all(part.tokens == part.total for part in parts)


def test_only_the_beginning_of_a_long_file_is_read() -> None:
    long = ContextFile("long.txt", "x" * 200)
    ids, parts = context_ids(
        (long, FILES[1]), "own", lambda t: list(t.encode()), budget=60, separator=None
    )
    assert len(ids) == 60
    assert bytes(ids).startswith(b"long.txt\nxxx")
    assert bytes(ids).endswith(b"b.txt\nSo.\nown\n")
    assert (parts[0].tokens < parts[0].total, parts[1].tokens) == (True, 10)
    assert context_ids((), "own", lambda t: [1], budget=9, separator=None) == ((), ())


def test_every_number_of_a_text_is_given_the_files() -> None:
    engine = tiny.engine()
    plain = engine.document.completion_context(TEXT, len(TEXT), GREEDY).ids
    parts = engine.document.read_with(FILES, name="own.txt")
    try:
        assert [part.name for part in parts] == ["notes.txt", "b.txt"]
        read = engine.document.completion_context(TEXT, len(TEXT), GREEDY).ids
        bos = engine.encode("").prefix
        before = read[: len(read) - len(plain) + len(bos)]
        assert len(before) == sum(p.tokens for p in parts) + len(bos) + len(
            engine.encode("own.txt\n", bos="no").ids
        )
        ids = engine.encode(TEXT).ids
        (span,) = engine.document.score_span(TEXT, 0, len(TEXT))
        expected = list(engine.score(ids, prefix=before))
        for one, other in zip(span.tokens, expected, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        panel = engine.document.predict_at(TEXT, len(TEXT)).distribution
        first = next(iter(engine.document.complete(TEXT, len(TEXT), GREEDY)))
        assert panel is not None
        assert first.bytes == panel.candidates[0].bytes
    finally:
        engine.document.read_with(())
    again = engine.document.completion_context(TEXT, len(TEXT), GREEDY).ids
    assert again == plain


def test_separator_is_that_of_models_that_fill_in_the_middle() -> None:
    vocabulary = tokenizer("qwen").get_vocab()
    assert file_separator(tokenizer("qwen")) == vocabulary["<|file_sep|>"]
    assert file_separator(tokenizer("starcoder")) is not None
    assert file_separator(tokenizer("codellama")) is None
