"""A model on a server is the model itself: the same numbers, the same draws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from lmtui.cancellation import cancelled_when
from lmtui.engine.backends.ids_cache import IdsKVCache
from lmtui.engine.backends.remote import LmtuiServerBackend
from lmtui.engine.engine import LocalEngine
from lmtui.engine.open import open_served
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.model_info import ModelInfo
from lmtui.models.remote import lmtui_server
from lmtui.models.remote.address import parse
from lmtui.models.remote.connection import Connection
from lmtui.models.remote.lmtui_server import LmtuiServerModel, open_model
from lmtui.models.remote.load import find_model
from tests.engine import tiny
from tests.models.remote.scripted import answer, connected, scripted
from tests.serve.serving import Served, serving

pytestmark = pytest.mark.usefixtures("shared_home")
DRAWN = SamplingSettings(
    temperature=0.9, top_k=0, top_p=1, min_p=0, seed=5, max_tokens=9
)
TEXT = "the cat sat on the mat and the dog sat on the log, naïve façade"


def opened(served: Served) -> LocalEngine:
    engine = open_served(f"http://127.0.0.1:{served.port}/v1")
    assert isinstance(engine, LocalEngine)
    return engine


@contextmanager
def both(**how: Any) -> Iterator[tuple[LocalEngine, LocalEngine]]:
    """A tiny model, and the same one behind a server."""
    with serving(tiny.engine(), **how) as served:
        yield tiny.engine(), opened(served)


def drawn(engine: LocalEngine, settings: SamplingSettings) -> list[Step]:
    prompt = engine.prompt([ChatTurn("user", "the cat sat <|im_end|> on the cat")])
    items = engine.generate(prompt, settings, top_n=5)
    return [item for item in items if isinstance(item, Step)]


WHOLE_CHAIN = replace(
    DRAWN,
    max_tokens=40,
    repetition_penalty=1.1,
    presence_penalty=-0.4,
    frequency_penalty=0.3,
    penalty_window=11,
    dry_multiplier=0.9,
    dry_base=1.5,
    dry_allowed_length=1,
    dry_window=60,
    dry_breakers=("q",),
    top_n_sigma=3.0,
    typical_p=0.98,
    xtc_probability=0.5,
    xtc_threshold=0.04,
    sampler_order=("penalties", "top_n_sigma", "dry", "typical_p", "xtc",
                   "temperature"),
    logit_bias=("e=ban", " the=2.5", "no such token=1"),
)  # fmt: skip


@pytest.mark.parametrize("settings", [DRAWN, WHOLE_CHAIN], ids=["plain", "chain"])
def test_chat_draws_the_same_tokens_whatever_the_server_was_told(
    settings: SamplingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An answer that takes several responses.
    monkeypatch.setattr(lmtui_server, "DRAWN_BYTES", 4 * 4 * len(tiny.tokenizer()))
    own = SamplingSettings(presence_penalty=3, logit_bias=("a=ban", "o=ban"))
    with both(settings=own) as (here, there):
        assert isinstance(there.backend, LmtuiServerBackend)
        assert there.info.precision == "remote"
        assert there.info.label.startswith("http://127.0.0.1:")
        expected, found = drawn(here, settings), drawn(there, settings)
    assert [step.id for step in found] == [step.id for step in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert one.entropy == pytest.approx(other.entropy, abs=1e-4)
        assert one.sampled_prob == pytest.approx(other.sampled_prob, abs=1e-4)
        shown, known = one.distribution, other.distribution
        assert shown.is_certain and shown.remaining == known.remaining
        assert [r.id for r in shown.candidates] == [r.id for r in known.candidates]


def test_banned_phrases_are_refused() -> None:
    banned = replace(DRAWN, banned_phrases=("no",))
    with both() as (_, there):
        prompt = there.prompt([ChatTurn("user", "Hi")])
        with pytest.raises(LmtuiError, match="banned-phrases"):
            list(there.generate(prompt, banned))


def test_an_answer_under_a_grammar_is_drawn_here_and_the_same() -> None:
    settings = replace(DRAWN, grammar="/The (quick|brown) (cat|dog)!/", max_tokens=40)
    with both() as (here, there):
        said = []
        for engine in (here, there):
            prompt = Prompt(engine.encode(TEXT).ids, TEXT)
            *steps, finish = engine.generate(prompt, settings)
            assert isinstance(finish, GenerationResult)
            assert finish.reason is FinishReason.STOP
            said.append([step.id for step in steps if isinstance(step, Step)])
    assert said[0] == said[1]


@pytest.mark.parametrize("window", [None, 12])
def test_text_has_the_same_scores(window: int | None) -> None:
    with both() as (here, there):
        ids = here.encode(TEXT).ids
        assert there.encode(TEXT) == here.encode(TEXT)
        asked: dict[str, Any] = {"window": window, "top_n": 3, "word_ends": True}
        expected = list(here.score(ids, **asked))
        for one, other in zip(there.score(ids, **asked), expected, strict=True):
            assert (one.rank, one.id) == (other.rank, other.id)
            assert one.logprob == pytest.approx(other.logprob, abs=1e-6)
            assert one.entropy == pytest.approx(other.entropy, abs=1e-6)
            assert one.word_end == pytest.approx(other.word_end, abs=1e-6)
            assert [c.id for c in one.top] == [c.id for c in other.top]


def test_text_is_edited_with_the_same_predictions() -> None:
    with both() as (here, there):
        for cursor in (len(TEXT), 6, 0):
            one, other = (
                e.document.predict_at(TEXT, cursor, top_n=5) for e in (there, here)
            )
            rows = [
                [row.bytes for row in each.distribution.candidates]
                for each in (one, other)
                if each.distribution
            ]
            assert rows[:1] == rows[1:]
        spans = [
            [t.logprob for s in e.document.score_span(TEXT, 0, 30) for t in s.tokens]
            for e in (there, here)
        ]
        assert spans[0] == pytest.approx(spans[1], abs=1e-4)


def test_many_rows_come_in_several_responses() -> None:
    with both() as (here, there):
        backend, ids = there.backend, here.encode(TEXT).ids
        assert isinstance(backend, LmtuiServerBackend)
        backend.block_rows = 4
        expected = torch.cat(list(here.backend.all_logits(ids, skip=3)))
        blocks = list(backend.all_logits(ids, skip=3))
        assert max(map(len, blocks)) == 4
        held = backend.new_cache()
        rows = backend.hidden_states(ids, held, keep=len(ids) - 3)
        for found in (torch.cat(blocks), rows):
            assert torch.allclose(found, expected, atol=1e-4)
        assert held.length == len(ids)
        more = backend.next_logits([5, 6], held.fork(2))
        here.cache.read(ids)
        expected = here.backend.next_logits([5, 6], here.cache.fork(2))
        assert torch.allclose(more, expected, atol=1e-4)


def test_rows_of_a_cache_are_its_own() -> None:
    held = IdsKVCache([[1, 2, 3]])
    forked = held.fork(3, 2)
    for row, token in zip(forked.rows, (7, 8, 9), strict=True):
        row.append(token)
    forked.select_rows([2, 0])
    assert forked.rows == [[1, 2, 9], [1, 2, 7]] and held.rows == [[1, 2, 3]]
    held.crop(1)
    assert (held.length, forked.length) == (1, 3)


def test_stop_ends_the_work_on_the_server_too() -> None:
    with both() as (_, there):
        with pytest.raises(Cancelled), cancelled_when(lambda: True):
            there.next_distribution([5] * 60, DRAWN)
        assert there.next_distribution([5] * 9, DRAWN).candidates


def test_server_with_another_model_is_an_error_not_other_numbers() -> None:
    with serving(tiny.engine()) as served:
        connection = Connection(parse(f"http://127.0.0.1:{served.port}"))
        before = replace(open_model(connection, find_model(connection)), name="another")
        with pytest.raises(LmtuiError, match="this model is not served: another"):
            LmtuiServerBackend(before).logits([5, 6, 7])
        connection.close()


def test_rows_that_are_no_distribution_are_an_error() -> None:
    facts = ModelInfo("Tiny", 1, 5, 100, frozenset(), ())
    rows = answer(torch.tensor([0.0, math.nan, 0, 0, 0]).numpy().tobytes())
    with scripted([rows]) as served, connected(served) as connection:
        model = LmtuiServerModel(connection, "tiny", facts, "float32", "cpu")
        with pytest.raises(LmtuiError):
            LmtuiServerBackend(model).logits([1])


def test_answer_that_a_server_cuts_short_broke_off() -> None:
    endless = replace(DRAWN, max_tokens=400)
    with serving(tiny.engine()) as served:
        there = opened(served)
        prompt = there.prompt([ChatTurn("user", "Hi")])
        items = there.generate(prompt, endless)
        assert isinstance(next(items), Step)
        served.end()
        with pytest.raises(LmtuiError, match="broke off"):
            assert not [item for item in items if not isinstance(item, Step)]
