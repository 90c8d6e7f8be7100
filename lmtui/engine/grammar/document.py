"""Grammar of a text that is being edited, at a cursor.

Knows no logits and no screen.
"""

from __future__ import annotations

from collections.abc import Callable

from lmtui.engine.grammar.answer import AnswerGrammar
from lmtui.errors import LmtuiError


class DocumentGrammar:
    """A grammar behind the beginning of a text, which may have grown since last
    time."""

    def __init__(self, begin: Callable[[str], AnswerGrammar]) -> None:
        """`begin` returns the grammar of a setting at the beginning of a text."""
        self._begin = begin
        self._last: tuple[str, str, AnswerGrammar] | None = None
        """Setting, text, and the grammar behind it."""

    def at(self, setting: str, before: str) -> AnswerGrammar:
        """Return the grammar behind the text before a cursor.

        Raises:
            LmtuiError: that text does not follow it.
        """
        grammar, read = self._begin(setting), ""
        if self._last and self._last[0] == setting and before.startswith(self._last[1]):
            _, read, grammar = self._last
            grammar = grammar.copy()
        if not grammar.accept_bytes(before[len(read) :].encode()):
            raise _refusal(before, _followed(grammar, before, len(read)))
        self._last = setting, before, grammar
        return grammar.copy()


def _followed(grammar: AnswerGrammar, before: str, start: int) -> int:
    """Return how many characters of a text follow a grammar, which is behind the first
    `start` of them."""
    low, high = start, len(before) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if grammar.allows(before[start:middle].encode()):
            low = middle
        else:
            high = middle - 1
    return low


def _refusal(before: str, followed: int) -> LmtuiError:
    line = before.count("\n", 0, followed) + 1
    column = followed - before.rfind("\n", 0, followed)
    return LmtuiError(
        f"line {line}, column {column} breaks the grammar",
        repr(before[followed : followed + 1]),
        "Change it there, or leave the grammar out.",
    )
