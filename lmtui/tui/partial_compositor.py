"""Drawing only what has changed.

Owns which lines of which widgets a partial update of a screen asks for. Textual's own
way draws every line of every widget between the first and the last change, and throws
away what did not change: where a panel at the right and a text at the left grow
together, that is the whole screen, many times a second. What is drawn in a changed
part is the same either way. Knows no widget of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

LinePart = tuple[int, int, int]
"""A line of the screen, and the cells of it from which up to which."""


class ChangedParts(Compositor):
    """A compositor whose partial updates cost what they change."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """What has changed since the last update, if anything."""
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
        """Of each widget, the parts of these spans in which it is what is seen, line by
        line."""
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
        """The strips of some parts of a widget; lines that follow each other are asked
        for at once."""
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
    """Where lines do not follow each other, and the end."""
    for place, ((above, *_), (below, *_)) in enumerate(pairwise(parts), 1):
        if below > above + 1:
            yield place
    yield len(parts)
