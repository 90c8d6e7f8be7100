"""The alternatives at a scored token, kept in a tenth of the memory.

Twenty rows of a token are 2.4 kB as values, which is 800 MB for a text of 1 MB; here
they are 12 bytes a row, and become values again where one looks. Owns that nothing of
them is lost. Knows no engine and no screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from struct import Struct
from typing import overload

from lmtui.engine.types import Candidate, ScoredToken

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
