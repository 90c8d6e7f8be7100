"""The part of a text that is trained on, and the held-out part behind it.

A token is a byte. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lmtui.learn.pretrain.options import require_enough

SCORED_BYTES = 8_192
"""Most bytes of the held-out part that an evaluation scores."""

_SHARE = 10  # the last tenth is held out
_SEARCHED = 50  # a 50th of the text is searched for the start of a line
_PROMPT_BYTES = 60


@dataclass(frozen=True, slots=True)
class TextSplit:
    """A text in two parts that share no byte."""

    training: bytes
    """The beginning, about nine tenths."""
    held_out: bytes
    """What is scored of the rest: its first bytes, at most `SCORED_BYTES`."""

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Split a text; the held-out part begins with a line where one is near.

        Raises:
            LmtuiError: the text is too small.
        """
        require_enough(data)
        cut = len(data) - len(data) // _SHARE
        end = cut + len(data) // _SEARCHED
        line = data.find(b"\n", cut, end)
        cut = cut if line < 0 else line + 1
        # The empty line behind a paragraph belongs to it; a character stays whole.
        while cut < end and (data[cut] == 0x0A or 0x80 <= data[cut] < 0xC0):
            cut += 1
        return cls(data[:cut], data[cut : cut + SCORED_BYTES])

    @property
    def first_words(self) -> bytes:
        """The first words of the held-out part, without the space behind them."""
        start = self.held_out[: _PROMPT_BYTES + 1]
        words, _, _ = start.rpartition(b" ")
        return words.rstrip() or start[:_PROMPT_BYTES]

    def prompts(self) -> tuple[bytes, bytes]:
        """Return two contexts: the first words with a space, after which a word begins,
        and the same with its first byte."""
        words = self.first_words
        longer = len(words) + 1
        return self.held_out[:longer], self.held_out[: longer + 1]
