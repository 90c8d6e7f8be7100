"""The part of a screen that is left above the lines at its foot.

Owns that notices stay within it and above the sampler: whoever is told something while
writing still sees all of what is written, however many lines that takes, and whoever
sets the sampler sees what it is set to. Knows no screen.
"""

from __future__ import annotations

from textual import on
from textual.containers import Horizontal

from lmtui.tui.widgets.sampler_controls import SamplerControls


class MainPart(Horizontal):
    """What is shown, side by side; it takes all room that the foot leaves."""

    def on_resize(self) -> None:
        """The foot takes other room than it did."""
        self.place_notices()

    @on(SamplerControls.Moved)
    def place_notices(self) -> None:
        """Keep what is below free of them."""
        free = self.region.bottom
        for sampler in self.query(SamplerControls):
            if sampler.region:
                free = sampler.region.y
        foot = self.screen.size.height - free
        for rack in self.screen.query("ToastRack"):
            rack.styles.margin = (0, 0, foot, 0)
