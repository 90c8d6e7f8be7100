"""Corrections of a text, some of which are applied while others are still looked for.

The text is read as it was at first. Applied corrections move what stands behind them,
so each is found where it is now. Offsets are in code points. Knows no engine.
"""

from __future__ import annotations

from bisect import insort

from lmtui.engine.document.types import (
    Correction,
    ProofreadPart,
)


class ProofreadText:
    """A text that is proofread from `start` to `end`."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        self.start, self.end = start, end
        self.reached = start
        """Where the part ends that has been read."""
        self.words = 0
        self.current = text
        """The text with the applied corrections."""
        self.corrections: list[Correction] = []
        """Those that are neither applied nor ignored, in the order of the text."""
        self.is_english = True
        """Whether the words are looked up in the dictionary."""
        self.ignored = 0
        self._applied: list[Correction] = []  # in the order of the text

    @property
    def applied(self) -> int:
        return len(self._applied)

    @property
    def is_read(self) -> bool:
        return self.reached >= self.end

    @property
    def share(self) -> float:
        size = self.end - self.start
        return (self.reached - self.start) / size if size else 1.0

    def add(self, part: ProofreadPart) -> None:
        self.reached = part.end
        self.words += part.words
        self.is_english = part.is_english
        self.corrections += part.corrections

    def ignore(self, change: tuple[str, str]) -> None:
        kept = [
            correction
            for correction in self.corrections
            if self.change(correction) != change
        ]
        self.ignored += len(self.corrections) - len(kept)
        self.corrections = kept

    def change(self, correction: Correction) -> tuple[str, str]:
        """Return the text that a correction replaces, and the one in its place; the
        same for words at the start of a sentence."""
        return self.original(correction).lower(), correction.text.lower()

    def original(self, correction: Correction) -> str:
        return self.text[correction.start : correction.end]

    def span(self, correction: Correction) -> tuple[int, int]:
        """Return where the text that a correction replaces is now."""
        before = (other for other in self._applied if other.end <= correction.start)
        moved = sum(len(other.text) - (other.end - other.start) for other in before)
        return correction.start + moved, correction.end + moved

    def apply(self, correction: Correction) -> tuple[int, int]:
        """Apply a correction that is not applied yet; return the span of `current` that
        it replaced."""
        start, end = self.span(correction)
        self.current = self.current[:start] + correction.text + self.current[end:]
        self.corrections.remove(correction)
        insort(self._applied, correction, key=lambda applied: applied.start)
        return start, end

    def apply_all(self) -> tuple[int, int, str]:
        """Apply every correction that is not applied; return the span of `current` from
        the first to the last of them, and the text in its place."""
        start, end = (
            self.span(self.corrections[0])[0],
            self.span(self.corrections[-1])[1],
        )
        before = len(self.current)
        for correction in list(self.corrections):
            self.apply(correction)
        return start, end, self.current[start : end + len(self.current) - before]
