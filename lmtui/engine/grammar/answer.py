"""Grammar along one answer, which begins where the model has ended to think.

Knows no logits and no template.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence
from copy import copy

import torch
from torch import Tensor

from lmtui.engine.grammar.matcher import CompiledGrammar, GrammarStuck
from lmtui.engine.text.thinking import (
    ThinkingFinder,
    before_thinking,
    opens,
    thinking_in,
)
from lmtui.engine.types import Prompt
from lmtui.errors import LmtuiError


class AnswerGrammar:
    """Masks of one answer: of its grammar, and of no end while the model thinks."""

    def __init__(
        self,
        compiled: CompiledGrammar,
        end_ids: Collection[int],
        *,
        opened: bool = False,
        mark: Sequence[int] = (),
    ) -> None:
        """`opened` says that the prompt ended with the mark that begins thinking;
        `mark` are the tokens with which the model may begin to think by itself."""
        self._compiled, self._ends = compiled, sorted(end_ids)
        self._matcher = compiled.matcher(end_ids)
        self._mark, self._marked = tuple(mark), 0
        """The tokens of the mark, and how many of them are there."""
        self._finder = ThinkingFinder(opened=True) if opened else None
        """Finds the end of the thinking; None unless the model thinks."""
        self._thought = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def begin(self, text: str) -> None:
        """Go on behind the beginning of an answer.

        Raises:
            LmtuiError: the grammar does not allow it.
        """
        if not text:
            return
        self._mark = ()
        span = thinking_in(text, opened=self._finder is not None)
        if span is not None and not span.closing:
            self._finder, self._thought = (
                ThinkingFinder(opened=True),
                text[span.start :],
            )
            return
        self._finder = None
        said = text[span.end :] if span else text
        if not self._matcher.accept_bytes(said.encode()):
            raise LmtuiError(
                "the grammar does not allow the beginning of the answer",
                "",
                "Let the answer begin anew, or change the grammar.",
            )

    def copy(self) -> AnswerGrammar:
        """Return a grammar in the same state, which moves on by itself."""
        copied = copy(self)
        copied._matcher = self._matcher.copy()
        copied._finder, copied._decoder = copy(self._finder), copy(self._decoder)
        return copied

    @property
    def is_finished(self) -> bool:
        """Whether the answer is complete and nothing can be added to it."""
        return not self._thinks and self._matcher.is_finished

    @property
    def _thinks(self) -> bool:
        return self._finder is not None or self._marked > 0

    def mask(self) -> Tensor:
        """Return which tokens may follow, on the CPU. bool [V]

        Raises:
            GrammarStuck: none can.
        """
        if self._finder is not None:
            allowed = torch.ones(self._compiled.size, dtype=torch.bool)
            allowed[self._ends] = False
            return allowed
        if self._marked:
            allowed = torch.zeros(self._compiled.size, dtype=torch.bool)
            allowed[self._mark[self._marked]] = True
            return allowed
        allowed = self._matcher.mask()  # [V]
        if self._mark:
            allowed[self._mark[0]] = True
        return allowed

    def forces(self, data: bytes) -> bool:
        """Return whether no text but one can follow, and that begins with `data`."""
        return (
            bool(data)
            and not self._thinks
            and self._matcher.forced()[: len(data)] == data
        )

    def accept(self, token: int, data: bytes) -> None:
        """Move on by a token and its bytes.

        Raises:
            GrammarStuck: the grammar does not allow it.
        """
        if self._finder is not None:
            self._think(data)
        elif self._mark and token == self._mark[self._marked]:
            self._marked += 1
            if self._marked == len(self._mark):
                self._mark, self._marked = (), 0
                self._finder = ThinkingFinder(opened=True)
        else:
            self._mark = ()
            self._matcher.accept(token)

    def _think(self, data: bytes) -> None:
        """Read on in the thinking; what stands behind its end is the answer's."""
        assert self._finder is not None
        self._thought += self._decoder.decode(data)
        span = self._finder.find(self._thought)
        if span is None or not span.closing:
            return
        self._finder = None
        rest = self._thought[span.end :]
        if not self._matcher.accept_bytes(rest.encode()):
            raise GrammarStuck("the answer does not begin as the grammar says")


def answer_grammar(
    compiled: CompiledGrammar,
    end_ids: Collection[int],
    prompt: Prompt,
    mark: Sequence[int],
) -> AnswerGrammar:
    """Return the grammar of the answer to a prompt, behind what the prompt has of it.
    `mark` are the tokens with which the model may begin to think.

    Raises:
        LmtuiError: it does not allow the beginning of the answer.
    """
    asked = prompt.text.removesuffix(prompt.begun)
    opened = opens(asked)
    # A template that switches thinking off writes one that is empty.
    has_thought = before_thinking(asked)[1] is not None
    grammar = AnswerGrammar(
        compiled, end_ids, opened=opened, mark=() if has_thought else mark
    )
    grammar.begin(prompt.begun)
    return grammar
