"""How a long text is cut into windows for scoring.

Owns the rule that a window is a function of the position in the document alone, so
that every place that shows a token's score shows the same one. Torch-free; knows
lengths only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lmtui.errors import LmtuiError

DEFAULT_WINDOW = 2048


@dataclass(frozen=True, slots=True)
class Windows:
    """Which part of a text is read together. Windows start at multiples of `stride`."""

    window: int
    stride: int

    @classmethod
    def choose(
        cls, window: int | None, stride: int | None, *, room: int, prefix: int = 0
    ) -> Windows:
        """The windows asked for, or the default ones, in `room` tokens of context.

        Windows after `prefix` tokens may stand side by side: the first token of each
        has these for a context, and would have none without them.

        Raises:
            LmtuiError: they don't fit, or would leave tokens unscored.
        """
        if window is not None and not 2 <= window <= room:
            raise LmtuiError(
                "the window can't be used",
                f"{window} tokens",
                f"Give a --window from 2 to {room}.",
            )
        size = window or min(DEFAULT_WINDOW, room)
        step = stride if stride is not None else max(1, size // 2)
        if not 1 <= step <= (size if prefix else size - 1):
            hint = f"Give a --stride from 1 to {size if prefix else size - 1}"
            if step == size:
                hint += ", or --bos yes, which gives every token some context"
            raise LmtuiError(
                "the stride can't be used",
                f"{step} tokens, in a window of {size}",
                f"{hint}.",
            )
        return cls(size, step)

    def over(self, length: int) -> Iterator[tuple[int, int, int]]:
        """Per window over `length` tokens: where it starts, where it ends, and the
        first token scored in it (all before were scored in earlier windows)."""
        start = scored = 0
        while scored < length:
            end = min(start + self.window, length)
            yield start, end, scored
            start, scored = start + self.stride, end

    def start_of(self, index: int) -> int:
        """Where the window starts in which token `index` is scored."""
        beyond = index - self.window + 1
        return self.stride * max(0, -(-beyond // self.stride))

    def last_of(self, start: int) -> int:
        """The last token that is scored in the window that starts at `start`."""
        return start + self.window - 1

    def first_from(self, place: int) -> int:
        """The first token that is scored in a window that starts at `place`, at least
        1, or later."""
        return self.window + self.stride * (-(-place // self.stride) - 1)
