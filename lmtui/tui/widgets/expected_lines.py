"""Two lines below the panel: what is typed already, and what follows the cursor.

Owns the words. Knows no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lmtui.engine.writing import Expectation
from lmtui.notation import percent, probability, surprisal
from lmtui.text import visible_token
from lmtui.tui.widgets.cells import clip, pack_best
from lmtui.tui.widgets.styled_lines import Line, StyledLines

Forms = Sequence[Sequence[str]]
"""The same sentence, ever shorter, in parts."""

_WORD = 16  # cells of a word that is named


class ExpectedLines(StyledLines):
    """What the panel's rows continue, and which of them the text goes on with."""

    HELP = """\
How probable it is that the word begins as it does, and which row the text goes on with.
The same letters can be cut into tokens in several ways: p and rank here are summed over
all cuts, while the heat, F8 and Ctrl+L show the rank of the text's own token. "not
searched" is the share of the probability whose cuts were not looked at.
"""
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
    word, short = _words(expectation.typed)
    prob, in_bits = percent(math.exp(min(0.0, logprob))), surprisal(logprob)
    left = percent(expectation.unexplored)
    return (
        (f"typed: “{word}” p {prob} ({in_bits} bits)", f"{left} not searched"),
        (f"typed: “{word}” p {prob} ({in_bits} bits)",),
        (f"typed: “{word}” {in_bits} bits",),
        (f"typed: “{short}” {in_bits} bits",),
    )


def following_forms(expectation: Expectation, *, at_end: bool) -> Forms:
    """What follows the cursor, and how far up in the ranking it stands."""
    following = expectation.following
    if following is None:
        return (("follows: end of text" if at_end else "follows: not searched",),)
    word, short = _words(following.candidate.text)
    prob, rank = probability(following.candidate.logprob), f"rank {following.rank:,}"
    return (
        (f"follows: “{word}” p {prob}", f"{rank} over all cuts"),
        (f"follows: “{word}” p {prob}", rank),
        (f"follows: “{short}” p {prob}", rank),
        (f"follows: “{short}”", rank),
    )


def _words(text: str) -> tuple[str, str]:
    """A word where there is room for it, and where there is less."""
    shown = visible_token(text)
    return clip(shown, _WORD), clip(shown, _WORD // 2)
