"""Textual compositor whose partial updates draw only the changed parts of lines.

Knows no widget of lmtui.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

LinePart = tuple[int, int, int]
"""Part of a screen line: (y, first cell, cell after the last)."""


class ChangedParts(Compositor):
    """Compositor with partial updates that cost what they change.

    Textual's own draws every line of every widget between the first and the last
    change, and discards the unchanged ones. If a panel at the right and a text at the
    left grow together, that is the whole screen, many times a second. The drawn result
    is the same.
    """

    def render_partial_update(self) -> ChopsUpdate | None:
        """Return the update with all changes since the last one, or None."""
        spans = list(self._regions_to_spans(self._dirty_regions))
        self._dirty_regions.clear()
        if not spans:
            return None
        strips: list[dict[int, Strip | None]] = [{} for _ in range(self.size.height)]
        for widget, parts in self._on_top(spans).items():
            for (y, start, _), strip in zip(
                parts, self._drawn(widget, parts), strict=True
            ):
                strips[y][start] = strip
        ends = [
            [start + strip.cell_length for start, strip in line.items() if strip]
            for line in strips
        ]
        return ChopsUpdate(strips, spans, ends)

    def _on_top(self, spans: list[LinePart]) -> dict[Widget, list[LinePart]]:
        """Return, for each widget, the parts of the spans where it is visible.

        The parts of a widget are in the order of the lines.
        """
        found: dict[Widget, list[LinePart]] = {}
        for y, start, end in spans:
            free = [(start, end)]
            for widget, region, _ in self.layers_visible[y]:  # the front first
                left, right = region.column_span
                rest = []
                for a, b in free:
                    if max(a, left) >= min(b, right):
                        rest.append((a, b))
                        continue
                    found.setdefault(widget, []).append(
                        (y, max(a, left), min(b, right))
                    )
                    rest += [(a, left)] if a < left else []
                    rest += [(right, b)] if right < b else []
                free = rest
                if not free:
                    break
        return found

    def _drawn(self, widget: Widget, parts: list[LinePart]) -> Iterator[Strip]:
        """Yield the strips for parts of a widget, adjacent lines rendered at once."""
        region, clip = self.visible_widgets[widget]
        seen = region.intersection(clip)
        at = 0
        for until in _breaks(parts):
            run = parts[at:until]
            top, bottom = run[0][0], run[-1][0] + 1
            crop = Region(seen.x - region.x, top - region.y, seen.width, bottom - top)
            lines = widget.render_lines(crop)
            for y, start, end in run:
                strip = lines[y - top]
                if (start, end) != seen.column_span:
                    strip = strip.crop(start - seen.x, end - seen.x)
                yield strip
            at = until


def _breaks(parts: list[LinePart]) -> Iterator[int]:
    """Yield the indices where lines are not adjacent, and the end."""
    for place, ((above, *_), (below, *_)) in enumerate(pairwise(parts), 1):
        if below > above + 1:
            yield place
    yield len(parts)
