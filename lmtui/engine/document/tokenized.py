"""Incremental tokenisation of a text that is being edited.

Invariant: after any edit, the tokens are those of the whole text. Only the part from
the last safe boundary before the change to where old and new tokens meet is read. Knows
the tokenizer only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lmtui.engine.text.common_prefix import common_prefix_len
from lmtui.engine.text.text_diff import changed
from lmtui.engine.text.tokenizer import TextTokenizer, TokenizedText

_AFTER = 256  # code points read after a change, in which the tokens usually meet again
_WIDENING = 8
_TYPED = 16  # most tokens of a piece that is being typed


@dataclass(frozen=True, slots=True)
class Splice:
    """Effect of an edit on the tokens: at index `first`, `removed` tokens became
    `added`."""

    first: int
    removed: int
    added: int


@dataclass(frozen=True, slots=True)
class Before:
    """Tokens of the text before a cursor: whole pieces, and the piece being typed."""

    ids: tuple[int, ...]
    """Tokens of whole pieces, after the first `shared` tokens of the document."""
    shared: int
    """Number of the document's first tokens that precede them."""
    typed_ids: tuple[int, ...]
    """Tokens of the last piece, read without the text after the cursor."""
    start: int
    """Where that piece begins, as an offset in code points."""


class TokenizedDocument:
    """Tokens of one text, updated after each edit."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self.text = ""
        self._ids = torch.empty(0, dtype=torch.int64)  # [T], like the three below
        self._starts = torch.empty(0, dtype=torch.int64)
        self._ends = torch.empty(0, dtype=torch.int64)
        self._opens = torch.empty(0, dtype=torch.bool)

    def __len__(self) -> int:
        return self._ids.numel()

    def ids(self, first: int = 0, last: int | None = None) -> list[int]:
        """Return the tokens from index `first` up to `last`."""
        ids: list[int] = self._ids[first:last].tolist()
        return ids

    def spans(self, first: int = 0, last: int | None = None) -> list[tuple[int, int]]:
        """Return start and end of the same tokens, in code points."""
        part = slice(first, last)
        starts, ends = self._starts[part].tolist(), self._ends[part].tolist()
        return list(zip(starts, ends, strict=True))

    def index_at(self, position: int) -> int:
        """Return the index of the first token that ends after `position` (code points);
        the number of tokens if there is none."""
        return int(torch.searchsorted(self._ends, position, right=True))

    def between(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of tokens that overlap [`start`, `end`), in code points."""
        first = self.index_at(start)
        return first, max(first, int(torch.searchsorted(self._starts, end)))

    def update(self, text: str) -> Splice:
        """Set the text after an edit; return the change of the tokens."""
        # 1) find the changed part, and read from the last safe boundary before it
        first, old_end, new_end = changed(self.text, text)
        if first == old_end == new_end:
            return Splice(len(self), 0, 0)
        grown = len(text) - len(self.text)
        kept, start = self._safe_before(first)
        # 2) read on until the new tokens meet the old ones
        end = min(len(text), new_end + _AFTER)
        while True:
            read = self.read(text, start, end)
            meeting = self._resync_index(text, read, grown, new_end, end)
            if meeting or end == len(text):
                break
            end = min(len(text), new_end + (end - new_end) * _WIDENING)
        # 3) replace the tokens in between
        count, again = meeting or (len(read.ids), len(self))
        old, new = self.ids(kept, again), read.ids[:count]
        self._splice(kept, again, read, count, grown)
        self.text = text
        same = common_prefix_len(old, new)
        tail = common_prefix_len(old[same:][::-1], new[same:][::-1])
        return Splice(kept + same, len(old) - same - tail, len(new) - same - tail)

    def before(self, cursor: int) -> Before:
        """Return the tokens of the text before `cursor`, read without what follows."""
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
        """Return the index in `read` at which its last piece begins; for a very long
        piece, one of its last tokens."""
        whole = 0
        for index in range(len(read.ids) - 1, -1, -1):
            if len(read.ids) - index > _TYPED and whole:
                return whole
            offset = read.spans[index][0]
            if index and read.spans[index - 1][1] > offset:
                continue
            whole = index
            if self._begins_piece(read, index, cursor):
                return index
        return 0

    def _begins_piece(self, read: TokenizedText, index: int, cursor: int) -> bool:
        if self._tokenizer.cuts:
            return read.opens[index]
        offset = read.spans[index][0]
        within = 0 < offset < cursor
        return within and self._tokenizer.safe(self.text, offset, opens=False)

    def _safe_before(self, position: int) -> tuple[int, int]:
        """Return index and start of the last token such that all tokens before it stay
        the same, whatever changes from `position` on."""
        left = self._tokenizer.margin
        for at in range(position - max(1, self._tokenizer.reach), 0, -1):
            index = self._safe_at(at)
            if index is None:
                continue
            if left == 0 and self._tokenizer.begins_alone(self.text, at):
                return index, at
            left = max(0, left - 1)
        return 0, 0

    def _safe_at(self, position: int) -> int | None:
        """Return the token that begins at `position`, if the boundary before it is
        safe."""
        if not 0 < position < len(self.text):
            return None
        if not (self.text[position] == " " or self.text[position - 1] == "\n"):
            return None
        index = int(torch.searchsorted(self._starts, position))
        if index in (0, len(self)) or int(self._starts[index]) != position:
            return None
        opens = bool(self._opens[index])
        if int(self._ends[index - 1]) > position:
            return None
        return index if self._tokenizer.safe(self.text, position, opens=opens) else None

    def read(self, text: str, start: int, end: int) -> TokenizedText:
        """Return the tokens of `text` from the safe boundary `start` to `end`."""
        return self._tokenizer.read_from(text, start, end)

    def _resync_index(
        self, text: str, read: TokenizedText, grown: int, changed: int, end: int
    ) -> tuple[int, int] | None:
        """Return the first new token from which on all tokens are as before, and the
        old one there.

        The last few boundaries do not count unless the text ends there: what is after
        `end` was not read.
        """
        met: list[tuple[int, int]] = []
        more = 0 if end == len(text) else self._tokenizer.margin + 1
        for index, (offset, _) in enumerate(read.spans):
            if offset <= changed or offset >= len(text) or index == 0:
                continue
            if end < len(text) and offset > end - self._tokenizer.reach - 1:
                break
            if read.spans[index - 1][1] > offset:
                continue
            if not self._tokenizer.safe(text, offset, opens=read.opens[index]):
                continue
            old = self._safe_at(offset - grown)
            if old is not None:
                met.append((index, old))
            if len(met) > more:
                return met[0]
        return met[0] if met and more == 0 else None

    def _splice(
        self, prefix_len: int, again: int, read: TokenizedText, count: int, grown: int
    ) -> None:
        """Replace the tokens from `prefix_len` up to `again` by the first `count` of
        `read`; those after them move by `grown` code points."""
        starts = torch.tensor(
            [start for start, _ in read.spans[:count]], dtype=torch.int64
        )
        ends = torch.tensor([end for _, end in read.spans[:count]], dtype=torch.int64)
        ids = torch.tensor(read.ids[:count], dtype=torch.int64)
        opens = torch.tensor(read.opens[:count], dtype=torch.bool)

        def spliced(old: Tensor, new: Tensor, moved: int = 0) -> Tensor:
            return torch.cat(
                [old[:prefix_len], new, old[again:] + moved if moved else old[again:]]
            )

        self._ids = spliced(self._ids, ids)
        self._starts = spliced(self._starts, starts, grown)
        self._ends = spliced(self._ends, ends, grown)
        self._opens = spliced(self._opens, opens)
