"""Beam search: the most probable continuation that a few hypotheses at a time find.

At each step, every hypothesis is extended by its most probable tokens, and of all that
come of it, the `width` with the greatest Σ log P stay (Sutskever et al. 2014, Sequence
to sequence learning with neural networks, section 3.2; here an ended one stays in the
beam). Width 1 is greedy decoding. Knows ids only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings

_RAW = SamplingSettings(temperature=0)  # raw log-probabilities are read, none drawn


@dataclass(frozen=True, slots=True)
class Hypothesis:
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """Natural logs, one for each token."""

    @property
    def total(self) -> float:
        """Σ log P in nats."""
        return math.fsum(self.logprobs)


def beam_search(
    engine: Engine, ids: Sequence[int], *, width: int, count: int
) -> Iterator[tuple[Hypothesis, ...]]:
    """Yield the beam after each of `count` steps, the best hypothesis first; fewer
    where all have ended."""
    ends = frozenset(engine.info.end_ids)
    beam: tuple[Hypothesis, ...] = (Hypothesis(),)
    for step in range(count):
        extended: list[Hypothesis] = []
        # Neighbours share most of their tokens, which are then in the KV cache; each
        # step begins where the last one ended.
        for start in sorted(beam, key=lambda h: h.ids, reverse=bool(step % 2)):
            if start.ids and start.ids[-1] in ends:
                extended.append(start)
                continue
            following = engine.next_distribution([*ids, *start.ids], _RAW, top_n=width)
            extended += (
                Hypothesis((*start.ids, row.id), (*start.logprobs, row.logprob))
                for row in following.candidates[:width]
            )
        beam = tuple(sorted(extended, key=lambda h: (-h.total, h.ids))[:width])
        yield beam
        if all(hypothesis.ids[-1] in ends for hypothesis in beam):
            return
