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
        """Speak of this one, or of none; `at_end` is the cursor behind all text."""
        self._expectation, self._at_end = expectation, at_end
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """Each sentence in the longest form that fits."""
        if self._expectation is None:
            return []
        forms = (
            typed_forms(self._expectation),
            following_forms(self._expectation, at_end=self._at_end),
        )
        return [[(pack_best(form, width)[0], "")] for form in forms]


def typed_forms(expectation: Expectation) -> Forms:
    """How probable it was that the word begins as it does."""
    logprob = expectation.typed_logprob
    if not expectation.typed or logprob is None:
        return (("nothing is typed of the next word",), ("no word is begun",))
    word, short = _words(expectation.typed)
    prob, in_bits = percent(math.exp(min(0.0, logprob))), surprisal(logprob)
    return (
        (f"typed “{word}” p {prob} ({in_bits} bits)",
         f"not searched {percent(expectation.unexplored)}"),
        (f"typed “{word}” p {prob} ({in_bits} bits)",),
        (f"typed “{short}” p {prob}",),
    )  # fmt: skip


def following_forms(expectation: Expectation, *, at_end: bool = False) -> Forms:
    """What follows the cursor, and how far up in the ranking it stands."""
    following = expectation.following
    if following is None:
        return (("end of text" if at_end else "follows: no row of the panel",),)
    word, short = _words(following.candidate.text)
    prob, rank = probability(following.candidate.logprob), f"rank {following.rank:,}"
    return (
        (f"follows: “{word}” p {prob}", f"{rank} over all cuts"),
        (f"follows: “{short}” p {prob}", rank),
        (f"follows: “{short}”", rank),
    )


def _words(text: str) -> tuple[str, str]:
    """A word where there is room for it, and where there is less."""
    shown = visible_token(text)
    return clip(shown, _WORD), clip(shown, _WORD // 2)
