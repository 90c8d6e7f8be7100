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
        self._at_end = False

    def show(self, expectation: Expectation | None, *, at_end: bool = False) -> None:
        """Speak of this one, or of none; `at_end` of one where the text ends."""
        self._expectation, self._at_end = expectation, at_end
        self.renew()
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """Each sentence in the longest form that fits."""
        if self._expectation is None:
            return []
        following = following_forms(self._expectation, at_end=self._at_end)
        forms = (typed_forms(self._expectation), following)
        return [[(pack_best(form, width)[0], "")] for form in forms]


def typed_forms(expectation: Expectation) -> Forms:
    """How probable it was that the word begins as it does."""
    logprob = expectation.typed_logprob
    if not expectation.typed or logprob is None:
        return (("typed: nothing of the next word",), ("typed: nothing",))
    word = clip(visible_token(expectation.typed), _WORD)
    prob = percent(math.exp(min(0.0, logprob)))
    surprise = number(bits(logprob), ".1f")
    left = percent(expectation.unexplored)
    return (
        (f"typed: “{word}” p {prob} ({surprise} bits)", f"{left} not searched"),
        (f"typed: “{word}” p {prob} ({surprise} bits)",),
        (f"typed: “{word}” {surprise} bits",),
        (f"typed: “{clip(word, 6)}” {surprise} bits",),
    )


def following_forms(expectation: Expectation, *, at_end: bool) -> Forms:
    """What follows the cursor, and how far up in the ranking it stands."""
    following = expectation.following
    if following is None:
        return (("follows: end of text" if at_end else "follows: not searched",),)
    word = clip(visible_token(following.candidate.text), _WORD)
    prob, rank = percent(following.candidate.prob), f"rank {following.rank:,}"
    return (
        (f"follows: “{word}” p {prob}", rank),
        (f"follows: “{word}”", rank),
        (f"follows: “{clip(word, 6)}”", rank),
    )
