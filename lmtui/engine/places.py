"""A cursor in a text, and what the model reads before it goes on there.

Owns how much of a text that is: the window of the cursor, unless that leaves no room
for what is to come; or both sides of the cursor, where the model can read them. Knows
ids and the room in the context; reads and runs nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmtui.engine.infill import Infill
from lmtui.engine.writing import Beginning
from lmtui.errors import LmtuiError


@dataclass(frozen=True, slots=True)
class Place:
    """A cursor in a text, as the model reads up to it."""

    prefix: tuple[int, ...]
    """What begins every text: BOS, or nothing."""
    before: tuple[int, ...]
    """The tokens of its window up to the piece that the cursor is in or behind."""
    typed: bytes
    """The beginning of that piece; nothing where the piece has no context."""
    start: int
    """Where the piece begins, in code points."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How much is read before a place."""

    context: int
    """Most tokens that the model can read."""
    window: int
    stride: int
    infill: Infill | None = None

    def beginning(
        self, place: Place, after: Callable[[int], Sequence[int]], more: int
    ) -> Beginning:
        """What is read before a place at which `more` tokens are wanted.

        `after` gives the first tokens behind the cursor, as many as asked for, or
        none.

        Raises:
            LmtuiError: there is nothing to continue, or no room for a single token.
        """
        least = len(place.typed) + 1  # a byte is a token at most
        if self.infill and (following := after(self.window)):
            room = min(self.window, self.context - least - more)
            ids = self.infill.ids(place.before, following, room=room)
            return Beginning(ids, place.typed, infilled=True)
        ids = (*place.prefix, *self._kept(place, least, more))
        if not ids:
            raise LmtuiError(
                "there is nothing to continue",
                "no text is before the place",
                "Begin with a word, or go on behind it.",
            )
        return Beginning(ids, place.typed)

    def _kept(self, place: Place, least: int, more: int) -> Sequence[int]:
        """The end of the text before the piece: from the next window on, where the
        model would run out of context; less only where it could not begin."""
        before, room = place.before, self.context - len(place.prefix)
        if len(before) + least + more > room and len(before) > self.stride:
            before = before[self.stride :]
        return before[max(0, len(before) + least - room) :]
