"""Σ log P up to a token, without adding all of them up at every step.

Knows no widget.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmtui.tui.widgets.token_layout import Token

_STEP = 1024  # tokens between two sums that are kept


class RunningSums:
    """The sums over the first tokens of a text."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._kept: list[float | None] = [0.0]
        """Of so many steps; None from the first that lacks a number."""

    def upto(self, index: int) -> float | None:
        """Σ log P up to and with a token; None until the first that has a number, and
        where not all are read up to there. A first token has none, nor any part."""
        while len(self._kept) <= index // _STEP:
            first = _STEP * (len(self._kept) - 1)
            self._kept.append(self._added(self._kept[-1], first, first + _STEP))
        first = index - index % _STEP
        total = self._added(self._kept[index // _STEP], first, index + 1)
        only_first = not index and self._tokens[0].logprob is None
        return None if only_first else total

    def _added(self, total: float | None, first: int, end: int) -> float | None:
        for place, token in enumerate(self._tokens[first:end], first):
            if token.logprob is not None and total is not None:
                total += token.logprob
            elif place:
                return None
        return total
