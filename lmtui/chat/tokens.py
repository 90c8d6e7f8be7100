"""The tokens of a message as lists of numbers, and back.

Alternatives are not kept: they would take ten times as much, and the model can compute
them again. Knows no store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lmtui.chat.message import NO_VALUE
from lmtui.engine.types import Distribution, ScoredToken, Step
from lmtui.partial import (
    Entropy,
    EntropyRange,
    Rank,
    RankAbove,
    exact_entropy,
    exact_rank,
)
from lmtui.text import bytes_text


class Record(BaseModel):
    """What is written to a file and read back, field by field and nothing else.

    Reading raises pydantic's `ValidationError`, a `ValueError`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", ser_json_inf_nan="constants")


Whole = Annotated[int, Field(ge=0, lt=2**32)]
Hex = Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]
Floats = list[float | None]


class TokenColumns(Record):
    """A list for each value of the tokens; of floats nine digits are kept."""

    ids: list[Whole] | None
    """None where they are only a server's."""
    bytes: list[Hex]
    ranks: list[Whole]
    """0 where it is not known."""
    pieces: list[Whole]
    """How many code points each added to the text."""
    logprobs: Floats
    entropies: Floats
    sampled_probs: Floats
    # Those that follow are there only where one of the tokens has such a value.
    ranks_above: list[Whole] | None = None
    entropies_least: Floats | None = None
    entropies_most: Floats | None = None
    forced: list[Whole] | None = None
    varentropies: Floats | None = None

    @model_validator(mode="after")
    def _is_even(self) -> TokenColumns:
        columns = [column for _, column in self if column is not None]
        if {len(column) for column in columns} != {len(self.bytes)}:
            raise ValueError("the lists of tokens differ in length")
        return self

    @classmethod
    def of(
        cls, tokens: Sequence[Step] | Sequence[ScoredToken], *, with_ids: bool = True
    ) -> TokenColumns | None:
        """Return the columns of tokens; None without any."""
        if not tokens:
            return None

        def column(name: str, of: str = "", default: Any = None) -> list[Any]:
            holders = [getattr(token, of) for token in tokens] if of else tokens
            return [getattr(holder, name, default) for holder in holders]

        ends = column("most", "entropy")
        values: dict[str, Any] = {
            "ids": column("id") if with_ids else None,
            "bytes": [token.bytes.hex() for token in tokens],
            "ranks": [exact_rank(token.rank) or 0 for token in tokens],
            "pieces": list(map(len, column("piece", default=""))),
            "logprobs": _kept(column("logprob")),
            "entropies": _kept(map(exact_entropy, column("entropy"))),
            "sampled_probs": _kept(column("sampled_prob")),
        }
        optional: dict[str, list[Any]] = {
            "ranks_above": column("listed", "rank", 0),
            "entropies_least": _kept(column("least", "entropy")),
            "entropies_most": _kept(None if e == math.inf else e for e in ends),
            "forced": list(map(int, column("forced", default=False))),
            "varentropies": _kept(column("varentropy")),
        }
        for name, numbers in optional.items():
            if any(number or type(number) is float for number in numbers):
                values[name] = numbers
        return cls.model_construct(**values)

    def scored(self) -> tuple[ScoredToken, ...]:
        count = len(self.bytes)
        unknown = [None] * count
        columns = zip(
            self.ids or [0] * count,
            map(bytes.fromhex, self.bytes),
            self.logprobs,
            map(_rank, self.ranks, self.ranks_above or unknown),
            map(_entropy, self.entropies, self.entropies_least or unknown,
                self.entropies_most or unknown),
            self.varentropies or unknown,
            strict=True,
        )  # fmt: skip
        return tuple(
            ScoredToken(index, id_, bytes_text(data) if data else f"⟨unused {id_}⟩",
                        data, logprob, rank, entropy, varentropy=varentropy)
            for index, (id_, data, logprob, rank, entropy, varentropy)
            in enumerate(columns)
        )  # fmt: skip

    def steps(self, text: str) -> tuple[Step, ...]:
        """Return the columns as generated tokens, whose pieces are the end of
        `text`."""
        ends = accumulate(self.pieces, initial=len(text) - sum(self.pieces))
        pieces = [text[start:end] for start, end in pairwise(ends)]
        forced = self.forced or [0] * len(pieces)
        columns = zip(self.scored(), pieces, self.sampled_probs, forced, strict=True)
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


def _kept(values: Iterable[float | None]) -> Floats:
    return [None if value is None else float(f"{value:.9g}") for value in values]


def _rank(exact: int, above: int | None) -> Rank | None:
    return exact or (RankAbove(above) if above else None)


def _entropy(
    exact: float | None, least: float | None, most: float | None
) -> Entropy | None:
    if least is None:
        return exact
    return EntropyRange(least, math.inf if most is None else most)


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
