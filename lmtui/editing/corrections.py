"""Corrections of a text, some of which are applied while others are still looked for.

The text is read as it was at first. Applied corrections move what stands behind them,
so each is found where it is now. Offsets are in code points. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmtui.engine.document.types import Correction, ProofreadPart, corrected


class ProofreadText:
    """A text that is proofread from `start` to `end`."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        self.start, self.end = start, end
        self.reached = start
        """Where the part ends that has been read."""
        self.found: list[Correction] = []
        """All corrections, in the order of the text."""
        self.applied: list[Correction] = []
        self._ignored: set[tuple[str, str]] = set()

    @property
    def corrections(self) -> list[Correction]:
        """Those that are neither applied nor ignored, in the order of the text."""
        return [
            each
            for each in self.found
            if each not in self.applied and self._change(each) not in self._ignored
        ]

    @property
    def current(self) -> str:
        """The text with the applied corrections."""
        return corrected(self.text, self.applied)

    @property
    def is_read(self) -> bool:
        return self.reached >= self.end

    @property
    def share(self) -> float:
        size = self.end - self.start
        return (self.reached - self.start) / size if size else 1.0

    def add(self, part: ProofreadPart) -> None:
        self.reached = part.end
        self.found += part.corrections

    def ignore(self, correction: Correction) -> None:
        """Ignore a correction, and all of the same words."""
        self._ignored.add(self._change(correction))

    def _change(self, correction: Correction) -> tuple[str, str]:
        return self.original(correction).lower(), correction.text.lower()

    def original(self, correction: Correction) -> str:
        return self.text[correction.start : correction.end]

    def span(self, correction: Correction) -> tuple[int, int]:
        """Return where the text that a correction replaces is now."""
        before = (other for other in self.applied if other.end <= correction.start)
        moved = sum(len(other.text) - (other.end - other.start) for other in before)
        return correction.start + moved, correction.end + moved

    def apply(self, corrections: Sequence[Correction]) -> tuple[int, int, str]:
        """Apply corrections, in the order of the text; return the span of `current`
        from the first to the last of them, and the text in its place."""
        start, end = self.span(corrections[0])[0], self.span(corrections[-1])[1]
        before = len(self.current)
        self.applied += corrections
        return start, end, self.current[start : end + len(self.current) - before]
