"""Prediction at any cursor of a text that is being edited.

Finds the typed bytes, their healed continuations, and the row that matches the text
after the cursor. `scorer` holds the text; `token_healing` searches the
tokenisations of typed bytes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lmtui.engine.backend import AnyBackend, require_distribution
from lmtui.engine.document.scorer import PART, DocumentScorer, ScoredCursor
from lmtui.engine.document.token_healing import (
    HealedDistribution,
    HealedRow,
    required_paths,
    search,
)
from lmtui.engine.document.types import (
    CursorContext,
    CursorPrediction,
    ScoredSpan,
)
from lmtui.engine.sampling.listed_rows import only_listed
from lmtui.engine.scoring.scored_tokens import scored_tokens
from lmtui.engine.softmax import log_softmax
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.text.tokenizer import TokenBytes, TokenizedText
from lmtui.engine.types import (
    Candidate,
    Distribution,
)
from lmtui.text import bytes_text

_KEPT = 32  # healed distributions that are cached
_AFTER = 64  # code points after the cursor that rows are compared with
_PATHS = 64  # paths after one context whose logprobs are cached

_ASKED = 2000  # tokens that a server is asked about in one request

Path = tuple[int, ...]
Key = tuple[Path, bytes, int]
"""Context, typed bytes after it, and number of rows."""

_handles = count(-1, -1)  # negative: these belong to no position of the store


@runtime_checkable
class TokenBackend(Protocol):
    """Backend that may know more tokens of a row than are listed."""

    @property
    def asks_for_tokens(self) -> bool:
        """Whether it does."""

    def token_logprobs(self, ids: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return the log-probability of each of some tokens after `ids`."""


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """Limits of the search for continuations of a half-typed word."""

    least: float = 1e-3
    """Share of its probability that may stay unexplored."""
    least_scored: float = 0.05
    """The same where the layers need not run at all otherwise."""
    runs: int = 2
    """Most batches of further paths."""


class CursorPredictor:
    """Predicts and scores for one model, and the text it was asked about last."""

    def __init__(
        self,
        backend: AnyBackend,
        scorer: DocumentScorer,
        vocabulary: Vocabulary,
        *,
        size: int,
    ) -> None:
        """`size` is the number of tokens that the model chooses from."""
        self._backend = backend
        self.scorer = scorer
        self._vocabulary = vocabulary
        self._size = size
        self.budget = SearchBudget()
        self._kept: OrderedDict[Key, HealedDistribution] = OrderedDict()
        self._context: Path = ()
        self._logprobs: dict[Path, Tensor] = {}
        """Logprobs [V] after `_context` and some paths; the next typed letter needs
        most of them again."""
        self._asked: dict[Path, set[int]] = {}
        """Tokens that a server was asked about, though it does not list them."""
        self._bare: set[Path] = set()
        """Paths of whose rows nothing else is known."""

    def predict_at(self, text: str, cursor: int, *, top_n: int) -> CursorPrediction:
        # 1) the context up to the last safe boundary, and the bytes typed after it
        scorer = self.scorer
        scorer.update(text)
        spot = scorer.scored_cursor(cursor)
        typed = text[spot.start : cursor]
        # 2) what continues the typed bytes, and the scores that came with the states
        healed = self._healed_at(spot, top_n)
        read = self._read_before(spot)
        if healed is None:
            return CursorPrediction(None, typed, 0.0, None, read)
        return CursorPrediction(
            distribution=self.distribution(healed, top_n),
            typed=typed,
            unexplored=healed.unexplored,
            following=self._actual_next(cursor, healed),
            read=read,
        )

    def _healed_at(self, cursor: ScoredCursor, top_n: int) -> HealedDistribution | None:
        if not cursor.context and not cursor.typed:
            return None
        if cursor.context:
            context, typed = cursor.context, cursor.typed
        else:  # a first piece without context has no probability
            context, typed = cursor.typed, ()
        # 1) the last answer, if it is to the same question
        key = (context, self._bytes(typed), top_n)
        if known := self._kept.get(key):
            return known
        # 2) states [width] of the typed tokens, unless other paths are needed anyway
        scored = len(self.scorer.known_at(cursor)) == len(typed) + 1
        least = self.budget.least_scored if scored else self.budget.least
        states: dict[Path, Tensor] = {}
        if scored or not self._is_wider(context, typed, least):
            read = self.scorer.states_at(cursor)
            states = _by_path(typed, read[-len(typed) - 1 :])
        return self._search(key, states, tolerance=least)

    def _is_wider(self, context: Path, typed: Path, tolerance: float) -> bool:
        """Return whether cached logprobs show that the search needs other paths than
        the typed tokens: one batch of all paths then costs less than a pass over those
        and another batch."""
        known = self._cached_rows(context)
        if () not in known or not self._can_search or self._has_token_logprobs:
            return False
        wanted = required_paths(
            self.tokens,
            known[()],
            self._bytes(typed),
            known=known,
            tolerance=tolerance,
        )
        return any(path != typed[: len(path)] for path in wanted)

    def context_at(self, text: str, cursor: int) -> CursorContext:
        """Return the context of a cursor, whatever follows it."""
        self.scorer.update(text)
        spot = self.scorer.scored_cursor(cursor)
        if not spot.context:
            return CursorContext((), spot.typed, b"", cursor)
        begun = len(self.scorer.prefix)
        prefix, before = spot.context[:begun], spot.context[begun:]
        return CursorContext(prefix, before, self._bytes(spot.typed), spot.start)

    def part(self, text: str, start: int, end: int) -> TokenizedText:
        """Return the tokens of a part of any text; offsets are in code points."""
        return self.scorer.document.read(text, start, end)

    def continuations(
        self, context: Sequence[int], typed: bytes, *, top_n: int
    ) -> HealedDistribution:
        """Return the healed distribution after a context (a token or more), of what
        begins with `typed`.
        """
        key = (tuple(context), typed, top_n)
        if known := self._kept.get(key):
            return known
        likely = self.tokens.guess(typed)
        states: dict[Path, Tensor] = {}
        if not {(), likely} <= self._cached_rows(key[0]).keys():
            states = _by_path(likely, self.scorer.read(context, likely))
        return self._search(key, states, tolerance=self.budget.least)

    def _search(
        self, key: Key, states: dict[Path, Tensor], *, tolerance: float
    ) -> HealedDistribution:
        context, typed, top = key
        # 1) the rows [V] after the paths whose states are known; with a server that can
        # be asked, also of tokens that it does not list
        known = self._cached_rows(context)
        self._remember_rows(known, states)
        whole = self._complete_rows(known, key)

        def run(paths: list[Path]) -> list[Tensor]:
            if self._has_token_logprobs:  # only tokens that matter, which are few
                self._ask_tokens(known, key, paths, whole)
            if new := [path for path in paths if path not in known]:
                states = self.scorer.hidden_states_after(context, new)
                self._remember_rows(known, dict(zip(new, states, strict=True)))
            return [known[path] for path in paths]

        # 2) best-first search over the tokenisations of the typed bytes
        healed = search(
            self.tokens,
            known[()],
            typed,
            run,
            known=known,
            top_n=top,
            tolerance=tolerance,
            most_runs=self._max_batches,
            whole=None if self._backend.top_logprobs is None else whole,
        )
        self._kept[key] = healed
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return healed

    @property
    def _can_search(self) -> bool:
        """Whether other tokenisations of the typed bytes can be tried. A server that
        tells of listed tokens only has little to say of them."""
        is_listed = self._backend.top_logprobs is not None
        return self.scorer.branches and (self._has_token_logprobs or not is_listed)

    @property
    def _max_batches(self) -> int:
        """Most batches of a search. A server that is asked takes a request for each
        path."""
        return (
            min(self.budget.runs, 1)
            if self._has_token_logprobs
            else self.budget.runs * self._can_search
        )

    @property
    def _has_token_logprobs(self) -> bool:
        """Whether a server can be asked about tokens that it does not list."""
        backend = self._backend
        return isinstance(backend, TokenBackend) and backend.asks_for_tokens

    def _complete_rows(self, known: dict[Path, Tensor], key: Key) -> set[Path]:
        """Ask a server about the tokens that it does not list and that could continue
        the typed bytes. Return the paths after which all of those are known."""
        whole: set[Path] = set()
        if self._has_token_logprobs:
            typed = key[1]
            for path in [path for path in known if self._bytes(path) == typed]:
                if path in self._bare:  # its row has to be listed now
                    del known[path]
            self._ask_tokens(known, key, list(known), whole)
        return whole

    def _ask_tokens(
        self, known: dict[Path, Tensor], key: Key, paths: list[Path], whole: set[Path]
    ) -> None:
        """Complete the rows after some paths; add those paths to `whole`. A path
        without a row gets one that holds nothing else."""
        context, typed, _ = key
        backend = self._backend
        assert isinstance(backend, TokenBackend)
        for path in paths:
            start = self._bytes(path)
            if not typed.startswith(start) or typed == start:
                continue
            rest = typed[len(start) :]
            ids = [i for i, _ in self.tokens.beginnings(rest)]
            wanted = torch.cat([torch.tensor(ids).long(), self.tokens.beyond(rest)[0]])
            row = known.get(path)
            if row is None:
                row = torch.full((self._size,), -math.inf)
            asked = self._asked.setdefault(path, set())
            new = [i for i in wanted[row[wanted].isinf()].tolist() if i not in asked]
            if len(new) > _ASKED:
                continue
            if new:
                prompt = [*context, *path]
                told = backend.token_logprobs(prompt, new)
                row[torch.tensor(new)] = torch.tensor(told)
                asked.update(new)
            if path not in known:
                self._bare.add(path)
                known[path] = row
            whole.add(path)

    def _cached_rows(self, context: Path) -> dict[Path, Tensor]:
        if self._context != context or len(self._logprobs) > _PATHS:
            self._context, self._logprobs = context, {}
            self._asked, self._bare = {}, set()
        return self._logprobs

    def _remember_rows(
        self, known: dict[Path, Tensor], states: dict[Path, Tensor]
    ) -> None:
        new = [path for path in states if path not in known]
        if new:
            logits = self._backend.head(torch.stack([states[path] for path in new]))
            # Token healing sums over covers in main memory.
            if self._backend.top_logprobs:
                logprobs = only_listed(logits)
            else:
                logprobs = log_softmax(logits).cpu()
            require_distribution(logprobs)
            known.update(zip(new, logprobs, strict=True))

    def _bytes(self, ids: Sequence[int]) -> bytes:
        return b"".join(map(self._vocabulary.bytes, ids))

    @cached_property
    def tokens(self) -> TokenBytes:
        spelled = [self._vocabulary.bytes(i) for i in range(self._size)]
        return TokenBytes(spelled, self._vocabulary.specials)

    def distribution(self, healed: HealedDistribution, top_n: int) -> Distribution:
        """Return the first `top_n` rows as a distribution without sampling."""
        rows = healed.rows[:top_n]
        return Distribution(
            candidates=tuple(map(self._candidate, rows)),
            start=0,
            vocabulary=self._size,
            rest_prob=max(0.0, 1 - math.fsum(math.exp(row.logprob) for row in rows)),
            rest_sampled_prob=0.0,
            remaining=self._size,
            remaining_prob=1.0,
            entropy=healed.entropy,
            varentropy=healed.varentropy,
            handle=next(_handles),
            top_logprobs=self._backend.top_logprobs,
        )

    def _candidate(self, row: HealedRow) -> Candidate:
        token = row.cover.ids[-1]
        if row.special is None:
            return Candidate(token, bytes_text(row.beyond), row.beyond, row.logprob)
        name, data = self._vocabulary.text(token), self._vocabulary.bytes(token)
        return Candidate(token, name, data, row.logprob)

    def _actual_next(self, cursor: int, healed: HealedDistribution) -> Candidate | None:
        """Return the row of the text after the cursor: the one of the text's own token,
        or else the longest row that the text begins with."""
        document = self.scorer.document
        after = document.text[cursor : cursor + _AFTER].encode()
        token = self._token_at(cursor)
        sizes = range(len(after), 0, -1)
        for data in (token, *(after[:size] for size in sizes)):
            logprob = healed.lookup(data) if data else None
            if logprob is not None and after.startswith(data):
                return self._row(healed, data, logprob)
        return None

    def _row(
        self, healed: HealedDistribution, data: bytes, logprob: float
    ) -> Candidate:
        known = (row for row in healed.rows if row.beyond == data)
        row = next(known, None)
        ids = self.tokens.exactly(data)
        token = row.cover.ids[-1] if row else ids[0] if ids else -1
        return Candidate(token, bytes_text(data), data, logprob)

    def _token_at(self, cursor: int) -> bytes:
        """Return the bytes that the text's own token at the cursor adds beyond the
        cursor."""
        document = self.scorer.document
        index = document.index_at(cursor)
        if index >= len(document):
            return b""
        ((start, end),) = document.spans(index, index + 1)
        data = self._bytes(document.ids(index, index + 1))
        typed = document.text[start:cursor].encode()
        if data.startswith(typed):
            return data[len(typed) :]
        return document.text[cursor:end].encode()

    def score_span(self, text: str, start: int, end: int) -> Iterator[ScoredSpan]:
        """Yield the scores of the tokens that overlap [`start`, `end`), in code points,
        and of those that share a character with them, part by part.
        """
        scorer = self.scorer
        scorer.update(text)
        first, last = scorer.document.between(start, end)
        first, last = (
            self._character_boundary(first, -1),
            self._character_boundary(last, 1),
        )
        for _, known in scorer.rows(first, last):
            whole = self._character_boundary(known, -1)
            if first < whole:
                yield self._token_range(first, whole)
                first = whole

    def _read_before(self, cursor: ScoredCursor) -> ScoredSpan | None:
        """Return the scores of the last tokens before a cursor whose states are
        known."""
        first = self.scorer.score_read(cursor.index - PART, cursor.index)
        if first is None:
            return None
        return self._token_range(self._character_boundary(first, 1), cursor.index)

    def _character_boundary(self, index: int, step: int) -> int:
        """Return the first token from `index` on, in direction `step`, that begins a
        character."""
        document = self.scorer.document
        while 0 < index < len(document):
            (_, end), (start, _) = document.spans(index - 1, index + 1)
            if end <= start:
                break
            index += step
        return index

    def _token_range(self, first: int, last: int) -> ScoredSpan:
        document = self.scorer.document
        ids = document.ids(first, last)
        rows = self.scorer.scored(first, last)
        tokens = scored_tokens(self._vocabulary, ids, rows, first=first)
        return ScoredSpan(tuple(tokens), tuple(document.spans(first, last)))


def _by_path(ids: Path, states: Sequence[Tensor]) -> dict[Path, Tensor]:
    """Map each prefix of `ids`, from () on, to the state [width] after it."""
    return {ids[:size]: state for size, state in enumerate(states)}
