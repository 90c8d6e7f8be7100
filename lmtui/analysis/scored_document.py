"""A text as one model reads it: cut into tokens at once, scored part by part.

Owns which parts are still to be read, and that the numbers are those of the whole text
whatever part is read first: a part is what one window scores. Knows no engine and no
screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from struct import Struct
from typing import overload

from lmtui.analysis.branches import ROOT, BranchTree, as_scored
from lmtui.analysis.summary import Totals
from lmtui.engine.types import Candidate, Encoding, ScoredToken
from lmtui.engine.windows import Windows

Names = dict[int, tuple[str, bytes]]
"""What each token that was ever listed says, by its id."""

_ROW = Struct("=id")  # its id and its logprob


class KeptRows(Sequence[Candidate]):
    """The rows of one token; none was drawn from, so none was cut."""

    __slots__ = ("_data", "_names")

    def __init__(self, rows: Sequence[Candidate], names: Names) -> None:
        self._data = b"".join(_ROW.pack(row.id, row.logprob) for row in rows)
        self._names = names
        for row in rows:
            names.setdefault(row.id, (row.text, row.bytes))

    def __len__(self) -> int:
        return len(self._data) // _ROW.size

    @overload
    def __getitem__(self, place: int) -> Candidate: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, place: int | slice) -> Candidate | tuple[Candidate, ...]:
        places = range(len(self))[place]
        if isinstance(places, range):
            return tuple(map(self._row, places))
        return self._row(places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self._data)

    def _row(self, place: int) -> Candidate:
        id_, logprob = _ROW.unpack_from(self._data, place * _ROW.size)
        return Candidate(id_, *self._names[id_], logprob)


def packed(token: ScoredToken, names: Names) -> ScoredToken:
    """A token whose rows take little memory."""
    return replace(token, top=KeptRows(token.top, names))


MOST = 20
"""How many of the most surprising tokens, and of the changes, are listed."""


@dataclass(frozen=True, slots=True)
class WindowPart:
    """The tokens from `first` to before `end`."""

    first: int
    end: int


@dataclass
class ScoredDocument:
    """A text as one model reads it."""

    before: tuple[int, ...] = ()
    """Ids before its tokens."""
    ids: tuple[int, ...] = ()
    """Its own."""
    spans: tuple[tuple[int, int], ...] = ()
    windows: Windows | None = None
    roads: BranchTree = field(default_factory=BranchTree)
    road: int = ROOT
    """The one that is shown."""
    unread: list[WindowPart] = field(default_factory=list)
    """In the order of the text."""
    totals: Totals = field(default_factory=lambda: Totals(keep=MOST))
    """Of the parts that were read."""
    _names: Names = field(default_factory=dict)

    @classmethod
    def of(
        cls, encoding: Encoding, windows: Windows, tokens: Sequence[ScoredToken]
    ) -> ScoredDocument:
        """One that is about to begin."""
        ids = encoding.ids
        parts = [WindowPart(first, end) for _, end, first in windows.over(len(ids))]
        return cls(
            encoding.prefix,
            ids,
            encoding.spans,
            windows,
            BranchTree(tokens),
            unread=parts,
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

    def next_part(self, place: int) -> WindowPart:
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
        part = WindowPart(tokens[0].index, tokens[-1].index + 1)
        if part in self.unread:
            self.unread.remove(part)
            for token in tokens:
                self.totals.add(token)
