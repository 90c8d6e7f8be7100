"""Forward passes of a model on a server that lists the most probable tokens.

A row of logits is filled up from what is listed (see `listed_rows`). The KV cache is
the server's: this side keeps the ids, and sends all of a prompt each time. Knows no
text and no sampling.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor

from lmtui import cancellation
from lmtui.engine.backends.ids_cache import IdsKVCache
from lmtui.engine.backends.remote import ServerBackend, draw_request
from lmtui.engine.sampling.listed_rows import entropy_range, filled
from lmtui.engine.scoring.score import TokenScore
from lmtui.engine.servers.draws import DrawnToken, DrawOptions
from lmtui.errors import LmtuiError
from lmtui.models.remote.dialect import (
    AnswerToken,
    ListingModel,
    PromptToken,
    Row,
)

_CHUNK = 1 << 30  # a prompt is one request: the server reads it in parts
_PART = 256  # tokens of one request for scores: a stop and progress come between


class ListedBackend(ServerBackend):
    """Forward passes on a server; see `base.ModelBackend` for each method's
    contract."""

    prefill_chunk = _CHUNK
    block_rows = _PART

    def __init__(self, model: ListingModel, *, draws: bool) -> None:
        self.model = model
        self.draws = draws
        self.takes = model.takes
        self.listed = model.rows
        self.scores_at_once = model.scores_at_once
        self.order = model.order
        self._after: tuple[list[int], Row] | None = None
        """The row after the prompt that was read last: most are asked for again."""

    def logits(
        self, ids: Sequence[int], held: IdsKVCache | None = None, *, keep: int = 1
    ) -> Tensor:
        prompt = [*(held.rows[0] if held else ()), *ids]
        ends = range(len(prompt) - keep + 1, len(prompt) + 1)
        rows = self._rows_after([prompt[:end] for end in ends])
        if held:
            held.rows[0] += ids
        return self._filled(rows)

    hidden_states = logits

    def next_logits(self, tokens: Sequence[int], held: IdsKVCache) -> Tensor:
        for row, token in zip(held.rows, tokens, strict=True):
            row.append(token)
        return self._filled(self._rows_after(held.rows))

    def hidden_states_after(
        self, paths: Sequence[Sequence[int]], held: IdsKVCache
    ) -> Tensor:
        pairs = zip(held.rows, paths, strict=True)
        prompts = [[*row, *path] for row, path in pairs]
        return self._filled(self._rows_after(prompts))

    def all_logits(self, ids: Sequence[int], *, skip: int = 0) -> Iterator[Tensor]:
        for start in range(skip, len(ids), _PART):
            end = min(start + _PART, len(ids))
            yield self.logits(ids[:end], keep=end - start)

    def score_tokens(
        self, ids: Sequence[int], *, skip: int, top_n: int
    ) -> Iterator[TokenScore]:
        if top_n > self.listed:
            raise LmtuiError(
                "the server lists fewer tokens",
                f"{top_n} are asked for, it lists {self.listed}",
                f"Ask for up to {self.listed}.",
            )
        first = skip + 1
        # A server that scores all at once would read the text again for each part.
        size = len(ids) if self.model.scores_at_once else 1
        for start in range(first, len(ids), size):
            end = min(start + size, len(ids))
            scores = self._read(ids[:end], start, top_n)
            for score in scores:
                yield self._token_score(score, top_n)

    def score_paths(
        self, context: Sequence[int], paths: Sequence[Sequence[int]]
    ) -> list[tuple[list[float], Tensor]]:
        """Return the log-probability of each token of some paths after `context`, and
        the row [V] after each path."""
        prompts = [[*context, *path] for path in paths]
        found = self.model.score(prompts, len(context), least=1)
        rows = [each.after for each in found if each.after]
        if len(rows) < len(found):
            rows = self._rows_after(prompts)
        scores = [[token.logprob for token in each.tokens] for each in found]
        return list(zip(scores, self._filled(rows), strict=True))

    @property
    def asks_for_tokens(self) -> bool:
        return self.model.asks_for_tokens

    def token_logprobs(self, ids: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return the log-probability of each of some tokens after `ids`, whether they
        are listed or not."""
        return self.model.token_logprobs(ids, tokens)

    def draw(self, ids: Sequence[int], options: DrawOptions) -> Generator[DrawnToken]:
        request = draw_request(ids, options)
        for token in self.model.draw(request):
            yield self._drawn(token)

    def _drawn(self, token: AnswerToken) -> DrawnToken:
        return DrawnToken(token.id, token.logprob, self._filled([token.row])[0])

    def _read(self, ids: Sequence[int], start: int, least: int) -> list[PromptToken]:
        """Return the scores of `ids` from index `start` on, with at least so many
        tokens listed."""
        (found,) = self.model.score([ids], start, least=least)
        if found.after:
            self._after = list(ids), found.after
        return found.tokens

    def _rows_after(self, prompts: Sequence[Sequence[int]]) -> list[Row]:
        if not prompts:
            return []
        if len(prompts) == 1 and self._after and self._after[0] == list(prompts[0]):
            return [self._after[1]]
        cancellation.check()
        rows = self.model.rows_after(prompts)
        self._after = list(prompts[-1]), rows[-1]
        return rows

    def _filled(self, rows: Sequence[Row]) -> Tensor:
        size = self.model.facts.vocabulary
        if not rows:
            return torch.empty(0, size)
        return torch.stack([filled(row.ids, row.logprobs, size) for row in rows])

    def _token_score(self, score: PromptToken, top_n: int) -> TokenScore:
        row, rank = score.row, score.rank
        above = sum(each > score.logprob for each in row.logprobs)
        if above < len(row.ids):  # all that are above are listed
            rank = 1 + above
        logits = filled(row.ids, row.logprobs, self.model.facts.vocabulary)
        return TokenScore(
            score.logprob,
            rank,
            None,
            tuple(zip(row.ids, row.logprobs, strict=True))[:top_n],
            len(row.ids) if rank is None else None,
            entropy_range(logits, len(row.ids)),
        )
