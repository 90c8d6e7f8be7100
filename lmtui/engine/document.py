"""A text that is being edited, and its tokens.

Owns that after any edit the tokens are those of the whole text read anew, at the cost
of reading little more than what changed: from the last safe boundary before the
change to where the old tokens and the new ones meet again. Knows the tokenizer only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmtui.engine.tokenizer import TextTokenizer, TokenizedText

_AFTER = 256  # code points read behind a change before the tokens should meet again
_WIDENING = 8
_TYPED = 16  # most tokens of a piece that is being typed


@dataclass(frozen=True, slots=True)
class Splice:
    """What an edit did to the tokens: at `first`, `removed` gave way to `added`."""

    first: int
    removed: int
    added: int


@dataclass(frozen=True, slots=True)
class Before:
    """The text before a cursor: whole pieces, and the one that is being typed."""

    ids: tuple[int, ...]
    """The tokens of the whole pieces that the document shares with this reading are
    its first `shared`; these come after them."""
    shared: int
    typed_ids: tuple[int, ...]
    """The tokens of the last piece, as the tokenizer reads what is typed of it."""
    start: int
    """Where that piece begins, in code points."""


class TokenizedDocument:
    """The tokens of one text while it changes."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self.text = ""
        self._ids = torch.empty(0, dtype=torch.int64)  # [T], as the three below
        self._starts = torch.empty(0, dtype=torch.int64)
        self._ends = torch.empty(0, dtype=torch.int64)
        self._opens = torch.empty(0, dtype=torch.bool)

    def __len__(self) -> int:
        return self._ids.numel()

    def ids(self, first: int = 0, last: int | None = None) -> list[int]:
        """The tokens from index `first` up to `last`."""
        ids: list[int] = self._ids[first:last].tolist()
        return ids

    def spans(self, first: int = 0, last: int | None = None) -> list[tuple[int, int]]:
        """Start and end in code points of the same tokens."""
        part = slice(first, last)
        starts, ends = self._starts[part].tolist(), self._ends[part].tolist()
        return list(zip(starts, ends, strict=True))

    def index_at(self, place: int) -> int:
        """The first token that ends behind `place` (code points); their number where
        there is none."""
        return int(torch.searchsorted(self._ends, place, right=True))

    def between(self, start: int, end: int) -> tuple[int, int]:
        """The tokens that overlap [`start`, `end`): the first, and the first behind."""
        first = self.index_at(start)
        return first, max(first, int(torch.searchsorted(self._starts, end)))

    def update(self, text: str) -> Splice:
        """Take the text after an edit."""
        first, old_end, new_end = _changed(self.text, text)
        if first == old_end == new_end:
            return Splice(len(self), 0, 0)
        grown = len(text) - len(self.text)
        kept, start = self._safe_before(first)
        end = min(len(text), new_end + _AFTER)
        while True:
            read = self.read(text, start, end)
            meeting = self._meeting(text, read, grown, new_end, end)
            if meeting or end == len(text):
                break
            end = min(len(text), new_end + (end - new_end) * _WIDENING)
        count, again = meeting or (len(read.ids), len(self))
        old, new = self.ids(kept, again), read.ids[:count]
        self._splice(kept, again, read, count, grown)
        self.text = text
        same = _alike(old, new)
        tail = _alike(old[same:][::-1], new[same:][::-1])
        return Splice(kept + same, len(old) - same - tail, len(new) - same - tail)

    def before(self, cursor: int) -> Before:
        """The tokens of the text before `cursor` alone, whatever follows it."""
        shared, start = self._safe_before(cursor)
        read = self.read(self.text[:cursor], start, cursor)
        typed = self._typed(read, cursor)
        return Before(
            ids=tuple(read.ids[:typed]),
            shared=shared,
            typed_ids=tuple(read.ids[typed:]),
            start=read.spans[typed][0] if read.ids else cursor,
        )

    def _typed(self, read: TokenizedText, cursor: int) -> int:
        """The token of `read` with which its last piece begins, or the last few tokens
        of an endless one."""
        whole = 0
        for index in range(len(read.ids) - 1, -1, -1):
            if len(read.ids) - index > _TYPED and whole:
                return whole
            place = read.spans[index][0]
            if index and read.spans[index - 1][1] > place:
                continue
            whole = index
            if self._begins_piece(read, index, cursor):
                return index
        return 0

    def _begins_piece(self, read: TokenizedText, index: int, cursor: int) -> bool:
        """Whether a piece begins with this token."""
        if self._tokenizer.cuts:
            return read.opens[index]
        place = read.spans[index][0]
        within = 0 < place < cursor
        return within and self._tokenizer.safe(self.text, place, opens=False)

    def _safe_before(self, place: int) -> tuple[int, int]:
        """The last token, and its start, such that what is before it stays as it is
        whatever happens from `place` on."""
        left = self._tokenizer.margin
        for at in range(place - max(1, self._tokenizer.reach), 0, -1):
            index = self._safe_at(at)
            if index is None:
                continue
            if left == 0 and self._tokenizer.begins_alone(self.text, at):
                return index, at
            left = max(0, left - 1)
        return 0, 0

    def _safe_at(self, place: int) -> int | None:
        """The token that begins at `place`, if the boundary before it is safe."""
        if not 0 < place < len(self.text):
            return None
        if not (self.text[place] == " " or self.text[place - 1] == "\n"):
            return None
        index = int(torch.searchsorted(self._starts, place))
        if index in (0, len(self)) or int(self._starts[index]) != place:
            return None
        opens = bool(self._opens[index])
        if int(self._ends[index - 1]) > place:
            return None
        return index if self._tokenizer.safe(self.text, place, opens=opens) else None

    def read(self, text: str, start: int, end: int) -> TokenizedText:
        """The tokens of `text` from the safe boundary `start`."""
        return self._tokenizer.read_from(text, start, end)

    def _meeting(
        self, text: str, read: TokenizedText, grown: int, changed: int, end: int
    ) -> tuple[int, int] | None:
        """The first new token from which on all is as it was, and the old one there.

        None of the last few boundaries counts, unless the text ends with them: what
        is behind `end` was not read.
        """
        met: list[tuple[int, int]] = []
        more = 0 if end == len(text) else self._tokenizer.margin + 1
        for index, (place, _) in enumerate(read.spans):
            if place <= changed or place >= len(text) or index == 0:
                continue
            if end < len(text) and place > end - self._tokenizer.reach - 1:
                break
            if read.spans[index - 1][1] > place:
                continue
            if not self._tokenizer.safe(text, place, opens=read.opens[index]):
                continue
            old = self._safe_at(place - grown)
            if old is not None:
                met.append((index, old))
            if len(met) > more:
                return met[0]
        return met[0] if met and more == 0 else None

    def _splice(
        self, kept: int, again: int, read: TokenizedText, count: int, grown: int
    ) -> None:
        """Put the first `count` tokens of `read` in place of those from `kept` up to
        `again`; what is behind them moved by `grown` code points."""
        starts = torch.tensor(
            [start for start, _ in read.spans[:count]], dtype=torch.int64
        )
        ends = torch.tensor([end for _, end in read.spans[:count]], dtype=torch.int64)
        ids = torch.tensor(read.ids[:count], dtype=torch.int64)
        opens = torch.tensor(read.opens[:count], dtype=torch.bool)

        def spliced(old: Tensor, new: Tensor, moved: int = 0) -> Tensor:
            return torch.cat(
                [old[:kept], new, old[again:] + moved if moved else old[again:]]
            )

        self._ids = spliced(self._ids, ids)
        self._starts = spliced(self._starts, starts, grown)
        self._ends = spliced(self._ends, ends, grown)
        self._opens = spliced(self._opens, opens)


def _alike(old: Sequence[int], new: Sequence[int]) -> int:
    """With how many equal tokens both begin."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(old), len(new)))


def _changed(old: str, new: str) -> tuple[int, int, int]:
    """Where two texts begin to differ, and where in each they stop to."""
    shorter = min(len(old), len(new))
    first = _shared(shorter, lambda a, b: old[a:b] == new[a:b])
    tail = _shared(
        shorter - first,
        lambda a, b: (
            old[len(old) - b : len(old) - a] == new[len(new) - b : len(new) - a]
        ),
    )
    return first, len(old) - tail, len(new) - tail


def _shared(most: int, same: Callable[[int, int], bool]) -> int:
    """The length, at most `most`, up to which `same` holds of every part; each place
    is looked at about once."""
    sure, limit = 0, most
    while sure < limit:
        middle = (sure + limit + 1) // 2
        if same(sure, middle):
            sure = middle
        else:
            limit = middle - 1
    return sure
