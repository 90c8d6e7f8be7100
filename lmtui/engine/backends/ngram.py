"""N-gram model as a backend, so that everything that is done with a language model can
be done with it.

A state is the last order - 1 tokens of a context, and the head looks up what followed
them. The logits are log-probabilities: their softmax is the distribution itself. Texts
are scored by the counts in float64, without logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmtui import cancellation
from lmtui.engine.backend import Reuse, no_layer_states
from lmtui.engine.backends.ids_cache import IdsKVCache
from lmtui.engine.backends.ngram_model import NgramModel
from lmtui.engine.scoring.score import TokenScore
from lmtui.engine.token_tree import Tree
from lmtui.models.model_info import ModelInfo

_NO_TOKEN = -1  # in a state of a context that is shorter than the model looks back
_CHUNK = 1 << 30  # a prompt is only stored
_BLOCK = 32  # probabilities per block in the search for the greatest
_ROWS = 64  # of logits in one block: a stop comes within some hundredths of a second


@dataclass(frozen=True, slots=True)
class CountedModel:
    """N-gram model and its properties, as `LoadedModel` has it."""

    ngrams: NgramModel
    facts: ModelInfo


def counted_model(
    ngrams: NgramModel, *, context: int, end_ids: Sequence[int]
) -> CountedModel:
    """Return an n-gram model that reads at most `context` tokens together, as the model
    that it is compared with."""
    facts = ModelInfo(
        architecture=f"interpolated Kneser-Ney, order {ngrams.order}",
        parameters=ngrams.size,
        vocabulary=ngrams.vocabulary,
        context=context,
        end_ids=frozenset(end_ids),
        generation_defaults=(),
    )
    return CountedModel(ngrams, facts)


class NgramBackend:
    """Distributions of an n-gram model; see `base.ModelBackend` for each method's
    contract."""

    prefill_chunk = _CHUNK
    block_rows = _ROWS
    extra_token_costs: tuple[float, ...] = ()
    reuse = Reuse.ANY_PREFIX
    top_logprobs = None
    is_remote = False
    reads_trees = True
    scores_prompts = True

    def __init__(self, ngrams: NgramModel) -> None:
        self._ngrams = ngrams
        self._width = max(0, ngrams.order - 1)

    def new_cache(self) -> IdsKVCache:
        return IdsKVCache([[]])

    def logits(
        self, ids: Sequence[int], cache: IdsKVCache | None = None, *, keep: int = 1
    ) -> Tensor:
        return self.head(self.hidden_states(ids, cache, keep=keep))

    def next_logits(self, tokens: Sequence[int], cache: IdsKVCache) -> Tensor:
        paths = [[token] for token in tokens]
        return self.head(self.hidden_states_after(paths, cache))

    def hidden_states(
        self, ids: Sequence[int], cache: IdsKVCache | None = None, *, keep: int = 1
    ) -> Tensor:
        """Last tokens [keep, width] of the contexts that end with the last `keep` of
        `ids`."""
        cancellation.check()
        text = [*(cache.rows[0] if cache else ()), *ids]
        ends = range(len(text) - keep + 1, len(text) + 1)
        states = self._states([self._last_tokens(text, end) for end in ends])
        if cache:
            cache.rows[0] += ids
        return states

    def hidden_states_after(
        self, paths: Sequence[Sequence[int]], cache: IdsKVCache
    ) -> Tensor:
        """Last tokens [n, width] after each of n paths, one for each row."""
        cancellation.check()
        for row, path in zip(cache.rows, paths, strict=True):
            row += path
        return self._states([self._last_tokens(row) for row in cache.rows])

    def layer_states(self, *_: object, **__: object) -> Tensor:
        raise no_layer_states("an n-gram model has no layers")

    def hidden_states_tree(self, tree: Tree, cache: IdsKVCache) -> Tensor:
        """Last tokens [n, width] after each token of a tree."""
        cancellation.check()
        before = self._last_tokens(cache.rows[0])
        # A parent comes before its children, so that a row of the mask is a path.
        paths = [row.nonzero().flatten().tolist() for row in tree.seen]
        return self._states(
            [
                self._last_tokens([*before, *(tree.ids[i] for i in path)])
                for path in paths
            ]
        )

    def head(self, states: Tensor) -> Tensor:
        # In numpy: torch's threads would wait for each other longer than a row takes.
        logits = np.empty((len(states), self._ngrams.vocabulary), np.float32)
        for row, state in enumerate(states.tolist()):
            context = [token for token in state if token != _NO_TOKEN]
            logits[row] = self._ngrams.logprobs(context).numpy()
        return torch.from_numpy(logits)

    def all_logits(self, ids: Sequence[int], *, skip: int = 0) -> Iterator[Tensor]:
        for start in range(skip, len(ids), _ROWS):
            end = min(start + _ROWS, len(ids))
            yield self.logits(ids[:end], keep=end - start)

    def score_tokens(
        self, ids: Sequence[int], *, skip: int, top_n: int
    ) -> Iterator[TokenScore]:
        logprobs = self._ngrams.score(ids).tolist()
        for index in range(skip + 1, len(ids)):
            cancellation.check()
            before = ids[max(0, index - self._width) : index]
            probs, entropy, varentropy = self._ngrams.row(before)
            above = int(np.count_nonzero(probs > probs[ids[index]]))
            yield TokenScore(
                logprobs[index],
                1 + above,
                entropy,
                _top_logprobs(probs, top_n),
                varentropy=varentropy,
            )

    def _last_tokens(self, ids: Sequence[int], end: int | None = None) -> list[int]:
        """Return the tokens that matter of the context `ids[:end]`, with `_NO_TOKEN`
        for those that it lacks: [width]."""
        end = len(ids) if end is None else end
        last = list(ids[max(0, end - self._width) : end])
        return [_NO_TOKEN] * (self._width - len(last)) + last

    def _states(self, rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), self._width)


def _top_logprobs(
    probs: NDArray[np.float64], count: int
) -> tuple[tuple[int, float], ...]:
    """Return the first tokens by (-probability, id), with log-probabilities."""
    if not count:
        return ()
    # The least of the greatest maxima of blocks is a bound of the greatest numbers.
    blocks = probs[: len(probs) // _BLOCK * _BLOCK].reshape(_BLOCK, -1).max(0)
    ids = np.arange(len(probs))
    if count < len(blocks):
        ids = np.flatnonzero(probs >= np.partition(blocks, -count)[-count])
    ids = ids[(-probs[ids]).argsort(kind="stable")][:count]
    return tuple(zip(ids.tolist(), np.log(probs[ids]).tolist(), strict=True))
