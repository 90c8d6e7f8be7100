"""Logit lens: the scores of a text's tokens after each layer of a model.

A token is read in the window that it is scored in, so that the last layer's numbers are
those of the score. Memory does not grow with tokens × layers × vocabulary. See `lens`
for the values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

from torch import Tensor

from lmtui.engine.backends.base import NO_STATES, AnyBackend, no_layer_states
from lmtui.engine.detokenizer import Vocabulary
from lmtui.engine.lens import LensColumn, LensRow
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import Stop
from lmtui.engine.score import TokenScore, rows_of
from lmtui.engine.scored_tokens import candidates
from lmtui.engine.windows import Windows
from lmtui.errors import Cancelled

_PART = 128
"""Tokens whose states of all layers are in memory at once."""


class LensText(NamedTuple):
    """Text that the lens looks into."""

    ids: Sequence[int]
    prefix: Sequence[int]
    """Begins every window."""
    windows: Windows


def lens_columns(
    cache: PrefixCache,
    vocabulary: Vocabulary,
    text: LensText,
    positions: Sequence[int],
    *,
    top_n: int,
    should_stop: Stop,
) -> Iterator[LensColumn]:
    """Yield the column of each of some positions of a text, which ascend.

    Raises:
        Cancelled: `should_stop` answered True.
        LmtuiError: the states of single layers can't be had.
    """
    if cache.backend.is_remote:
        raise no_layer_states(NO_STATES)
    end = len(text.ids)
    for begin, group in groupby(positions, text.windows.start_of):
        wanted = list(group)
        before = len(text.prefix) - begin
        if wanted[0] + before == 0:
            yield LensColumn(wanted.pop(0), ())
        if not wanted:
            continue
        read = [*text.prefix, *text.ids[begin : wanted[-1]]]
        # The row at place i of `read` predicts the token at i + 1.
        places = [position + before - 1 for position in wanted]
        targets = [text.ids[at] if at < end else None for at in wanted]
        states = _states_at(cache, read, places, should_stop)
        scores = _scores(cache.backend, states, targets, top_n, should_stop)
        for position, rows in zip(wanted, scores, strict=True):
            yield _column(position, rows, vocabulary, is_end=position == end)


def _states_at(
    cache: PrefixCache, ids: Sequence[int], places: Sequence[int], should_stop: Stop
) -> Iterator[Tensor]:
    """Yield the states [n, layers + 1, width] after the tokens at some places, which
    ascend up to the last, in parts."""
    parts = cache.layer_states(ids, places[0], most=_PART, should_stop=should_stop)
    for first, states in parts:
        inside = [at - first for at in places if 0 <= at - first < len(states)]
        if inside:
            yield states[inside]


def _scores(
    backend: AnyBackend,
    parts: Iterator[Tensor],
    targets: Sequence[int | None],
    top_n: int,
    should_stop: Stop,
) -> Iterator[list[TokenScore]]:
    """Yield the scores of each target after each layer, given the states [n, layers +
    1, width] before them in parts. A target of None has meaningless scores."""
    waiting = iter(targets)
    for states in parts:
        count, layers, _ = states.shape
        each = [token or 0 for token in islice(waiting, count) for _ in range(layers)]
        rows: list[TokenScore] = []
        flat = states.flatten(0, 1)  # [n · (layers + 1), width]
        for start in range(0, len(flat), backend.block_rows):
            if should_stop():
                raise Cancelled
            part = slice(start, start + backend.block_rows)
            rows += rows_of(backend.head(flat[part]), each[part], top_n)
            while len(rows) >= layers:
                yield rows[:layers]
                del rows[:layers]


def _column(
    position: int, rows: Sequence[TokenScore], vocabulary: Vocabulary, *, is_end: bool
) -> LensColumn:
    return LensColumn(
        position,
        tuple(
            LensRow(
                layer=layer,
                top=candidates(vocabulary, row),
                logprob=None if is_end else row.logprob,
                rank=None if is_end else row.rank,
                entropy=row.entropy or 0.0,
            )
            for layer, row in enumerate(rows)
        ),
    )
