"""What the shades of a text mean, on one line.

Each word stands in the shade that it explains. Owns how the line gets shorter. Knows
no text.
"""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len

from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines
from lmtui.tui.widgets.surprise import (
    CLASSES,
    DIFFERENCE_CLASSES,
    Shade,
    difference_sheet,
    legend_of,
    sheet,
)

_UNITS = {"surprisal": "bits", "entropy": "bits", "difference": "bits"}


class TokenLegend(StyledLines):
    """The measure, and its six steps."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "legend--quiet",
        *CLASSES,
        *DIFFERENCE_CLASSES,
    }
    DEFAULT_CSS = f"""
    TokenLegend {{ height: 1; color: $quiet; }}
    TokenLegend > .legend--quiet {{ color: $quiet; }}
    {sheet("TokenLegend")}
    {difference_sheet("TokenLegend")}
    """

    def __init__(self, hint: str = "m: other", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hint = f"  {hint}"
        self._measure: Shade = "surprisal"

    def show(self, measure: Shade) -> None:
        """Explain this measure."""
        self._measure = measure
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """The longest form that fits."""
        whole, quiet = self._measure, "legend--quiet"
        unit = _UNITS.get(whole, "")
        kind = "difference" if whole == "difference" else "surprise"
        hint = self._hint
        after = f" {unit}{hint}" if unit else hint
        for name, rest in ((whole, after), (whole, hint), (whole, ""), ("", "")):
            line: list[Part] = [(f"{name} " if name else "", quiet)]
            for step, label in enumerate(legend_of(whole)):
                line += [(" ", quiet), (label, f"{kind}--{step}")]
            line.append((rest, quiet))
            if sum(cell_len(text) for text, _ in line) <= width:
                return [line]
        return [line]
