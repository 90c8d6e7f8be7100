"""Attribution by leaving out: which parts of a text made what follows them likely.

The effect of a unit is log P(target | context) - log P(target | context without it):
above 0 where it made the target likelier, below where it argued against it. That is no
explanation of the network: of two units that say the same, each can have none, since
the other stays. Cohen-Wang and others, "ContextCite", NeurIPS 2024; Liu and others,
"AttriBoT", ICLR 2025. Knows the engine only through its protocol.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lmtui.engine.protocol import Engine
from lmtui.engine.types import Encoding

Unit = Literal["word", "sentence", "line", "token"]
Span = tuple[int, int]

# A unit holds the white space that would be left over without it: a word that before
# it, a sentence or a line that behind it.
_UNITS = {
    "word": re.compile(r"\s*\S+"),
    "sentence": re.compile(
        r"\S.*?(?:[.!?…。！？]+[\"'”’»)\]]*(?=\s)\s+|\n\s*\n|\Z)", re.DOTALL
    ),
    "line": re.compile(r"[^\n]*\S[^\n]*\n*"),
}


@dataclass(frozen=True, slots=True)
class Effect:
    """What a unit of the context did to the target."""

    start: int
    """Offset in code points, as is `end`."""
    end: int
    logprob: float | None
    """log P(target | context without the unit), in nats; None where nothing is left to
    predict it from."""
    effect: float | None
    """What the unit adds to log P(target | context), in nats."""


@dataclass(frozen=True, slots=True)
class Target:
    """Tokens of a text whose probability is asked about."""

    first: int
    """Index of the first token."""
    last: int
    """Index of the last one."""

    @classmethod
    def at(cls, encoding: Encoding, start: int, end: int) -> Target:
        """Return the tokens that the characters from `start` up to `end` are in: at
        least that of the character at `start`."""
        spans, end = encoding.spans, max(end, start + 1)
        inside = [i for i, (a, b) in enumerate(spans) if a < end and start < b]
        return cls(inside[0], inside[-1])


class Attribution:
    """Effects of the units before a target, in one text."""

    def __init__(
        self, engine: Engine, text: str, encoding: Encoding, target: Target
    ) -> None:
        """Read as much of the text before the target as fits the model's context."""
        self._engine, self._text, self._encoding = engine, text, encoding
        ids, self._target = encoding.ids, target
        self._wanted = ids[target.first : target.last + 1]
        room = engine.info.context - len(encoding.prefix) - len(self._wanted)
        self._first = max(0, target.first - max(room, 0))
        """Index of the first token that is read."""
        self.span = encoding.spans[target.first][0], encoding.spans[target.last][1]
        """Start and end of the target, in code points."""
        self.start = encoding.spans[self._first][0]
        """Where the text begins that is read."""
        context = (*encoding.prefix, *ids[self._first : target.first])
        self.logprob = self._after(context)
        """log P(target | context), in nats; None without a context."""
        self.without_all = self._after(encoding.prefix)
        """log P(target) with none of the text before it; None where the model reads
        nothing before a text."""

    def _after(self, context: Sequence[int]) -> float | None:
        return self._engine.target_logprob(context, self._wanted) if context else None

    def units(self, by: Unit) -> list[Span]:
        """Return start and end of each unit that is read before the target, in
        order."""
        if by == "token":
            return list(self._encoding.spans[self._first : self._target.first])
        matches = _UNITS[by].finditer(self._text, self.start, self.span[0])
        return [match.span() for match in matches]

    def effects(self, units: Sequence[Span], *, tokens: bool) -> Iterator[Effect]:
        """Yield the effect of each unit, the last one first, since all before it need
        not be read again. With `tokens`, the tokens in a unit are left out; else its
        text is, and the text around it is tokenized anew."""
        for unit in reversed(units):
            context = self._without_tokens(unit) if tokens else self._without_text(unit)
            logprob = self._after(context)
            known = logprob is not None and self.logprob is not None
            effect = (self.logprob or 0.0) - (logprob or 0.0) if known else None
            yield Effect(*unit, logprob, effect)

    def _without_tokens(self, unit: Span) -> list[int]:
        first, last = self._first, self._target.first
        placed = zip(
            self._encoding.ids[first:last],
            self._encoding.spans[first:last],
            strict=True,
        )
        start, end = unit
        kept = [i for i, (a, b) in placed if not (start <= a and b <= end)]
        return [*self._encoding.prefix, *kept]

    def _without_text(self, unit: Span) -> list[int]:
        """Return the tokens before the target of the text without a unit. They are cut
        where the target begins, so that its own tokens never change."""
        start, end = unit
        before = self._text[self.start : start] + self._text[end : self.span[0]]
        whole = before + self._text[self.span[0] : self.span[1]]
        encoding = self._engine.encode(whole, bos="no")
        for index, (begin, _) in enumerate(encoding.spans):
            if begin >= len(before):
                if begin == len(before):
                    return [*self._encoding.prefix, *encoding.ids[:index]]
                break
        ids = self._engine.encode(before, bos="no").ids
        return [*self._encoding.prefix, *ids]
