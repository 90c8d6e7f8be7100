"""Prompts with which a model fills in what stands between two texts.

Knows tokens and control tokens; no model and no screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_STEP = 256  # tokens by which the start of the context moves (see `split_room`)


@dataclass(frozen=True, slots=True)
class _Spelling:
    """Fill-in-the-middle control tokens of one model family, and their order."""

    prefix: str
    """Placed before the text before the cursor."""
    suffix: str
    """Placed before the text after the cursor."""
    middle: str | None
    """Placed last; None where the middle follows the text before the cursor
    directly."""
    ends: tuple[str, ...] = ()
    """Further tokens that end a middle, besides these and the model's own end
    tokens."""


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


_SEPARATORS = ("<|file_sep|>", "<|file_separator|>", "<file_sep>")


@dataclass(frozen=True, slots=True)
class Infill:
    """Fill-in-the-middle prompt format of one model."""

    prefix: int
    suffix: int
    middle: int | None
    """None: the suffix comes first, and the middle follows the prefix directly."""
    end_ids: frozenset[int]
    """Tokens that end a middle, besides the model's own end tokens."""
    bos: tuple[int, ...] = ()
    """Ids before every text: BOS, and those of other files."""

    @classmethod
    def of(cls, tokenizer: Any, *, bos: Sequence[int] = ()) -> Infill | None:
        """Return the format that the tokenizer has the tokens for; None without one."""
        candidates = (_spelled(spelling, tokenizer, bos) for spelling in _TABLE)
        return next((infill for infill in candidates if infill), None)

    def ids(
        self, before: Sequence[int], after: Sequence[int], *, room: int
    ) -> tuple[int, ...]:
        """Return the prompt, at most `room` tokens: the model's next token continues
        `before`.

        Where the text does not fit, the ends far from the cursor are dropped.
        """
        kept, following = split_room(len(before), len(after), room - self._controls)
        left, right = before[len(before) - kept :], after[:following]
        if self.middle is None:
            return (*self.bos, self.suffix, *right, self.prefix, *left)
        return (*self.bos, self.prefix, *left, self.suffix, *right, self.middle)

    @property
    def _controls(self) -> int:
        return len(self.bos) + 2 + (self.middle is not None)


def file_separator(tokenizer: Any) -> int | None:
    """Return the token that a model with fill-in-the-middle has between files; None
    without one."""
    if not any(_spelled(spelling, tokenizer, ()) for spelling in _TABLE):
        return None
    return next(_ids_of(_SEPARATORS, tokenizer), None)


def split_room(before: int, after: int, room: int) -> tuple[int, int]:
    """Return how many tokens to keep before and after the cursor, `room` in all.

    Three quarters are for the text before the cursor, and one side may use what the
    other does not need. The start of the kept text moves in steps of up to 256 tokens,
    so that typing rarely shifts the positions of the prompt, which the KV cache can
    then reuse.
    """
    room = max(0, room)
    most = max(room * 3 // 4, room - after)
    if before <= most:
        return before, min(after, room - before)
    step = max(1, min(_STEP, most // 4))
    start = -(-(before - most) // step) * step
    kept = before - start
    return kept, min(after, room - most)


def _spelled(spelling: _Spelling, tokenizer: Any, bos: Sequence[int]) -> Infill | None:
    names = [
        name for name in (spelling.prefix, spelling.suffix, spelling.middle) if name
    ]
    controls = [*_ids_of(names, tokenizer)]
    if len(controls) < len(names):
        return None
    prefix, suffix, *middle = controls
    return Infill(
        prefix=prefix,
        suffix=suffix,
        middle=middle[0] if middle else None,
        end_ids=frozenset([*controls, *_ids_of(spelling.ends, tokenizer)]),
        bos=tuple(bos),
    )


def _ids_of(names: Iterable[str], tokenizer: Any) -> Iterator[int]:
    for name in names:
        token: int | None = tokenizer.backend_tokenizer.token_to_id(name)
        if token is not None:
            yield token
