"""Packs the tokens of a message into few bytes, and unpacks them.

Kept of each token are id, bytes, length of its text, rank, and float32 logprob, entropy
and sampled probability: about fifteen bytes. Where a server lists only some tokens,
bounds of ranks and entropies follow; where a grammar forced tokens, which ones.
Alternatives are not kept: they would take ten
times as much, and the model can compute them again. Knows no store.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from lmtui.engine.types import Distribution, Prompt, ScoredToken, Step
from lmtui.text import bytes_text

NO_VALUE = -1
"""The handle of a distribution whose rows were not kept."""

_COUNTS = ("ids", "ranks", "sizes", "pieces")
_NUMBERS = ("logprobs", "entropies", "sampled_probs")
BOUNDS = ("ranks_above", "entropies_least", "entropies_most")
"""Columns that are there only where a server lists some tokens."""
FORCED = "forced"
"""Column that is there only where a grammar forced a token."""
_MORE = {0: (), 1: (FORCED,), 3: BOUNDS, 4: (*BOUNDS, FORCED)}
_HEAD = struct.Struct("<II")
_LEVEL = 1  # the fastest: most of the data is incompressible


_Bounds = tuple[int | None, tuple[float, float] | None]


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """The tokens of a message as columns. Unknown numbers are NaN, unknown ranks 0."""

    ids: Sequence[int]
    ranks: Sequence[int]
    sizes: Sequence[int]
    """Length of each token in bytes."""
    pieces: Sequence[int]
    """Code points that each token added to the text."""
    logprobs: Sequence[float]
    entropies: Sequence[float]
    sampled_probs: Sequence[float]
    data: bytes
    """The bytes of all tokens, joined."""
    ranks_above: Sequence[int] = ()
    """Numbers that the ranks are greater than, 0 for none; it and the two below are
    empty where a server lists the whole vocabulary."""
    entropies_least: Sequence[float] = ()
    entropies_most: Sequence[float] = ()
    """Greatest entropies; infinite, or NaN, where nothing is the greatest."""
    forced: Sequence[int] = ()
    """1 for a token that the grammar forced, else 0; empty where there is none."""

    def spelled(self) -> list[bytes]:
        """Return the bytes of each token."""
        ends = accumulate(self.sizes, initial=0)
        return [self.data[start:end] for start, end in pairwise(ends)]

    def steps(self, text: str) -> tuple[Step, ...]:
        """Return the columns as generated tokens, whose pieces are the end of
        `text`."""
        start = len(text) - sum(self.pieces)
        places = pairwise(accumulate(self.pieces, initial=start))
        rows = zip(self.ids, self.spelled(), places, self.logprobs, self.ranks,
                   self.entropies, self.sampled_probs, self._bounds(),
                   self.forced or [0] * len(self.ids), strict=True)  # fmt: skip
        return tuple(
            Step(index, id_, _shown(id_, data), data, text[at:to], _known(logprob),
                 rank or None, _known(entropy), _known(sampled),
                 _not_kept(_known(entropy), *bounds), forced=bool(forced))
            for index, (id_, data, (at, to), logprob, rank, entropy, sampled, bounds,
                        forced)
            in enumerate(rows)
        )  # fmt: skip

    def scored(self) -> tuple[ScoredToken, ...]:
        """Return the columns as scored tokens."""
        rows = zip(self.ids, self.spelled(), self.logprobs, self.ranks,
                   self.entropies, self._bounds(), strict=True)  # fmt: skip
        return tuple(
            ScoredToken(index, id_, _shown(id_, data), data, _known(logprob),
                        rank or None, _known(entropy), (), *bounds)
            for index, (id_, data, logprob, rank, entropy, bounds) in enumerate(rows)
        )  # fmt: skip

    def _bounds(self) -> Sequence[_Bounds]:
        """Return `rank_above` and `entropy_range` of each token."""
        if not self.ranks_above:
            return [(None, None)] * len(self.ids)
        columns = zip(
            self.ranks_above, self.entropies_least, self.entropies_most, strict=True
        )
        return [(above or None, _range(least, most)) for above, least, most in columns]


@dataclass(frozen=True, slots=True)
class EncodedTokens:
    """A message's packed tokens and prompt; empty bytes for none."""

    steps: bytes = b""
    scored: bytes = b""
    prompt: bytes = b""


def columns(tokens: Sequence[Step] | Sequence[ScoredToken]) -> TokenColumns:
    nan = math.nan
    drawn = [token for token in tokens if isinstance(token, Step)]
    forced = [int(step.forced) for step in drawn]
    return TokenColumns(
        ids=[token.id for token in tokens],
        ranks=[token.rank or 0 for token in tokens],
        sizes=[len(token.bytes) for token in tokens],
        pieces=[len(step.piece) for step in drawn] or [0] * len(tokens),
        logprobs=[nan if t.logprob is None else t.logprob for t in tokens],
        entropies=[nan if t.entropy is None else t.entropy for t in tokens],
        sampled_probs=[nan if s.sampled_prob is None else s.sampled_prob for s in drawn]
        or [nan] * len(tokens),
        data=b"".join(token.bytes for token in tokens),
        **_bound_columns(tokens),
        forced=forced if any(forced) else (),
    )


def _bound_columns(
    tokens: Sequence[Step] | Sequence[ScoredToken],
) -> dict[str, Sequence[Any]]:
    above = [token.rank_above or 0 for token in tokens]
    ranges = [token.entropy_range for token in tokens]
    if not any(above) and not any(ranges):
        return {}
    least, most = zip(*(each or (math.nan, math.nan) for each in ranges), strict=True)
    return dict(zip(BOUNDS, (above, least, most), strict=True))


def pack(tokens: Sequence[Step] | Sequence[ScoredToken]) -> bytes:
    """Pack tokens into bytes; empty for no tokens."""
    return pack_columns(columns(tokens)) if tokens else b""


def pack_columns(columns: TokenColumns) -> bytes:
    parts = [_HEAD.pack(len(columns.ids), len(columns.data))]
    parts += [_little(array("I", getattr(columns, name))) for name in _COUNTS]
    parts += [_little(array("f", getattr(columns, name))) for name in _NUMBERS]
    parts.append(columns.data)
    more = (
        *(BOUNDS if columns.ranks_above else ()),
        *((FORCED,) if columns.forced else ()),
    )
    parts += [_little(array(_kind(name), getattr(columns, name))) for name in more]
    return zlib.compress(b"".join(parts), _LEVEL)


def unpack(data: bytes) -> TokenColumns:
    """Unpack columns from bytes.

    Raises:
        ValueError: the bytes are not packed columns.
    """
    whole = _whole(data)
    if len(whole) < _HEAD.size:
        raise ValueError("cut off")
    count, size = _HEAD.unpack_from(whole)
    names = (*_COUNTS, *_NUMBERS)
    start, end = _HEAD.size, _HEAD.size + 4 * count * len(names)
    found = _read_columns(whole[start:end], count, names)
    data, rest = whole[end : end + size], whole[end + size :]
    if len(data) != size or sum(found["sizes"]) != size:
        raise ValueError("bytes of no token")
    # How many more columns there are tells which.
    more = _MORE.get(len(rest) // (4 * count) if count else 0, BOUNDS)
    return TokenColumns(**found, data=data, **_read_columns(rest, count, more))


def _read_columns(data: bytes, count: int, names: Sequence[str]) -> dict[str, Any]:
    if len(data) != 4 * count * len(names):
        raise ValueError("another length")
    parts = (data[4 * count * place :][: 4 * count] for place in range(len(names)))
    return {
        name: _from_little(_kind(name), part)
        for name, part in zip(names, parts, strict=True)
    }


def _kind(name: str) -> str:
    return "I" if name in (*_COUNTS, BOUNDS[0], FORCED) else "f"


def pack_prompt(prompt: Prompt | None) -> bytes:
    """Pack a prompt into bytes; empty for None."""
    if prompt is None:
        return b""
    said = (prompt.text, *prompt.stop_texts)
    texts = [text.encode("utf-8", "surrogatepass") for text in said]
    sizes = [len(prompt.ids), len(texts), *map(len, texts)]
    numbers = _little(array("I", [*sizes, *prompt.ids]))
    return zlib.compress(numbers + b"".join(texts), _LEVEL)


def unpack_prompt(data: bytes) -> Prompt:
    """Unpack a prompt from bytes.

    Raises:
        ValueError: the bytes are not a packed prompt.
    """
    whole = _whole(data)
    count, texts, *_ = (*_from_little("I", whole[:8]), 0, 0)
    sizes = _from_little("I", whole[8 : 8 + 4 * texts])
    start = 8 + 4 * texts + 4 * count
    if not sizes or len(whole) != start + sum(sizes):
        raise ValueError("another length")
    ids = _from_little("I", whole[8 + 4 * texts : start])
    ends = accumulate(sizes, initial=start)
    text, *stops = (
        whole[at:to].decode("utf-8", "surrogatepass") for at, to in pairwise(ends)
    )
    return Prompt(tuple(ids), text, tuple(stops))


def _whole(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise ValueError("not packed") from error


def _little(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _from_little(kind: str, data: bytes) -> array[Any]:
    numbers: array[Any] = array(kind)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _shown(id_: int, data: bytes) -> str:
    return bytes_text(data) if data else f"⟨unused {id_}⟩"


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number


def _range(least: float, most: float) -> tuple[float, float] | None:
    if math.isnan(least):
        return None
    return least, math.inf if math.isnan(most) else most


def _not_kept(
    entropy: float | None,
    listed: int | None,
    entropy_range: tuple[float, float] | None,
) -> Distribution:
    return Distribution(
        (), 0, 0, 1.0, 1.0, 0, 0.0, entropy, NO_VALUE, listed, entropy_range
    )
