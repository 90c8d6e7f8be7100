"""Going on with a text at a cursor.

Owns that a half-typed word is finished, not begun anew: the first step continues the
bytes that were typed, in whichever tokens; from there on the decode loop does as ever.
Any control token ends a continuation, since a document has none. Knows no screen and
no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from lmtui.engine import sampling
from lmtui.engine.boundary import Continuation, Continuations
from lmtui.engine.branches import MOST, grow
from lmtui.engine.cache import PrefixCache
from lmtui.engine.decode import Decoder, Opening, StopRules
from lmtui.engine.detokenize import Vocabulary
from lmtui.engine.forward import Forward
from lmtui.engine.ghost import Ghost, GhostEnd, GhostRules, GhostText
from lmtui.engine.places import Layout, Place
from lmtui.engine.port import Progress, Stop
from lmtui.engine.positions import Positions
from lmtui.engine.score import Row
from lmtui.engine.tokenize import Tokens
from lmtui.engine.types import (
    Distribution,
    Finish,
    SamplingSettings,
    Step,
)
from lmtui.engine.writing import Beginning
from lmtui.errors import LmtuiError
from lmtui.text import bytes_text

_DRAWN_FROM = 1000  # rows that a first step is drawn from where top-k keeps all
_CHARACTERS = 8  # that a token has at most, on average
_TO_CHOOSE_BY = 16  # tokens of an alternative: all are waited for together
ROWS = 20
"""Rows that are asked for: as many as a panel shows, so that they are known already."""


class Reader(Protocol):
    """What reads the text."""

    def place(self, text: str, cursor: int) -> Place:
        """A cursor as the model reads up to it."""

    def part(self, text: str, start: int, end: int) -> Tokens:
        """The tokens of a part of a text, its places in code points."""

    def continuations(
        self, context: Sequence[int], typed: bytes, *, top: int, stop: Stop
    ) -> Continuations:
        """How the model goes on after a context with what begins with `typed`."""

    def distribution(self, found: Continuations, top: int) -> Distribution:
        """The first rows as a distribution that nothing was drawn from."""


@dataclass(frozen=True, slots=True)
class Model:
    """The parts of an engine that run a model."""

    forward: Forward
    cache: PrefixCache
    positions: Positions
    vocabulary: Vocabulary
    context: int
    """Most tokens it can read."""


class GoingOn:
    """Continues texts at cursors."""

    def __init__(
        self, model: Model, reader: Reader, layout: Layout, end_ids: frozenset[int]
    ) -> None:
        self._model = model
        self._reader = reader
        self._layout = layout
        infill = layout.infill.end_ids if layout.infill else frozenset()
        self._end_ids = end_ids | infill | model.vocabulary.specials

    def beginning(self, text: str, cursor: int, more: int) -> Beginning:
        """What the model reads before `more` tokens at a cursor.

        Raises:
            LmtuiError: there is nothing to continue.
        """

        def after(count: int) -> list[int]:
            return self.after(text, cursor, count) if text[cursor:].strip() else []

        return self._layout.beginning(self._reader.place(text, cursor), after, more)

    def after(self, text: str, cursor: int, count: int) -> list[int]:
        """The first tokens after a cursor."""
        end = min(len(text), cursor + count * _CHARACTERS)
        return self._reader.part(text, cursor, end).ids[:count]

    def steps(
        self,
        read: Beginning,
        settings: SamplingSettings,
        *,
        beside: Sequence[int] = (),
        top: int,
        single_line: bool,
        stop: Stop,
        progress: Progress | None,
    ) -> Iterator[Step | Finish]:
        """Go on after a beginning; it may repeat what stands `beside` it."""
        model = self._model
        rules = StopRules(
            end_ids=self._end_ids,
            max_tokens=settings.max_tokens,
            context=model.context,
            single_line=single_line,
        )
        decoder = Decoder(
            model.cache,
            model.positions,
            model.vocabulary,
            settings=settings,
            rules=rules,
            top=top,
            beside=beside,
        )

        def open_with(random: torch.Generator) -> Opening:
            reused = model.cache.common(read.ids)
            if progress:
                model.cache.read(read.ids, stop=stop, progress=progress)
            drawn_from = settings.top_k or _DRAWN_FROM if settings.temperature else 1
            found = self._continuations(read, max(top, drawn_from), stop)
            row, step = self._first(found, settings, top, random)
            return Opening(row.cover.ids, step, reused)

        return decoder.run_from(read.ids, open_with, stop)

    def alternatives(
        self, text: str, cursor: int, rules: GhostRules, *, count: int, stop: Stop
    ) -> list[Ghost]:
        """Suggestions with different beginnings, the most probable first; each long
        enough to choose by.

        Raises:
            LmtuiError: there is nothing to continue.
            Cancelled: `stop` answered True.
        """
        model = self._model
        read = self.beginning(text, cursor, rules.max_tokens)
        rules = replace(rules, max_tokens=min(rules.max_tokens, _TO_CHOOSE_BY))
        found = self._continuations(read, count, stop)
        begun = [
            (row.cover.ids, ghost)
            for row in found.rows
            if row.special is None
            and (ghost := _begun(row, rules, text[cursor:], read)).ghost is None
        ][: min(count, MOST)]
        ghosts = [ghost for _, ghost in begun]

        def goes_on(branch: int, token: int, row: Row) -> bool:
            assert row.logprob is not None
            data = model.vocabulary.bytes(token)
            return ghosts[branch].feed(data, math.exp(row.logprob))

        model.cache.read(read.ids, stop=stop)
        begins = [ids for ids, _ in begun]
        longest = max(map(len, begins), default=0)
        grown = grow(
            model.forward,
            model.cache,
            begins,
            more=min(rules.max_tokens - 1, model.context - len(read.ids) - longest),
            end_ids=self._end_ids,
            goes_on=goes_on,
            stop=stop,
        )
        ended = [branch.ids[-1] in self._end_ids for branch in grown]
        whole = [
            ghost.finish(GhostEnd.STOP if end else GhostEnd.CONTEXT)
            for ghost, end in zip(ghosts, ended, strict=True)
        ]
        return [ghost for ghost in whole if ghost.text]

    def _continuations(self, read: Beginning, count: int, stop: Stop) -> Continuations:
        top = max(count, ROWS)
        return self._reader.continuations(read.ids, read.typed, top=top, stop=stop)

    def _first(
        self,
        found: Continuations,
        settings: SamplingSettings,
        top: int,
        random: torch.Generator,
    ) -> tuple[Continuation, Step]:
        """Draw one of the rows found: it, and the step it makes."""
        if not found.rows:
            raise LmtuiError("the model has no tokens for this text")
        logprobs = torch.tensor([row.logprob for row in found.rows])
        kept = sampling.filter_logits(logprobs, settings)
        place = sampling.draw(kept, random)
        row = found.rows[int(kept.ids[place])]
        vocabulary = self._model.vocabulary
        control = row.special is not None
        token = row.cover.ids[-1]
        step = Step(
            index=0,
            id=token,
            text=vocabulary.text(token) if control else bytes_text(row.beyond),
            bytes=vocabulary.bytes(token) if control else row.beyond,
            piece="",
            logprob=row.logprob,
            rank=1 + sum(other.logprob > row.logprob for other in found.rows),
            entropy=found.entropy,
            sampled_prob=float(kept.probs[place]),
            distribution=_drawn(self._reader.distribution(found, top), kept),
        )
        return row, step


def _begun(
    row: Continuation, rules: GhostRules, after: str, read: Beginning
) -> GhostText:
    """A suggestion that has to begin with `row`, however improbable that is."""
    patient = replace(rules, seconds=None)
    ghost = GhostText(patient, after, sees_after=read.infilled)
    ghost.feed(row.beyond, 1.0)
    return ghost


def _drawn(shown: Distribution, kept: sampling.Kept) -> Distribution:
    """Rows with what the sampler made of them, by their place."""
    places = torch.arange(len(shown.candidates))
    probs, cuts = kept.prob(places), kept.cuts(places, kept.logits[places])
    rows = zip(shown.candidates, probs.tolist(), cuts, strict=True)
    return replace(
        shown,
        candidates=tuple(
            row._replace(sampled_prob=prob, cut=cut) for row, prob, cut in rows
        ),
        rest_sampled_prob=max(0.0, 1 - float(probs.sum())),
        kept=len(kept),
        kept_prob=float(kept.logits[kept.ids].double().exp().sum()),
    )
