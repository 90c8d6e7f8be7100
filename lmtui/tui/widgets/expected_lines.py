"""Two lines below the panel: what is typed already, and what follows the cursor.

Owns the words. Knows no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lmtui.engine.writing import Expectation
from lmtui.text import visible_token
from lmtui.tui.widgets.cells import clip, number, pack_best, percent
from lmtui.tui.widgets.styled_lines import Line, StyledLines
from lmtui.tui.widgets.surprise import bits

Forms = Sequence[Sequence[str]]
"""The same sentence, ever shorter, in parts."""

_WORD = 16  # cells of a word that is named


class ExpectedLines(StyledLines):
    """What the panel's rows continue, and which of them the text goes on with."""

    DEFAULT_CSS = """
    ExpectedLines { height: 2; color: $quiet; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._expectation: Expectation | None = None

    def show(self, expectation: Expectation | None) -> None:
        """Speak of this one, or of none."""
        self._expectation = expectation
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """Each sentence in the longest form that fits."""
        if self._expectation is None:
            return []
        forms = (typed_forms(self._expectation), following_forms(self._expectation))
        return [[(pack_best(form, width)[0], "")] for form in forms]


def typed_forms(expectation: Expectation) -> Forms:
    """How probable it was that the word begins as it does."""
    logprob = expectation.typed_logprob
    if not expectation.typed or logprob is None:
        return (("nothing is typed of the next word",), ("no word is begun",))
    word = clip(visible_token(expectation.typed), _WORD)
    prob = percent(math.exp(min(0.0, logprob)))
    surprise = number(bits(logprob), ".1f")
    unexplored = f"unexplored {percent(expectation.unexplored)}"
    return (
        (f"typed “{word}” p {prob} ({surprise} bits)", unexplored),
        (f"“{word}” p {prob}", unexplored),
        (f"“{word}” p {prob}",),
    )


def following_forms(expectation: Expectation) -> Forms:
    """What follows the cursor, and how far up in the ranking it stands."""
    following = expectation.following
    if following is None:
        return (("nothing follows that has a row",), ("nothing with a row follows",))
    word = clip(visible_token(following.candidate.text), _WORD)
    prob, rank = percent(following.candidate.prob), f"rank {following.rank:,}"
    return (
        (f"follows: “{word}” p {prob}", rank),
        (f"“{word}” p {prob}", rank),
        (f"“{word}”", rank),
    )
