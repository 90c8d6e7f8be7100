"""Logit lens: the scores of a text's tokens after each layer of a model.

A token is read in the window that it is scored in, so that the last layer's numbers are
those of its score. Of a window, the states are in memory, and a block of logits. See
`lens` for the values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

from torch import Tensor

from lmtui import cancellation
from lmtui.engine.backend import NO_STATES, AnyBackend, no_layer_states
from lmtui.engine.lens import LensColumn, LensRow
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.sampling.ranks import to_device
from lmtui.engine.scoring.score import TokenScore, rows_of
from lmtui.engine.scoring.scored_tokens import candidates
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.windows import DEFAULT_WINDOW, Windows
from lmtui.partial import exact_entropy, exact_rank


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
    records: bool,
) -> Iterator[LensColumn]:
    """Yield the column of each of some positions of a text, which ascend.

    `records` makes the cache record all layers of the contexts that it reads from now
    on: whoever looks into one position looks at the next one, too, and its column then
    costs the head alone.

    Raises:
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
        rows_read = [position + before - 1 for position in wanted]
        targets = [text.ids[at] if at < end else None for at in wanted]
        states = _states_at(cache, read, rows_read)
        scores = _scores(cache.backend, states, targets, top_n)
        for position, rows in zip(wanted, scores, strict=True):
            cache.records_layers = records  # no sooner: not every model can do it
            yield _column(position, rows, vocabulary, is_end=position == end)


def _states_at(
    cache: PrefixCache, ids: Sequence[int], positions: Sequence[int]
) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield the states [n, layers + 1, width] of all layers in parts, each with the
    rows of the tokens at `positions`, which ascend up to the last."""
    # Passes as long as those of a score: other sizes round otherwise.
    parts = cache.layer_states(ids, positions[0], most=DEFAULT_WINDOW)
    for first, states in parts:
        yield states, [at - first for at in positions if 0 <= at - first < len(states)]


def _scores(
    backend: AnyBackend,
    parts: Iterator[tuple[Tensor, list[int]]],
    targets: Sequence[int | None],
    top_n: int,
) -> Iterator[list[TokenScore]]:
    """Yield the scores of each target after each layer, given the parts of
    `_states_at`. A target of None has meaningless scores."""
    waiting = iter(targets)
    for states, wanted in parts:
        layers = states.shape[1]
        size = max(1, backend.block_rows // layers)  # tokens of a block
        for begin in range(0, len(wanted), size):
            rows_read = to_device(wanted[begin : begin + size], states)
            block = states[rows_read].flatten(0, 1)
            ids = [
                target or 0 for target in islice(waiting, size) for _ in range(layers)
            ]
            rows: list[TokenScore] = []
            for start in range(0, len(block), backend.block_rows):
                cancellation.check()
                part = slice(start, start + backend.block_rows)
                rows += rows_of(backend.head(block[part]), ids[part], top_n)
            yield from (rows[at : at + layers] for at in range(0, len(rows), layers))


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
                rank=None if is_end else exact_rank(row.rank),
                entropy=exact_entropy(row.entropy) or 0.0,
                varentropy=row.varentropy,
            )
            for layer, row in enumerate(rows)
        ),
    )
