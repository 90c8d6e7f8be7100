"""Scoring is the naive sum, in windows, without the memory of one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.windows import Windows
from lmtui.errors import Cancelled, LmtuiError
from tests.engine import tiny

IDS = [3 + (7 * i * i + i) % 200 for i in range(100)]


@pytest.mark.parametrize("device", tiny.DEVICES)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_score_of_one_window_equals_the_naive_pass(family: str, device: str) -> None:
    logprobs = tiny.reference_logprobs(family, IDS, device)
    scored = list(tiny.engine(family, device).score(IDS, top_n=3))
    first = scored[0]
    numbers = first.logprob, first.rank, first.entropy, first.varentropy
    assert numbers == (None, None, None, None)
    assert [token.id for token in scored] == IDS
    for row, token in zip(logprobs, scored[1:], strict=False):
        assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
        assert token.rank == 1 + int((row > row[token.id]).sum())
        entropy = float(-(row.exp() * row).sum())
        assert token.entropy == pytest.approx(entropy, abs=1e-3)
        varentropy = float((row.exp() * (row + entropy).square()).sum())
        assert token.varentropy == pytest.approx(varentropy, abs=1e-5)
        best = row.sort(descending=True, stable=True)
        assert [c.id for c in token.top] == best.indices[:3].tolist()
        assert [c.logprob for c in token.top] == pytest.approx(
            best.values[:3].tolist(), abs=1e-4
        )


@pytest.mark.parametrize("device", tiny.DEVICES)
def test_a_word_ends_where_white_space_or_the_end_of_the_text_follows(
    device: str,
) -> None:
    logprobs = tiny.reference_logprobs("llama", IDS, device)
    spelled = {id: sign for sign, id in tiny.tokenizer().get_vocab().items()}
    ending = [id for id, sign in spelled.items() if id == 0 or sign[0] in "ĠĊĉčċČ"]
    first, *scored = tiny.engine("llama", device).score(IDS, word_ends=True)
    assert first.word_end is None
    for row, token in zip(logprobs, scored, strict=False):
        mass = float(row[ending].exp().sum().log())
        assert token.word_end == pytest.approx(mass, abs=1e-5)
    without = tiny.engine("llama", device).score(IDS)
    assert [replace(token, word_end=None) for token in scored] == list(without)[1:]


@pytest.mark.parametrize(
    ("window", "stride", "prefix"),
    [
        (32, None, ()),
        (32, 8, (1,)),
        (32, 32, (1,)),
        (20, 19, (5, 6, 7)),
        (2, 1, ()),
    ],
)
def test_windowed_scores_equal_naive_passes_over_their_part(
    window: int, stride: int | None, prefix: tuple[int, ...]
) -> None:
    engine = tiny.engine()
    scored = list(engine.score(IDS, prefix=prefix, window=window, stride=stride))
    step = stride or window // 2
    for position, token in enumerate(scored):
        # The first window that gives it window - stride tokens before it.
        start = 0
        while position >= start + window:
            start += step
        part = [*prefix, *IDS[start : position + 1]]
        if len(part) == 1:
            assert token.logprob is None
            continue
        row = tiny.reference_logprobs("llama", part[:-1])[-1]
        assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)


@pytest.mark.parametrize("prefix", [(), (1,)])
def test_score_from_the_start_of_a_window_equals_the_whole_score(
    prefix: tuple[int, ...],
) -> None:
    engine = tiny.engine()
    how: dict[str, Any] = {"prefix": prefix, "window": 32, "stride": 12, "top_n": 3}
    whole = list(engine.score(IDS, **how))
    for *_, first in Windows(32, 12).over(len(IDS)):
        assert list(engine.score(IDS, start=first, **how)) == whole[first:]
    spelled = engine.describe_tokens(IDS)
    assert [(t.index, t.id, t.text, t.bytes) for t in spelled] == [
        (t.index, t.id, t.text, t.bytes) for t in whole
    ]
    assert {t.logprob for t in spelled} == {None}


@given(length=st.integers(0, 400), window=st.integers(2, 60), stride=st.integers(1, 60))
def test_every_token_is_scored_once(length: int, window: int, stride: int) -> None:
    if stride > window:
        return
    scored: list[int] = []
    for start, end, first in Windows(window, stride).over(length):
        assert start % stride == 0
        assert end - start <= window
        assert first == 0 or first - start >= window - stride
        starts = {
            Windows(window, stride).start_of(index) for index in range(first, end)
        }
        assert starts <= {start}
        scored += range(first, end)
    assert scored == list(range(length))


@given(place=st.integers(1, 200), window=st.integers(2, 60), stride=st.integers(1, 60))
def test_first_from_and_last_of_give_the_edges_of_a_window(
    place: int, window: int, stride: int
) -> None:
    if stride > window:
        return
    windows = Windows(window, stride)
    first = windows.first_from(place)
    assert windows.start_of(first) >= place > windows.start_of(first - 1)
    start = windows.start_of(place)
    last = windows.last_of(start)
    assert windows.start_of(last) == start < windows.start_of(last + 1)


@pytest.mark.parametrize(
    ("window", "stride"), [(1, None), (513, None), (32, 32), (32, 0), (None, 4096)]
)
def test_impossible_window_or_stride_is_refused(
    window: int | None, stride: int | None
) -> None:
    with pytest.raises(LmtuiError, match="can't be used"):
        list(tiny.engine().score(IDS, window=window, stride=stride))


def test_layers_run_once_per_window(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny.engine()
    monkeypatch.setattr(engine.backend, "block_rows", 16)
    list(engine.score(IDS[:2]))  # the first text shows where the head begins
    lengths: list[int] = []

    def note(_: Any, inputs: tuple[Any, ...], __: Any) -> None:
        lengths.append(inputs[0].shape[1])

    handle = tiny.model().model.layers[0].register_forward_hook(note)
    try:
        list(engine.score(IDS, window=40, stride=20))
    finally:
        handle.remove()
    # Windows from 0, 20, 40, 60; the last token of each has no successor in it.
    assert lengths == [39, 39, 39, 39]


def test_scoring_is_cancelled() -> None:
    asked = iter([False, False, True])
    with pytest.raises(Cancelled), cancelled_when(lambda: next(asked, True)):
        list(tiny.engine().score(IDS))


@pytest.mark.parametrize("ids", [[], [9]])
def test_empty_and_one_token_texts_have_no_logprob(ids: list[int]) -> None:
    assert [t.logprob for t in tiny.engine().score(ids)] == [None] * len(ids)


MEMORY = """
import json, resource, torch
from transformers import LlamaConfig, AutoModelForCausalLM
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.scoring.score import score_rows
from lmtui.engine.windows import Windows
config = LlamaConfig(vocab_size=49152, hidden_size=16, num_hidden_layers=2,
    intermediate_size=32, num_attention_heads=2, num_key_value_heads=1)
forward = TransformersBackend(AutoModelForCausalLM.from_config(config).eval())
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
unit = 1024 if __import__("sys").platform == "linux" else 1
def score(n):
    ids = [i % 49152 for i in range(n)]
    rows = score_rows(forward, ids, prefix=(), windows=Windows(2048, 1024))
    return sum(1 for _ in rows)
score(4)
before = peak()
count = score(3_000)
print(json.dumps({"rows": count, "grown": (peak() - before) * unit}))
"""


def test_memory_does_not_grow_with_the_text() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["rows"] == 3_000
    assert told["grown"] < 300e6
