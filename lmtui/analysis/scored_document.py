"""A document that is tokenised at once and scored part by part.

A part is what one window scores, so the scores don't depend on the order of the parts.
Knows no engine and no screen.
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
"""Text and bytes of every token that was listed as an alternative, by its id."""

_ROW = Struct("=id")  # id and logprob

MOST = 10
"""Length of the list of the most surprising tokens."""


class PackedRows(Sequence[Candidate]):
    """The alternatives of one token, packed into bytes.

    Unpacked rows have only an id, text, bytes and a logprob.
    """

    __slots__ = ("_data", "_names")

    def __init__(self, rows: Sequence[Candidate], names: Names) -> None:
        self._data = b"".join(_ROW.pack(row.id, row.logprob) for row in rows)
        self._names = names
        for row in rows:
            names.setdefault(row.id, (row.text, row.bytes))

    def __len__(self) -> int:
        return len(self._data) // _ROW.size

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        indexes = range(len(self))[index]
        if isinstance(indexes, range):
            return tuple(map(self._row, indexes))
        return self._row(indexes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self._data)

    def _row(self, index: int) -> Candidate:
        id_, logprob = _ROW.unpack_from(self._data, index * _ROW.size)
        return Candidate(id_, *self._names[id_], logprob)


def packed(token: ScoredToken, names: Names) -> ScoredToken:
    """Return a token whose alternatives take little memory."""
    return replace(token, top=PackedRows(token.top, names))


@dataclass(frozen=True, slots=True)
class WindowPart:
    """The tokens from `first` to before `end`, scored by one window."""

    first: int
    end: int


@dataclass
class ScoredDocument:
    """A document's tokens, branches and totals, with the parts still to score."""

    before: tuple[int, ...] = ()
    """Ids before the text's tokens (the prefix, such as BOS)."""
    ids: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    windows: Windows | None = None
    branches: BranchTree = field(default_factory=BranchTree)
    branch: int = ROOT
    """Id of the branch that is shown."""
    unread: list[WindowPart] = field(default_factory=list)
    """Parts that are not scored yet, in the order of the text."""
    totals: Totals = field(default_factory=lambda: Totals(limit=MOST))
    _names: Names = field(default_factory=dict)

    @classmethod
    def of(
        cls, encoding: Encoding, windows: Windows, tokens: Sequence[ScoredToken]
    ) -> ScoredDocument:
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
        return Encoding(self.ids, self.spans, self.before)

    @property
    def scored(self) -> int:
        """How many tokens are in scored parts."""
        return len(self.ids) - sum(part.end - part.first for part in self.unread)

    @property
    def is_read(self) -> bool:
        return not self.unread

    @property
    def text(self) -> tuple[ScoredToken, ...]:
        """The tokens of the text itself, the root branch."""
        path = self.branches.path(ROOT)
        return tuple(as_scored(token, index) for index, token in enumerate(path))

    def next_part(self, index: int) -> WindowPart:
        """Return the part to score next.

        It is the one at a position, else the next after it, else the first.
        """
        behind = (part for part in self.unread if part.end > index)
        return next(behind, self.unread[0])

    def take(self, tokens: Sequence[ScoredToken]) -> None:
        self.branches.rescore([packed(token, self._names) for token in tokens])

    def totals_so_far(self) -> Totals:
        """Return the totals of all scored tokens, those of a part in progress
        included."""
        totals = deepcopy(self.totals)  # `add` changes them
        path = self.branches.path(ROOT)
        for part in self.unread:
            for index in range(part.first, part.end):
                if path[index].logprob is not None:
                    totals.add(as_scored(path[index], index))
        return totals

    def finish(self, tokens: Sequence[ScoredToken]) -> None:
        """Mark the part that has exactly these tokens as scored."""
        if not tokens:
            return
        part = WindowPart(tokens[0].index, tokens[-1].index + 1)
        if part in self.unread:
            self.unread.remove(part)
            for token in tokens:
                self.totals.add(token)
