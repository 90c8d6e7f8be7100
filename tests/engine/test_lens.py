"""The logit lens: the last layer is the model, and the others are its norm and head."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from lmtui.cancellation import cancelled_when
from lmtui.engine.backends.cuda_graph import CudaGraphBackend
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.engine import LocalEngine
from lmtui.engine.lens import LensColumn
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.scoring.layer_scores import LensText, lens_columns
from lmtui.engine.scoring.score import score_rows
from lmtui.engine.types import ScoredToken
from lmtui.engine.windows import Windows
from lmtui.errors import Cancelled, LmtuiError
from tests.engine import tiny
from tests.engine.backends.llama_cpu import lean
from tests.engine.test_families import SIZE

IDS = [3 + (7 * i * i + i) % 200 for i in range(60)]
FAMILIES: dict[str, tuple[dict[str, Any], str, Callable[[Tensor], Tensor]]] = {
    "llama": ({}, "model.norm", lambda x: x),
    "qwen2": ({}, "model.norm", lambda x: x),
    "gpt2": ({}, "transformer.ln_f", lambda x: x),
    "gpt_neox": ({}, "gpt_neox.final_layer_norm", lambda x: x),
    "opt": (
        {"ffn_dim": 64, "word_embed_proj_dim": 32},
        "model.decoder.final_layer_norm",
        lambda x: x,
    ),
    "gemma2": (
        {"sliding_window": 16, "head_dim": 8},
        "model.norm",
        lambda x: 30.0 * torch.tanh(x / 30.0),
    ),
    "granite": ({"logits_scaling": 3.0}, "model.norm", lambda x: x / 3.0),
    "cohere": ({"logit_scale": 0.25}, "model.norm", lambda x: x * 0.25),
}
"""Options, the final norm, and what follows the product with the head."""


@cache
def model(family: str) -> Any:
    """A tiny random model."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(SIZE | FAMILIES[family][0]))
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@torch.inference_mode()
def naive(family: str, ids: list[int]) -> Tensor:
    """float32 logits after every layer and every one of `ids`, the names of the modules
    known: [n, layers + 1, V]."""
    _, norm, scaled = FAMILIES[family]
    whole = model(family)
    states = whole(torch.tensor([ids]), output_hidden_states=True).hidden_states
    normed = [whole.get_submodule(norm)(state[0]) for state in states[:-1]]
    # The library's last one is after the norm.
    head = whole.get_output_embeddings()
    return torch.stack([scaled(head(state)) for state in (*normed, states[-1][0])], 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_equal_the_norm_and_the_head_of_their_states(family: str) -> None:
    backend = TransformersBackend(model(family))
    states = backend.layer_states(IDS, keep=50)
    assert states.shape == (50, 5, 32)
    ours = backend.head(states.flatten(0, 1)).view(50, 5, -1)
    torch.testing.assert_close(ours, naive(family, IDS)[10:], atol=1e-5, rtol=1e-5)


def columns_of(engine: LocalEngine, ids: list[int], **how: Any) -> list[LensColumn]:
    return list(engine.logit_lens(ids, range(len(ids) + 1), **how))


def assert_last_layer_is(
    columns: list[LensColumn], scored: list[ScoredToken], near: float = 1e-5
) -> None:
    """The last layer has the score's numbers."""
    assert [column.index for column in columns] == [*range(len(scored) + 1)]
    for column, token in zip(columns, scored, strict=False):
        if token.logprob is None:
            assert column.rows == ()
            continue
        last = column.rows[-1]
        assert last.logprob == pytest.approx(token.logprob, abs=near)
        assert last.entropy == pytest.approx(token.entropy, abs=near)
        assert last.varentropy == pytest.approx(token.varentropy, abs=10 * near)
        assert column.scored(token).varentropy == last.varentropy
        assert last.rank == token.rank
        assert [each.id for each in last.top] == [each.id for each in token.top]
        assert last.top[0].logprob == pytest.approx(token.top[0].logprob, abs=near)
        assert last.top[0].text == token.top[0].text


@pytest.mark.parametrize("device", tiny.DEVICES)
@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("how", [{}, {"prefix": (1,), "window": 24, "stride": 8}])
def test_last_layer_equals_the_score(
    family: str, device: str, how: dict[str, Any]
) -> None:
    engine = tiny.engine(family, device)
    scored = list(engine.score(IDS, top_n=3, **how))
    columns = columns_of(engine, IDS, top_n=3, **how)
    assert_last_layer_is(columns, scored)
    for column in columns[1:]:
        assert [row.layer for row in column.rows] == [*range(5)]
        assert all(len(row.top) == 3 for row in column.rows)


def test_end_of_the_text_has_a_distribution_and_no_next_token() -> None:
    engine = tiny.engine()
    (column,) = engine.logit_lens(IDS, [len(IDS)], top_n=2)
    shown = engine.next_distribution(IDS, SamplingSettings(), top_n=2)
    last = column.rows[-1]
    assert (last.logprob, last.rank) == (None, None)
    assert last.entropy == pytest.approx(shown.entropy, abs=1e-5)
    ours, theirs = ([c.logprob for c in each] for each in (last.top, shown.candidates))
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert list(engine.logit_lens([], [0])) == [LensColumn(0, ())]


def test_some_positions_are_those_of_all() -> None:
    engine = tiny.engine()
    how: dict[str, Any] = {"window": 24, "stride": 8}
    every = columns_of(engine, IDS, **how)
    for some in ([0], [5, 9], [30], [0, 1, 23, 24, 25, 59, 60], [2, 40], []):
        again = list(engine.logit_lens(IDS, some, **how))
        assert [each.index for each in again] == some
        for column in again:
            for ours, theirs in zip(column.rows, every[column.index].rows, strict=True):
                assert ours.entropy == pytest.approx(theirs.entropy, abs=1e-5)
                assert ours.rank == theirs.rank


def test_block_size_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny.engine()
    whole = columns_of(engine, IDS)
    most: list[int] = []
    head = engine.backend.head
    monkeypatch.setattr(
        engine.backend,
        "head",
        lambda states: (most.append(len(states)), head(states))[1],
    )
    for rows in (1, 3, 5, 17):
        monkeypatch.setattr(engine.backend, "block_rows", rows)
        most.clear()
        for ours, theirs in zip(columns_of(engine, IDS), whole, strict=True):
            for one, other in zip(ours.rows, theirs.rows, strict=True):
                assert one.entropy == pytest.approx(other.entropy, abs=1e-5)
                assert one.rank == other.rank
        assert max(most) <= rows


def test_a_look_before_makes_the_lens_run_only_what_is_new() -> None:
    engine = tiny.engine()
    engine.next_distribution(IDS[:40], SamplingSettings())
    run: list[int] = []
    states = engine.backend.layer_states
    engine.backend.layer_states = (  # type: ignore[method-assign]
        lambda ids, *rest, **how: (run.append(len(ids)), states(ids, *rest, **how))[1]
    )
    list(engine.logit_lens(IDS, [40]))
    assert run == [1]
    run.clear()
    list(engine.logit_lens(IDS, range(38, 43)))
    assert run == [5]
    before = engine.cache.ids
    assert before == IDS[:42]
    assert engine.cache.logits is not None
    shown = engine.next_distribution(IDS[:42], SamplingSettings(), top_n=1)
    (column,) = engine.logit_lens(IDS, [42])
    assert column.rows[-1].entropy == pytest.approx(shown.entropy, abs=1e-5)


def test_stop_ends_the_work_between_two_blocks() -> None:
    engine = tiny.engine()
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        list(engine.logit_lens(IDS, range(60)))
    engine.backend.block_rows = 5  # type: ignore[misc]
    seen: list[LensColumn] = []
    with pytest.raises(Cancelled), cancelled_when(lambda: len(seen) > 3):
        for column in engine.logit_lens(IDS, range(60)):
            seen.append(column)
    assert 3 < len(seen) < 10
    assert_last_layer_is(columns_of(engine, IDS), list(engine.score(IDS, top_n=1)))


@pytest.mark.parametrize("kind", lean.KINDS)
@pytest.mark.parametrize("form", lean.UNROUNDED)
def test_our_own_decoder_sees_the_layers_of_the_library(
    kind: str, form: torch.dtype
) -> None:
    forward = lean.unrounded(kind, form)
    states = forward.layer_states(IDS, keep=50)
    torch.testing.assert_close(states[:, -1], forward.hidden_states(IDS, keep=50))
    library = TransformersBackend(lean.model(kind))
    theirs = library.head(library.layer_states(IDS, keep=50).flatten(0, 1))
    ours = forward.head(states.flatten(0, 1))
    torch.testing.assert_close(
        ours.double().log_softmax(-1),
        theirs.double().log_softmax(-1),
        atol=2e-4,
        rtol=0,
    )


BACKENDS: dict[str, Callable[[], Any]] = {
    "float32": lambda: lean.unrounded("llama", torch.float32),
    "blocks": lambda: lean.blocks("llama"),
    "fixed address": lambda: CudaGraphBackend(tiny.model("llama"), records=False),
}


@pytest.mark.parametrize(("window", "start"), [(30, 20), (100, 1)])
@pytest.mark.parametrize("name", BACKENDS)
def test_last_layer_of_a_backend_equals_its_score(
    name: str, window: int, start: int
) -> None:
    near = 1e-3 if name == "blocks" else 1e-5  # its head rounds by the number of rows
    backend, windows = BACKENDS[name](), Windows(window, window // 2)
    rows = list(score_rows(backend, IDS, prefix=(), windows=windows, top_n=1))
    names: Any = SimpleNamespace(text=str, bytes=lambda token: b"")
    columns = lens_columns(
        PrefixCache(backend),
        names,
        LensText(IDS, (), windows),
        range(start, 60),
        top_n=1,
        records=False,
    )
    for column, row in zip(columns, rows[start:], strict=True):
        assert column.rows[-1].logprob == pytest.approx(row.logprob, abs=near)
        assert column.rows[-1].entropy == pytest.approx(row.entropy, abs=near)
        assert column.rows[-1].rank == row.rank


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_column_of_a_context_just_read_costs_no_pass(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, used = LocalEngine(tiny.loaded(family)), LocalEngine(tiny.loaded(family))
    list(used.logit_lens(IDS, [5]))  # from now on all layers are recorded
    for count in (3, 20, 21, len(IDS)):
        looks = [
            engine.next_distribution(IDS[:count], SamplingSettings())
            for engine in (fresh, used)
        ]
        for ours, theirs in zip(*(look.candidates for look in looks), strict=True):
            assert ours.id == theirs.id
            assert ours.logprob == pytest.approx(theirs.logprob, abs=5e-5)
        with monkeypatch.context() as patch:
            patch.delattr(type(used.backend), "layer_states")
            (column,) = used.logit_lens(IDS, [count])
        (alone,) = fresh.logit_lens(IDS, [count])
        for ours, theirs in zip(column.rows, alone.rows, strict=True):
            assert ours.entropy == pytest.approx(theirs.entropy, abs=5e-5)
            assert (ours.layer, ours.rank) == (theirs.layer, theirs.rank)
            assert [each.id for each in ours.top] == [each.id for each in theirs.top]
        fresh = LocalEngine(tiny.loaded(family))


def head_not_apart(backend: TransformersBackend) -> None:
    backend._decoder = None


def layers_not_apart(backend: TransformersBackend) -> None:
    backend._layers = []


def norm_not_found(backend: TransformersBackend) -> None:
    class Scaled(type(backend.model.model)):  # type: ignore[misc]
        """Does something behind the norm that is no module."""

        def forward(self, *given: Any, **named: Any) -> Any:
            output = super().forward(*given, **named)
            output.last_hidden_state = output.last_hidden_state * 1.5
            return output

    backend.model.model.__class__ = Scaled


def several_states(backend: TransformersBackend) -> None:
    last, norm = backend._layers[-1], backend.model.model.norm
    plain, normed = last.forward, norm.forward
    last.forward = lambda *given, **named: plain(*given, **named)[None]
    norm.forward = lambda state: normed(state[0])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (head_not_apart, "the head can't be told apart"),
        (layers_not_apart, "the layers can't be told apart"),
        (norm_not_found, "the final norm can't be found"),
        (several_states, "more than one state"),
    ],
)
def test_model_whose_layers_can_not_be_looked_into_says_why(
    spoil: Callable[[TransformersBackend], None], why: str
) -> None:
    backend = TransformersBackend(model.__wrapped__("llama"))
    spoil(backend)
    with pytest.raises(LmtuiError, match="logit lens can't be computed") as caught:
        backend.layer_states(IDS)
    assert why in caught.value.detail
    assert "LlamaForCausalLM" in caught.value.detail
