"""Base class of apps that draw what comes from anywhere safely, and follow NO_COLOR."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import App
from textual.filter import LineFilter
from textual.notifications import SeverityLevel

from lmtui.text import visible, visible_line
from lmtui.tui.no_colour import FILTERS


class PlainApp(App[None]):
    """App without any colour if NO_COLOR is set, whose notices are plain text."""

    def get_line_filters(self) -> Sequence[LineFilter]:
        return FILTERS if self.no_color else super().get_line_filters()

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a notice. No markup is read in it, whatever Textual's widgets say, and
        control characters are drawn."""
        super().notify(
            visible(message),
            title=visible_line(title),
            severity=severity,
            timeout=timeout,
            markup=False,
        )
