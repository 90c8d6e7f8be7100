"""An n-gram model behind the engine: every verb gives the distribution that was
counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.backend import AnyBackend
from lmtui.engine.backends.ngram import NgramBackend
from lmtui.engine.backends.ngram_model import NgramModel
from lmtui.engine.engine import LocalEngine
from lmtui.engine.open import open_ngrams, open_served
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import Engine
from lmtui.engine.text_only import TextOnlyEngine
from lmtui.engine.token_tree import Tree
from lmtui.engine.types import (
    ChatTurn,
    SamplingSettings,
    Step,
)
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.remote.address import ServerOptions
from tests.engine import tiny
from tests.engine.test_prefix_cache import contexts
from tests.serve.serving import serving

COUNTED = tiny.CORPUS
TEXT = "the dog sat on the mat and the quick cat sat on the lazy log. naïve"
ORDERS = [0, 1, 2, 3, 5]
PLAIN = SamplingSettings(temperature=1, top_k=0, top_p=1, min_p=0)
IDS = st.lists(st.integers(3, 60), min_size=1, max_size=12)


def ngrams(order: int, own: Engine | None = None) -> LocalEngine:
    """An engine over n-grams of the corpus."""
    own = own or tiny.engine()
    return open_ngrams(own, COUNTED, order=order, name=f"ngram:{order}")


@cache
def model(order: int) -> NgramModel:
    """The n-grams themselves."""
    encode = tiny.engine().encode
    ids = [(*each.prefix, *each.ids) for each in map(encode, COUNTED)]
    return NgramModel.count(ids, order=order, vocabulary=len(tiny.tokenizer()))


def close(logits: torch.Tensor, *contexts: Sequence[int], order: int) -> None:
    """Rows are the distributions after these contexts."""
    expected = torch.stack([model(order).logprobs(each) for each in contexts])
    assert logits.dtype == torch.float32
    torch.testing.assert_close(
        logits.double().log_softmax(-1), expected, atol=1e-5, rtol=0
    )


@given(order=st.sampled_from(ORDERS), history=contexts())
def test_prefix_cache_reuse_keeps_the_distribution(
    order: int, history: list[list[int]]
) -> None:
    cache = PrefixCache(NgramBackend(model(order)))
    for ids in history:
        cache.read(ids)
        assert cache.ids == ids
        assert cache.logits is not None
        close(cache.logits[None], ids, order=order)


@given(
    order=st.sampled_from(ORDERS),
    context=IDS,
    paths=st.lists(IDS, min_size=1, max_size=4),
)
def test_rows_and_trees_are_read_as_their_paths(
    order: int, context: list[int], paths: list[list[int]]
) -> None:
    backend: AnyBackend = NgramBackend(model(order))
    held = backend.new_cache()
    close(backend.logits(context, held), context, order=order)
    whole = [[*context, *path] for path in paths]
    tree = Tree.of(paths)
    nodes = backend.head(backend.hidden_states_tree(tree, held))
    close(nodes[tree.places], *whole, order=order)
    rows = held.fork(len(paths))
    close(backend.head(backend.hidden_states_after(paths, rows)), *whole, order=order)
    rows.select_rows([0, 0])
    more = backend.next_logits([7, 8], rows)
    close(more, [*whole[0], 7], [*whole[0], 8], order=order)
    assert held.length == len(context)


@pytest.mark.parametrize("order", ORDERS)
def test_scores_of_a_text_are_those_of_the_model(order: int) -> None:
    engine = ngrams(order)
    ids = engine.encode(TEXT).ids
    expected = model(order).score(ids).tolist()
    scored = list(engine.score(ids, top_n=3))
    assert scored[0].logprob is None  # as with every model
    found = [token.logprob for token in scored[1:]]
    assert found == pytest.approx(expected[1:], abs=1e-12)
    for index, token in enumerate(scored[1:], 1):
        row = model(order).logprobs(ids[:index])
        assert token.rank == 1 + int((row > row[token.id]).sum())
        entropy = float(-(row.exp() * row).sum())
        assert token.entropy == pytest.approx(entropy, abs=1e-12)
        varentropy = float((row.exp() * (row + entropy).square()).sum())
        assert token.varentropy == pytest.approx(varentropy, abs=1e-12)
        best = row.sort(descending=True, stable=True)
        assert [c.id for c in token.top] == best.indices[:3].tolist()
        assert [c.logprob for c in token.top] == pytest.approx(
            best.values[:3].tolist(), abs=1e-12
        )


@pytest.mark.parametrize("order", [0, 2])
def test_editor_verbs_work(order: int) -> None:
    engine = ngrams(order)
    seen = engine.document.predict_at(TEXT, 10, top_n=5)
    assert seen.distribution is not None
    steps = engine.document.complete("Der Hund am M", 13, replace(PLAIN, max_tokens=1))
    assert any(isinstance(step, Step) for step in steps)
    draft = engine.score_draft([ChatTurn("user", "Hi")], "the cat", PLAIN)
    assert all(token.logprob is not None for token in draft.tokens)


def test_model_is_told_apart_from_the_one_beside_it() -> None:
    own = tiny.engine(context=64)
    engine = ngrams(3, own)
    info = engine.info
    assert (info.label, info.precision, info.dtype) == ("ngram:3", "exact", "float64")
    assert info.architecture == "interpolated Kneser-Ney, order 3"
    assert (info.context, info.vocabulary) == (64, own.info.vocabulary)
    assert engine.encode(TEXT) == own.encode(TEXT)
    assert info.parameters == model(3).size > 0
    assert (ngrams(0).info.parameters, info.end_ids) == (0, own.info.end_ids)
    assert own.info.label == "tiny-llama"
    assert ngrams(2, engine).info.label == "ngram:2"


@pytest.mark.parametrize("dialect", ["lmtui", "vllm"])
def test_tokens_of_a_model_on_a_server_are_counted(
    dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path / "home"))
    tiny.tokenizer().save_pretrained(tmp_path / "tokenizer")
    tokenizer = None if dialect == "lmtui" else str(tmp_path / "tokenizer")
    server = ServerOptions(dialect=dialect, tokenizer=tokenizer)
    with serving(tiny.engine()) as served:
        own = open_served(f"http://127.0.0.1:{served.port}/v1", server)
        assert own.info.precision == "remote"
        engine = ngrams(2, own)
        assert (engine.info.precision, engine.info.device) == ("exact", "cpu")
        own.close()
    ids = engine.encode(TEXT).ids
    found = [token.logprob for token in engine.score(ids)]
    assert found[1:] == pytest.approx(model(2).score(ids)[1:].tolist(), abs=1e-4)
    engine.close()


def test_a_stop_is_heeded_and_leaves_a_usable_cache() -> None:
    engine = ngrams(3)
    ids = engine.encode(TEXT).ids
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        list(engine.score(ids))
    cache = PrefixCache(engine.backend)
    cache.read(ids[:5])
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        cache.extend(ids[5:8])
    assert cache.ids == list(ids[:5])
    close(cache.extend(ids[5:6]), ids[:6], order=3)


def test_a_server_that_only_chats_has_no_tokens_to_count() -> None:
    chats = TextOnlyEngine.__new__(TextOnlyEngine)
    chats.capabilities = replace(tiny.engine().capabilities, why_not="It only chats.")
    with pytest.raises(LmtuiError, match="a text can't be used here"):
        open_ngrams(chats, ["text"], order=2, name="ngram:2")
