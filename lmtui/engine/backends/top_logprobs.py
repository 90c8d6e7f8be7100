"""Forward passes of a model on a server that lists the most probable tokens.

A row of logits is filled up from what is listed (see `listed_rows`). Knows no text and
no sampling.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor

from lmtui import cancellation
from lmtui.engine.backends.remote import ServerBackend
from lmtui.engine.sampling.listed_rows import entropy_range, filled
from lmtui.engine.scoring.score import TokenScore
from lmtui.engine.servers.draws import DrawnToken
from lmtui.errors import LmtuiError
from lmtui.models.remote.dialects import DrawSettings
from lmtui.models.remote.load import no_scores
from lmtui.models.remote.top_logprobs import (
    PromptToken,
    Row,
    TopLogprobsModel,
)

_CHUNK = 1 << 30  # a prompt is one request: the server reads it in parts
_PART = 256  # positions of one request: a stop and progress come between


class TopLogprobsBackend(ServerBackend):
    """Forward passes on a server that lists the most probable tokens."""

    prefill_chunk = _CHUNK
    block_rows = _PART

    def __init__(self, model: TopLogprobsModel) -> None:
        super().__init__(model.facts.vocabulary)
        self._model = model
        self.takes = model.takes
        self.top_logprobs = model.rows
        self.scores_prompts = bool(model.server.scores)
        self.asks_for_tokens = model.asks_for_tokens
        self.token_logprobs = model.token_logprobs
        self.order = model.server.order
        self._after: tuple[list[int], Row] | None = None
        """The row after the prompt that was read last: most are asked for again."""

    def _logits_after(self, prompts: Sequence[Sequence[int]], keep: int = 1) -> Tensor:
        return self._filled(
            self._rows_after(
                [
                    prompt[:end]
                    for prompt in prompts
                    for end in range(len(prompt) - keep + 1, len(prompt) + 1)
                ]
            )
        )

    def score_tokens(
        self, ids: Sequence[int], *, skip: int, top_n: int
    ) -> Iterator[TokenScore]:
        self._require_scores()
        if top_n > self.top_logprobs:
            raise LmtuiError(
                "the server lists fewer tokens",
                f"{top_n} are asked for, it lists {self.top_logprobs}",
                f"Ask for up to {self.top_logprobs}.",
            )
        if skip + 1 < len(ids):
            [prompt] = self._model.score([ids], skip + 1, least=top_n)
            if prompt.after:
                self._after = list(ids), prompt.after
            for score in prompt.tokens:
                yield self._token_score(score, top_n)

    def score_paths(
        self, context: Sequence[int], paths: Sequence[Sequence[int]]
    ) -> list[tuple[list[float], Tensor]]:
        """Return the log-probability of each token of some paths after `context`, and
        the row [V] after each path."""
        self._require_scores()
        prompts = [[*context, *path] for path in paths]
        scored = self._model.score(prompts, len(context), least=1)
        rows = [prompt.after for prompt in scored if prompt.after]
        if len(rows) < len(scored):
            rows = self._rows_after(prompts)
        scores = [[token.logprob for token in prompt.tokens] for prompt in scored]
        return list(zip(scores, self._filled(rows), strict=True))

    def _require_scores(self) -> None:
        if not self.scores_prompts:
            raise no_scores(self._model.server.name)

    def draw(self, ids: Sequence[int], settings: DrawSettings) -> Generator[DrawnToken]:
        for token in self._model.draw(ids, settings):
            logits = self._filled([token.row])[0]
            yield DrawnToken(token.id, token.logprob, logits)

    def _rows_after(self, prompts: Sequence[Sequence[int]]) -> list[Row]:
        if not prompts:
            return []
        if len(prompts) == 1 and self._after and self._after[0] == list(prompts[0]):
            return [self._after[1]]
        cancellation.check()
        rows = self._model.rows_after(prompts)
        self._after = list(prompts[-1]), rows[-1]
        return rows

    def _filled(self, rows: Sequence[Row]) -> Tensor:
        size = self._vocabulary
        logits = [filled(row.ids, row.logprobs, size) for row in rows]
        return torch.stack(logits) if logits else torch.empty(0, size)

    def _token_score(self, score: PromptToken, top_n: int) -> TokenScore:
        row, listed = score.row, len(score.row.ids)
        above = sum(logprob > score.logprob for logprob in row.logprobs)
        # All that are above may be listed.
        rank = 1 + above if above < listed else score.rank
        return TokenScore(
            score.logprob,
            rank,
            entropy_range(row.logprobs, self._vocabulary - listed),
            tuple(zip(row.ids, row.logprobs, strict=True))[:top_n],
        )
