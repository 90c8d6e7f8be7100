"""What the shades of a text mean, on one line.

Each word stands in the shade that it explains. Owns how the line gets shorter. Knows
no text.
"""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len

from lmtui import surprisal_scale
from lmtui.surprisal_scale import Shade
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines
from lmtui.tui.widgets.surprise import (
    CLASSES,
    DIFFERENCE_CLASSES,
    difference_sheet,
    sheet,
)


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

    def __init__(self, hint: str = "m: next shading", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hint = f"  {hint}"
        self._measure: Shade = "surprisal"

    def show(self, measure: Shade) -> None:
        """Explain this measure."""
        self._measure = measure
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """The longest form that fits."""
        measure, quiet = self._measure, "legend--quiet"
        kind = "difference" if measure == "difference" else "surprise"
        labels, unit = surprisal_scale.legend(measure), surprisal_scale.unit(measure)
        after = f" {unit}" if unit else ""
        explained = surprisal_scale.explained(measure)
        forms = (
            (explained, measure, after + self._hint),
            (explained, measure, after),
            (labels, measure, after + self._hint),
            (labels, measure, after),
            (labels, "", after),
            (labels, "", ""),
        )
        line: list[Part] = []
        for words, name, rest in forms:
            line = [(f"{name} " if name else "", quiet)]
            for step, label in enumerate(words):
                line += [(" ", quiet), (label, f"{kind}--{step}")]
            line.append((rest, quiet))
            if sum(cell_len(text) for text, _ in line) <= width:
                break
        return [line]
