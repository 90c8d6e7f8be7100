"""The part of a screen that is left above the lines at its foot.

Owns that notices stay within it: whoever is told something while writing still sees all
of what is written, however many lines that takes. Knows no screen.
"""

from __future__ import annotations

from textual.containers import Horizontal


class MainPart(Horizontal):
    """What is shown, side by side; it takes all room that the foot leaves."""

    def on_resize(self) -> None:
        """The foot takes other room than it did."""
        foot = self.screen.size.height - self.region.bottom
        for rack in self.screen.query("ToastRack"):
            rack.styles.margin = (0, 0, foot, 0)
