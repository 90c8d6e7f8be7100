"""Earlier entries of a text field, in memory. Knows no field."""

from __future__ import annotations

_MOST = 100  # entries that are remembered


class EntryHistory:
    """Earlier entries of a field, in memory, that Up and Down walk through."""

    def __init__(self) -> None:
        self._entries: list[str] = []
        self._index = 0
        self._draft = ""

    def add(self, entry: str) -> None:
        """Add an entry, the latest from now on; an equal one is not kept twice."""
        if entry:
            others = [other for other in self._entries if other != entry]
            self._entries = [*others, entry][-_MOST:]
        self._index = len(self._entries)

    def recall(self, by: int, current: str) -> str:
        """Return the entry before (`by` -1) or after (1) the one in the field, which is
        `current`. Behind the latest entry is what was typed last."""
        if self._index < len(self._entries) and current != self._entries[self._index]:
            self._index = len(self._entries)  # an entry that was changed is a draft
        if self._index == len(self._entries):
            self._draft = current
        self._index = min(len(self._entries), max(0, self._index + by))
        if by < 0 and self._entries and self._entries[self._index] == current:
            self._index = max(0, self._index - 1)
        return [*self._entries, self._draft][self._index]
