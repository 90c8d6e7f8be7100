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
from functools import cached_property
from typing import Literal

from lmtui.engine.protocol import Engine
from lmtui.engine.types import Encoding
from lmtui.errors import LmtuiError
from lmtui.notation import LN2

Granularity = Literal["word", "sentence", "line", "token"]
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
    text: str
    logprob_without: float | None
    """log P(target | context without the unit), in nats; None where nothing is left to
    predict it from."""
    bits: float | None
    """What the unit adds to log P(target | context), in bits."""


class Attribution:
    """Effects of the units before a target, in one text."""

    def __init__(
        self, engine: Engine, text: str, encoding: Encoding, start: int, end: int
    ) -> None:
        """The target are the tokens that the characters from `start` up to `end` are
        in. As much of the text before it is read as fits the model's context.

        Raises:
            LmtuiError: no token has these characters.
        """
        self._engine, self._text, self._encoding = engine, text, encoding
        spans = encoding.spans
        inside = [i for i, (a, b) in enumerate(spans) if a < end and start < b]
        if not inside:
            raise LmtuiError("there is no token", "", "Name another place.")
        self._target = slice(inside[0], inside[-1] + 1)
        self._wanted = encoding.ids[self._target]
        room = engine.info.context - len(encoding.prefix) - len(self._wanted)
        self._context = slice(max(0, inside[0] - max(room, 0)), inside[0])
        self.span = spans[inside[0]][0], spans[inside[-1]][1]
        """Start and end of the target, in code points."""
        self._start = spans[self._context.start][0]

    @cached_property
    def logprob(self) -> float | None:
        """log P(target | context), in nats; None without a context."""
        return self._after(self._encoding.ids[self._context])

    @cached_property
    def logprob_without_all(self) -> float | None:
        """log P(target) with none of the text before it, in nats; None where the model
        reads nothing before a text."""
        return self._after(())

    def _after(self, ids: Sequence[int]) -> float | None:
        context = [*self._encoding.prefix, *ids]
        return self._engine.target_logprob(context, self._wanted) if context else None

    def units(self, by: Granularity) -> list[Span]:
        """Return start and end of each unit that is read before the target, in
        order."""
        if by == "token":
            return list(self._encoding.spans[self._context])
        matches = _UNITS[by].finditer(self._text, self._start, self.span[0])
        return [match.span() for match in matches]

    def effects(self, by: Granularity) -> Iterator[Effect]:
        """Yield the effect of each unit, the last one first, since all before it need
        not be read again. A token is left out as it is; of other units the text is, and
        the text around it is tokenized anew."""
        units = self.units(by)
        for index in reversed(range(len(units))):
            start, end = units[index]
            if by == "token":
                ids = list(self._encoding.ids[self._context])
                del ids[index]
            else:
                ids = self._ids_without(start, end)
            logprob, effect = self._after(ids), None
            if logprob is not None and self.logprob is not None:
                effect = (self.logprob - logprob) / LN2
            yield Effect(start, end, self._text[start:end], logprob, effect)

    def _ids_without(self, start: int, end: int) -> list[int]:
        """Return the tokens before the target of the text without a part. They are cut
        where the target begins, so that its own tokens never change."""
        first, last = self.span
        before = self._text[self._start : start] + self._text[end:first]
        whole = self._engine.encode(before + self._text[first:last], bos="no")
        for index, (begin, _) in enumerate(whole.spans):
            if begin == len(before):
                return list(whole.ids[:index])
        return list(self._engine.encode(before, bos="no").ids)
