"""Windows in which a long text is scored.

A window depends only on the position in the document, so that every view of a token's
score shows the same number. Torch-free; knows lengths only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lmtui.errors import LmtuiError

DEFAULT_WINDOW = 2048


@dataclass(frozen=True, slots=True)
class Windows:
    """Length and stride of the windows. Windows start at multiples of `stride`."""

    window: int
    stride: int

    @classmethod
    def choose(
        cls,
        window: int | None = None,
        stride: int | None = None,
        *,
        context: int,
        prefix: int = 0,
    ) -> Windows:
        """Return the requested windows, or the default ones, for a text after `prefix`
        tokens, where a model reads up to `context` tokens.

        With a `prefix`, the stride may equal the window: the prefix is context for each
        window's first token, which would otherwise have none.

        Raises:
            LmtuiError: the windows don't fit, or would leave tokens unscored.
        """
        room = context - prefix
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
        """Yield, for each window over `length` tokens, its start, its end, and the
        first token that is scored in it (earlier ones were scored in earlier
        windows)."""
        start = scored = 0
        while scored < length:
            end = min(start + self.window, length)
            yield start, end, scored
            start, scored = start + self.stride, end

    def start_of(self, index: int) -> int:
        """Return the start of the window in which token `index` is scored."""
        beyond = index - self.window + 1
        return self.stride * max(0, -(-beyond // self.stride))

    def last_of(self, start: int) -> int:
        """Return the last token that is scored in the window that starts at `start`."""
        return start + self.window - 1

    def first_from(self, index: int) -> int:
        """Return the first token that is scored in a window that starts at `index`, at
        least 1, or later."""
        return self.window + self.stride * (-(-index // self.stride) - 1)
