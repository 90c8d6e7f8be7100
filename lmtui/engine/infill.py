"""Fill-in-the-middle: the prompt of a model that can read both sides of a cursor.

Owns the table of how models spell it and how much of each side is kept. A model is
recognised by its vocabulary: if it has the control tokens, it was trained with them.
Knows ids only; the sides are tokenised elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_STEP = 256  # tokens by which the beginning of the text before the cursor moves


@dataclass(frozen=True, slots=True)
class _Spelling:
    """The control tokens of one family, and their order."""

    prefix: str
    """Stands before the text before the cursor."""
    suffix: str
    """Stands before the text after the cursor."""
    middle: str | None
    """Stands last; None where the middle simply goes on after the text before it."""
    ends: tuple[str, ...] = ()
    """What ends a middle, besides these tokens and the model's own end tokens."""


_TABLE = (
    # Qwen-Coder, CodeGemma, Granite 4: prefix, suffix, middle.
    _Spelling(
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        (
            "<|endoftext|>",
            "<|fim_pad|>",
            "<|repo_name|>",
            "<|file_sep|>",
            "<|file_separator|>",
        ),
    ),
    # StarCoder, StarCoder2, Granite Code, Stable Code: prefix, suffix, middle.
    _Spelling(
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        ("<|endoftext|>", "<fim_pad>", "<file_sep>", "<repo_name>", "<filename>"),
    ),
    _Spelling(  # SantaCoder
        "<fim-prefix>", "<fim-suffix>", "<fim-middle>", ("<|endoftext|>", "<fim-pad>")
    ),
    _Spelling("▁<PRE>", "▁<SUF>", "▁<MID>", ("▁<EOT>",)),  # CodeLlama
    _Spelling(  # DeepSeek-Coder: the hole stands between the sides
        "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", ("<｜end▁of▁sentence｜>",)
    ),
    _Spelling("[PREFIX]", "[SUFFIX]", None, ("[MIDDLE]",)),  # Codestral: suffix first
)


@dataclass(frozen=True, slots=True)
class Infill:
    """Fill-in-the-middle with one model."""

    prefix: int
    suffix: int
    middle: int | None
    """None: the suffix stands first, and the middle goes on after the prefix."""
    end_ids: frozenset[int]
    """Tokens that end a middle, besides the model's own end tokens."""
    bos: tuple[int, ...] = ()
    """What the tokenizer begins every text with."""

    @classmethod
    def of(cls, tokenizer: Any, *, bos: Sequence[int] = ()) -> Infill | None:
        """The way of this tokenizer's model, or None where it has none."""
        vocabulary: Mapping[str, int] = tokenizer.get_vocab()
        found = (_spelled(spelling, vocabulary, bos) for spelling in _TABLE)
        return next((infill for infill in found if infill), None)

    def ids(
        self, before: Sequence[int], after: Sequence[int], *, room: int
    ) -> tuple[int, ...]:
        """The prompt, at most `room` tokens: the model's next token continues `before`.

        Where not all of it fits, the ends far from the cursor are left out.
        """
        kept, following = split_room(len(before), len(after), room - self._controls)
        left, right = before[len(before) - kept :], after[:following]
        if self.middle is None:
            return (*self.bos, self.suffix, *right, self.prefix, *left)
        return (*self.bos, self.prefix, *left, self.suffix, *right, self.middle)

    @property
    def _controls(self) -> int:
        return len(self.bos) + 2 + (self.middle is not None)


def split_room(before: int, after: int, room: int) -> tuple[int, int]:
    """How many tokens of each side of the cursor are kept in `room`.

    Three quarters are for the text before it, and what one side does not need is the
    other's. The beginning of what is kept before the cursor moves in steps, so that
    typing does not move it, and with it every position of the prompt.
    """
    room = max(0, room)
    most = max(room * 3 // 4, room - after)
    if before <= most:
        return before, min(after, room - before)
    step = max(1, min(_STEP, most // 4))
    start = -(-(before - most) // step) * step
    kept = before - start
    return kept, min(after, room - most)


def _spelled(
    spelling: _Spelling, vocabulary: Mapping[str, int], bos: Sequence[int]
) -> Infill | None:
    controls = (spelling.prefix, spelling.suffix, spelling.middle)
    if not all(token in vocabulary for token in controls if token):
        return None
    names = (*controls, *spelling.ends)
    return Infill(
        prefix=vocabulary[spelling.prefix],
        suffix=vocabulary[spelling.suffix],
        middle=vocabulary[spelling.middle] if spelling.middle else None,
        end_ids=frozenset(vocabulary[t] for t in names if t and t in vocabulary),
        bos=tuple(bos),
    )
