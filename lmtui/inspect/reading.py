"""A text as one model reads it: cut into tokens at once, scored part by part.

Owns which parts are still to be read, and that the numbers are those of the whole text
whatever part is read first: a part is what one window scores. Knows no engine and no
screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from lmtui.engine.types import Encoding, ScoredToken
from lmtui.engine.windows import Windows
from lmtui.inspect.kept_rows import Names, packed
from lmtui.inspect.roads import ROOT, Roads
from lmtui.inspect.summary import Totals
from lmtui.inspect.written import as_scored

MOST = 20
"""How many of the most surprising tokens, and of the changes, are listed."""


@dataclass(frozen=True, slots=True)
class Part:
    """The tokens from `first` to before `end`."""

    first: int
    end: int


@dataclass
class Reading:
    """A text as one model reads it."""

    before: tuple[int, ...] = ()
    """Ids before its tokens."""
    ids: tuple[int, ...] = ()
    """Its own."""
    spans: tuple[tuple[int, int], ...] = ()
    windows: Windows | None = None
    roads: Roads = field(default_factory=Roads)
    road: int = ROOT
    """The one that is shown."""
    unread: list[Part] = field(default_factory=list)
    """In the order of the text."""
    totals: Totals = field(default_factory=lambda: Totals(keep=MOST))
    """Of the parts that were read."""
    _names: Names = field(default_factory=dict)

    @classmethod
    def of(
        cls, encoding: Encoding, windows: Windows, tokens: Sequence[ScoredToken]
    ) -> Reading:
        """One that is about to begin."""
        ids = encoding.ids
        parts = [Part(first, end) for _, end, first in windows.over(len(ids))]
        return cls(
            encoding.prefix, ids, encoding.spans, windows, Roads(tokens), unread=parts
        )

    @property
    def encoding(self) -> Encoding:
        """How the text was cut."""
        return Encoding(self.ids, self.spans, self.before)

    @property
    def scored(self) -> int:
        """How many of its tokens are in parts that were read."""
        return len(self.ids) - sum(part.end - part.first for part in self.unread)

    @property
    def is_read(self) -> bool:
        """Whether all of the text was."""
        return not self.unread

    @property
    def text(self) -> tuple[ScoredToken, ...]:
        """The tokens of the text itself."""
        path = self.roads.path(ROOT)
        return tuple(as_scored(token, place) for place, token in enumerate(path))

    def next_part(self, place: int) -> Part:
        """What to read next: what holds a place, else the next behind it, else the
        first."""
        behind = (part for part in self.unread if part.end > place)
        return next(behind, self.unread[0])

    def take(self, tokens: Sequence[ScoredToken]) -> None:
        """Keep the numbers of some tokens of the text."""
        self.roads.rescore([packed(token, self._names) for token in tokens])

    def totals_so_far(self) -> Totals:
        """Those of all tokens with numbers, also of a part that is being read."""
        totals = deepcopy(self.totals)  # they grow
        path = self.roads.path(ROOT)
        for part in self.unread:
            for place in range(part.first, part.end):
                if path[place].logprob is not None:
                    totals.add(as_scored(path[place], place))
        return totals

    def finish(self, tokens: Sequence[ScoredToken]) -> None:
        """All tokens of a part were taken, and are these."""
        if not tokens:
            return
        part = Part(tokens[0].index, tokens[-1].index + 1)
        if part in self.unread:
            self.unread.remove(part)
            for token in tokens:
                self.totals.add(token)
