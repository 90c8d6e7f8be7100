"""Masks of the tokens that a grammar allows next, along one text.

Knows no logits: a stage of sampling applies the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmtui.engine.grammar.compile import reason
from lmtui.engine.grammar.text import NAMES, Grammar
from lmtui.errors import LmtuiError, panics_as_errors

if TYPE_CHECKING:
    from llguidance import LLMatcher


Data = bytes


class GrammarStuck(LmtuiError):
    """A text can neither go on under its grammar nor end."""


@dataclass(frozen=True, slots=True)
class CompiledGrammar:
    """Grammar compiled for one vocabulary."""

    grammar: Grammar
    start: LLMatcher
    """State at the beginning of a text; only copies of it move on."""
    size: int
    """Number of tokens V that the model chooses from."""
    tokenize: Callable[[Data], list[int]]
    """Returns tokens that spell some bytes."""

    def matcher(self, end_ids: Collection[int]) -> GrammarMatcher:
        """Return a matcher at the beginning of a text, which each of `end_ids` ends."""
        return GrammarMatcher(self, end_ids)


class GrammarMatcher:
    """State of a grammar after some tokens of a text.

    An end token is allowed where the text so far is complete, and only there.
    """

    def __init__(self, compiled: CompiledGrammar, end_ids: Collection[int]) -> None:
        self._compiled = compiled
        self._end_ids = sorted(i for i in end_ids if i < compiled.size)
        self._state = compiled.start.deep_copy()
        self._ids: list[int] = []

    @property
    def is_accepting(self) -> bool:
        """Whether the text so far is complete: it may end here."""
        return self._state.is_accepting() and not self._state.is_error()

    @property
    def is_finished(self) -> bool:
        """Whether the text is complete and nothing can be added to it."""
        return self._has_ended or (self._state.is_stopped() and self.is_accepting)

    @property
    def _has_ended(self) -> bool:
        return bool(self._ids) and self._ids[-1] in self._end_ids

    def mask(self) -> Tensor:
        """Return which tokens may follow, on the CPU. bool [V]

        Only end tokens are left once the text is finished: none, where there are none.

        Raises:
            GrammarStuck: no token can go on, and the text is not complete, or the
                grammar takes too much work here.
        """
        allowed, complete = self._allowed(), self.is_accepting
        if not complete and not allowed.any():
            raise self._stuck()
        allowed[self._end_ids] = complete
        return torch.from_numpy(allowed)  # [V]

    def _allowed(self) -> NDArray[np.bool_]:
        """Return which tokens may follow, end tokens aside. bool [V]"""
        size = self._compiled.size
        if self._has_ended:
            return np.zeros(size, np.bool_)
        with panics_as_errors(self._title):
            data = self._state.compute_bitmask()  # ceil(V / 32) words of 32 bits
        if self._state.is_error():
            raise self._stuck()
        # NumPy does this in 10 µs; threads of torch may wait for a core much longer.
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        allowed = bits[:size].view(np.bool_)  # [V]
        allowed[self._end_ids] = False
        return allowed

    def accept(self, token: int) -> None:
        """Move on by `token`.

        Raises:
            GrammarStuck: the grammar does not allow it; the matcher stays where it is.
        """
        if token in self._end_ids:
            allowed = self.is_accepting and not self._has_ended
        else:
            allowed = not self._has_ended and self._consume(token)
        if self._state.is_error():
            raise self._stuck()
        if not allowed:
            detail = f"token {token} after {len(self._ids)} tokens"
            raise GrammarStuck(f"{self._title} does not allow a token", detail)
        self._ids.append(token)

    def accept_bytes(self, data: Data) -> bool:
        """Move on by a text that no token of the model's was drawn for; return whether
        the grammar allows it. If not, the matcher stays where it is."""
        tokens = self._compiled.tokenize(data)
        before = len(self._ids)
        for token in tokens:
            if self._has_ended or not self._consume(token):
                self.rollback(len(self._ids) - before)
                return False
            self._ids.append(token)
        return True

    def _consume(self, token: int) -> bool:
        if not 0 <= token < self._compiled.size:
            return False
        with panics_as_errors(self._title):
            return self._state.try_consume_tokens([token]) == 1

    def rollback(self, count: int) -> None:
        """Take back the last `count` tokens, of those that were accepted."""
        if not 0 <= count <= len(self._ids):
            raise ValueError(f"{count} of {len(self._ids)} tokens")
        consumed = count - (count > 0 and self._has_ended)
        del self._ids[len(self._ids) - count :]
        # Some Lark rules can't be taken back: those with max_tokens or stop.
        if consumed and not self._state.rollback(consumed):
            self._state = self._compiled.start.deep_copy()
            self._state.consume_tokens(self._ids)

    def copy(self) -> GrammarMatcher:
        """Return a matcher in the same state, which moves on its own."""
        copied = copy(self)
        copied._state, copied._ids = self._state.deep_copy(), self._ids.copy()
        return copied

    def forced(self) -> bytes:
        """Return the text that must follow, as far as there is no choice; none where
        the text may end."""
        if self._has_ended or self.is_accepting:
            return b""
        with panics_as_errors(self._title):
            # A copy: where that is too much work, the state would be of no more use.
            return self._state.deep_copy().compute_ff_bytes()

    @property
    def _title(self) -> str:
        return f"the {NAMES[self._compiled.grammar.kind]}"

    def _stuck(self) -> GrammarStuck:
        why = reason(self._state.get_error())
        return GrammarStuck(
            f"{self._title} lets the text neither go on nor end",
            f"after {len(self._ids)} tokens: {why}",
            "Simplify it, or correct the part that was being written.",
        )
