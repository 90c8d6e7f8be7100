"""Packs the tokens of a message into few bytes, and unpacks them.

`TOKEN_COLUMNS` says what is kept of each token: about nineteen bytes. Alternatives are
not kept: they would take ten times as much, and the model can compute them again. Knows
no store.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from lmtui.engine.types import Distribution, Prompt, ScoredToken, Step
from lmtui.partial import EntropyRange, RankAbove, exact_entropy, exact_rank
from lmtui.text import bytes_text

NO_VALUE = -1
"""The handle of a distribution whose rows were not kept."""

TOKEN_COLUMNS: Mapping[str, tuple[str, Callable[[Any], float | None]]] = {
    "ids": ("I", lambda token: token.id),
    "ranks": ("I", lambda token: exact_rank(token.rank) or 0),
    "sizes": ("I", lambda token: len(token.bytes)),
    "pieces": ("I", lambda token: len(getattr(token, "piece", ""))),
    "logprobs": ("f", lambda token: token.logprob),
    "entropies": ("f", lambda token: exact_entropy(token.entropy)),
    "sampled_probs": ("f", lambda token: getattr(token, "sampled_prob", None)),
    "ranks_above": ("I", lambda token: getattr(token.rank, "listed", 0)),
    "entropies_least": ("f", lambda token: getattr(token.entropy, "least", None)),
    "entropies_most": ("f", lambda token: getattr(token.entropy, "most", None)),
    "forced": ("I", lambda token: getattr(token, "forced", False)),
    "varentropies": ("f", lambda token: token.varentropy),
}
"""Of each column its type, unsigned or float32, and the value of a token: unknown ranks
are 0, other unknown numbers None, stored as NaN. `pieces` are the code points that a
token added to the text."""

_HEAD = struct.Struct("<II")
_LEVEL = 1  # the fastest: most of the data is incompressible
_NAMES = tuple(TOKEN_COLUMNS)
_ALWAYS, BOUNDS, FORCED, BEHIND = (
    _NAMES[:7], _NAMES[7:10], _NAMES[10:11], _NAMES[11:],
)  # fmt: skip
"""Columns that are always there, where a server lists only some tokens, where a grammar
forced a token, and where all probabilities are known: the last are compressed apart,
behind the others, and earlier versions read over them."""
OPTIONAL = (BOUNDS, FORCED, BEHIND)


@dataclass(frozen=True, slots=True)
class EncodedTokens:
    """A message's packed tokens and prompt; empty bytes for none."""

    steps: bytes = b""
    scored: bytes = b""
    prompt: bytes = b""


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """The tokens of a message as columns, by their names in `TOKEN_COLUMNS`."""

    numbers: Mapping[str, array[Any]]
    data: bytes
    """The bytes of all tokens, joined."""

    @classmethod
    def of(cls, tokens: Sequence[Step] | Sequence[ScoredToken]) -> TokenColumns:
        """Return the columns of tokens, without those that are not needed."""
        numbers = {
            name: column(kind, map(value, tokens))
            for name, (kind, value) in TOKEN_COLUMNS.items()
        }
        ranges = any(isinstance(token.entropy, EntropyRange) for token in tokens)
        needed = (
            ranges or any(numbers["ranks_above"]),
            any(numbers["forced"]),
            any(token.varentropy is not None for token in tokens),
        )
        for names, is_needed in zip(OPTIONAL, needed, strict=True):
            if not is_needed:
                for name in names:
                    del numbers[name]
        return cls(numbers, b"".join(token.bytes for token in tokens))

    def spelled(self) -> list[bytes]:
        ends = accumulate(self.numbers["sizes"], initial=0)
        return [self.data[start:end] for start, end in pairwise(ends)]

    def steps(self, text: str) -> tuple[Step, ...]:
        """Return the columns as generated tokens, whose pieces are the end of
        `text`."""
        pieces = self.numbers["pieces"]
        ends = accumulate(pieces, initial=len(text) - sum(pieces))
        texts = [text[start:end] for start, end in pairwise(ends)]
        sampled = map(_known, self.numbers["sampled_probs"])
        forced = self.numbers.get("forced") or [0] * len(pieces)
        columns = zip(self.scored(), texts, sampled, forced, strict=True)
        return tuple(
            Step(
                token.index,
                token.id,
                token.text,
                token.bytes,
                piece,
                token.logprob,
                token.rank,
                token.entropy,
                prob,
                _not_kept(token),
                forced=bool(was_forced),
            )
            for token, piece, prob, was_forced in columns
        )

    def scored(self) -> tuple[ScoredToken, ...]:
        ids = self.numbers["ids"]
        unknown = [math.nan] * len(ids)
        names = ("logprobs", "entropies", "varentropies")
        floats = (map(_known, self.numbers.get(name, unknown)) for name in names)
        columns = zip(ids, self.spelled(), self.numbers["ranks"],
                      *floats, self._bounds(), strict=True)  # fmt: skip
        return tuple(
            ScoredToken(index, id_, bytes_text(data) if data else f"⟨unused {id_}⟩",
                        data, logprob, rank or above,
                        spread or entropy, varentropy=varentropy)
            for index, (id_, data, rank, logprob, entropy, varentropy, (above, spread))
            in enumerate(columns)
        )  # fmt: skip

    def _bounds(self) -> Sequence[tuple[RankAbove | None, EntropyRange | None]]:
        """Return what is known of rank and entropy of each token in place of them."""
        if BOUNDS[0] not in self.numbers:
            return [(None, None)] * len(self.numbers["ids"])
        columns = zip(*(self.numbers[name] for name in BOUNDS), strict=True)
        return [
            (RankAbove(above) if above else None, _range(least, most))
            for above, least, most in columns
        ]

    def packed(self) -> bytes:
        """Return the columns as bytes; empty for no tokens."""
        if not self.numbers["ids"]:
            return b""
        parts = [_HEAD.pack(len(self.numbers["ids"]), len(self.data))]
        parts += [self._joined(_ALWAYS), self.data]
        parts += [self._joined(BOUNDS), self._joined(FORCED)]
        behind = self._joined(BEHIND)
        return zlib.compress(b"".join(parts), _LEVEL) + (
            zlib.compress(behind, _LEVEL) if behind else b""
        )

    def _joined(self, names: Sequence[str]) -> bytes:
        return b"".join(_bytes(self.numbers[n]) for n in names if n in self.numbers)


def column(kind: str, values: Sequence[Any] | map[Any]) -> array[Any]:
    """Return values as a column of a type; None is NaN.

    Raises:
        TypeError, OverflowError: they are not of that type.
    """
    return array(kind, [math.nan if value is None else value for value in values])


def pack(tokens: Sequence[Step] | Sequence[ScoredToken]) -> bytes:
    return TokenColumns.of(tokens).packed()


def unpack(data: bytes) -> TokenColumns:
    """Unpack columns from bytes.

    Raises:
        ValueError: the bytes are not packed columns.
    """
    whole, behind = _decompressed(data)
    if len(whole) < _HEAD.size:
        raise ValueError("cut off")
    count, size = _HEAD.unpack_from(whole)
    start, end = _HEAD.size, _HEAD.size + 4 * count * len(_ALWAYS)
    numbers = _read_columns(whole[start:end], count, _ALWAYS)
    joined, rest = whole[end : end + size], whole[end + size :]
    if len(joined) != size or sum(numbers["sizes"]) != size:
        raise ValueError("bytes of no token")
    # How many more columns there are tells which.
    more = {0: (), 1: FORCED, 3: BOUNDS, 4: (*BOUNDS, *FORCED)}
    names = more.get(len(rest) // (4 * count) if count else 0, BOUNDS)
    numbers |= _read_columns(rest, count, names)
    if behind:
        numbers |= _read_columns(_decompressed(behind)[0], count, BEHIND)
    return TokenColumns(numbers, joined)


def _read_columns(
    data: bytes, count: int, names: Sequence[str]
) -> dict[str, array[Any]]:
    if len(data) != 4 * count * len(names):
        raise ValueError("another length")
    return {
        name: _numbers(TOKEN_COLUMNS[name][0], data[4 * count * index :][: 4 * count])
        for index, name in enumerate(names)
    }


def pack_prompt(prompt: Prompt | None) -> bytes:
    """Pack a prompt into bytes; empty for None."""
    if prompt is None:
        return b""
    strings = (prompt.text, *prompt.stop_texts)
    texts = [text.encode("utf-8", "surrogatepass") for text in strings]
    sizes = [len(prompt.ids), len(texts), *map(len, texts)]
    numbers = _bytes(array("I", [*sizes, *prompt.ids]))
    return zlib.compress(numbers + b"".join(texts), _LEVEL)


def unpack_prompt(data: bytes) -> Prompt:
    """Unpack a prompt from bytes.

    Raises:
        ValueError: the bytes are not a packed prompt.
    """
    whole, _ = _decompressed(data)
    count, texts, *_ = (*_numbers("I", whole[:8]), 0, 0)
    sizes = _numbers("I", whole[8 : 8 + 4 * texts])
    start = 8 + 4 * texts + 4 * count
    if not sizes or len(whole) != start + sum(sizes):
        raise ValueError("another length")
    ids = _numbers("I", whole[8 + 4 * texts : start])
    ends = accumulate(sizes, initial=start)
    text, *stops = (
        whole[at:to].decode("utf-8", "surrogatepass") for at, to in pairwise(ends)
    )
    return Prompt(tuple(ids), text, tuple(stops))


def _decompressed(data: bytes) -> tuple[bytes, bytes]:
    """Return what is packed, and the bytes behind it."""
    stream = zlib.decompressobj()
    try:
        whole = stream.decompress(data)
    except zlib.error as error:
        raise ValueError("not packed") from error
    if not stream.eof:
        raise ValueError("cut off")
    return whole, stream.unused_data


def _bytes(numbers: array[Any]) -> bytes:
    """Return a column as bytes, the lowest of each number first."""
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(kind: str, data: bytes) -> array[Any]:
    numbers: array[Any] = array(kind)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number


def _range(least: float, most: float) -> EntropyRange | None:
    if math.isnan(least):
        return None
    return EntropyRange(least, math.inf if math.isnan(most) else most)


def _not_kept(token: ScoredToken) -> Distribution:
    """Return a distribution of which only entropy and varentropy are known."""
    return Distribution(
        (),
        0,
        0,
        1.0,
        1.0,
        0,
        0.0,
        token.entropy,
        NO_VALUE,
        token.varentropy,
        getattr(token.rank, "listed", None),
    )
