"""Forward passes of a model on a server.

The KV cache is the server's: this side keeps the ids, and sends all of a prompt each
time. A state is a row of logits, as with models whose head can't be told apart. Knows
no text and no sampling.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor

from lmtui.engine.backend import (
    NO_STATES,
    Reuse,
    float_logits,
    no_layer_states,
)
from lmtui.engine.backends.ids_cache import IdsKVCache
from lmtui.engine.scoring.raw_logits import from_bytes
from lmtui.engine.scoring.score import TokenScore
from lmtui.engine.servers.draws import DrawnToken
from lmtui.engine.softmax import log_softmax
from lmtui.engine.token_tree import Tree
from lmtui.models.remote.dialects import DrawSettings
from lmtui.models.remote.lmtui_server import LmtuiServerModel
from lmtui.models.remote.wire import LOGIT_BYTES

_CHUNK = 512  # prompt tokens of one request: progress is seen between two
_RESPONSE_BYTES = 1 << 24  # of the logits of one response


class ServerBackend(ABC):
    """What is the same whatever the server sends; see `backend.ModelBackend` for each
    method's contract."""

    reuse = Reuse.ANY_PREFIX
    reads_trees = False
    is_remote = True
    extra_token_costs: tuple[float, ...] = ()
    block_rows: int

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary

    @abstractmethod
    def _logits_after(self, prompts: Sequence[Sequence[int]], keep: int = 1) -> Tensor:
        """Logits [n · keep, V] after the last `keep` tokens of each of n prompts."""

    def new_cache(self) -> IdsKVCache:
        return IdsKVCache([[]])

    def logits(
        self, ids: Sequence[int], cache: IdsKVCache | None = None, *, keep: int = 1
    ) -> Tensor:
        prompt = [*(cache.rows[0] if cache else ()), *ids]
        none = torch.empty(0, self._vocabulary)
        rows = torch.cat([none, *self.all_logits(prompt, skip=len(prompt) - keep)])
        if cache:
            cache.rows[0] += ids
        return rows

    hidden_states = logits

    def next_logits(self, tokens: Sequence[int], cache: IdsKVCache) -> Tensor:
        for row, token in zip(cache.rows, tokens, strict=True):
            row.append(token)
        return self._logits_of(cache.rows)

    def hidden_states_after(
        self, paths: Sequence[Sequence[int]], cache: IdsKVCache
    ) -> Tensor:
        rows = zip(cache.rows, paths, strict=True)
        return self._logits_of([[*row, *path] for row, path in rows])

    def _logits_of(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Logits [n, V] after each of n prompts."""
        parts = range(0, len(prompts), self.block_rows)
        return torch.cat(
            [self._logits_after(prompts[at : at + self.block_rows]) for at in parts]
        )

    def all_logits(self, ids: Sequence[int], *, skip: int = 0) -> Iterator[Tensor]:
        for start in range(skip, len(ids), self.block_rows):
            end = min(start + self.block_rows, len(ids))
            yield self._logits_after([ids[:end]], end - start)

    def hidden_states_tree(self, tree: Tree, cache: IdsKVCache) -> Tensor:
        raise ValueError("a server reads no trees")

    def layer_states(self, *_: object, **__: object) -> Tensor:
        raise no_layer_states(NO_STATES)

    def head(self, states: Tensor) -> Tensor:
        """Return `states`: they are the logits."""
        return states


class LmtuiServerBackend(ServerBackend):
    """Forward passes on a server of lmtui, which sends whole rows of logits."""

    top_logprobs = None
    order: Sequence[str] = ()
    scores_prompts = True
    prefill_chunk = _CHUNK

    def __init__(self, model: LmtuiServerModel) -> None:
        super().__init__(model.facts.vocabulary)
        self._model = model
        self.takes = model.takes
        self.block_rows = max(1, _RESPONSE_BYTES // (LOGIT_BYTES * self._vocabulary))
        """Rows of logits of one response."""

    def _logits_after(self, prompts: Sequence[Sequence[int]], keep: int = 1) -> Tensor:
        data = self._model.logits(prompts, keep=keep)
        return float_logits(from_bytes(data, self._vocabulary))

    def score_tokens(
        self, ids: Sequence[int], *, skip: int, top_n: int
    ) -> Iterator[TokenScore]:
        """Yield the scores of all of `ids` but the first `skip` + 1, as the server
        computes them: a hundredth of the bytes of their logits."""
        scores = self._model.scores(ids, top_n=top_n)
        for index, (logprob, rank, entropy, varentropy, top) in enumerate(scores):
            if index >= skip:
                yield TokenScore(logprob, rank, entropy, top, varentropy=varentropy)

    def draw(self, ids: Sequence[int], settings: DrawSettings) -> Generator[DrawnToken]:
        for token, row in self._model.draw(ids, settings):
            logits = float_logits(from_bytes(row, self._vocabulary)[0])
            yield DrawnToken(token, float(log_softmax(logits)[token]), logits)
