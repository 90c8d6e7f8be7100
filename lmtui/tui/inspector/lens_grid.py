"""Drawing of the logit lens: a grid of layers × tokens, and one column with its
numbers.

Both draw a snapshot, the last layer at the top. Knows no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from textual import events
from textual.message import Message
from textual.reactive import reactive

from lmtui import notation
from lmtui.analysis.branches import Token
from lmtui.engine.lens import LensColumn, LensRow
from lmtui.notation import NONE
from lmtui.surprisal_scale import step
from lmtui.text import visible_token
from lmtui.tui.widgets.cells import fit_best, pad_to
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines

GUTTER = 5  # cells of a layer's number, and of the heads
CELL = 9  # cells of a token, with the gap behind it
_NAME = 12  # cells of a token in a column
_LEVELS = " ▁▂▃▄▅▆▇█"
_TINTS = (40, 30, 20, 10, 0, 0)
"""Percentage of the tint for each step of probability; text on it stays readable."""
HEADS = f"{'layer':>5}   {'likeliest':<{_NAME}} {'p':>6} {'p next':>7} {'rank':>7} bits"

AWAITED = "The model reads the text up to here."
NO_CONTEXT = "A first token without context is not predicted."
MATCH = "●"
"""Mark of a prediction that is the token that really comes next."""


@dataclass(frozen=True, slots=True)
class LensView:
    tokens: Sequence[Token] = ()
    columns: Mapping[int, LensColumn] = field(default_factory=dict)
    layers: int = 0
    """Number of rows of a column; 0 while none is known."""
    index: int = 0
    """Token under the cursor."""
    layer: int = 0
    first: int = 0
    """First token that is seen."""
    end: int = 0

    @property
    def column(self) -> LensColumn | None:
        return self.columns.get(self.index)

    def text(self, index: int) -> str:
        """Text of a token, safe to draw; a dash where there is none."""
        exists = 0 <= index < len(self.tokens)
        return visible_token(self.tokens[index].text) if exists else NONE

    def quoted(self, index: int) -> str:
        return f"“{self.text(index)}”"

    def next_id(self, index: int) -> int | None:
        """Id of the token that really comes there; None at the end."""
        return self.tokens[index].id if index < len(self.tokens) else None

    def seen_layers(self, rows: int) -> range:
        """Return the layers that are drawn in so many rows, from the last one down, the
        layer under the cursor among them."""
        top = self.layers - 1
        if self.layers <= rows:
            return range(top, -1, -1)
        above = min(max(0, top - self.layer - rows // 2), self.layers - rows)
        return range(top - above, top - above - rows, -1)


def _sheet(widget: str) -> str:
    return f"""
    {widget} {{ color: $foreground; }}
    {widget} > .lens--quiet {{ color: $quiet; }}
    {widget} > .lens--head {{ text-style: bold; }}
    {widget} > .lens--cursor {{ text-style: reverse; }}
    """


class LensGrid(StyledLines):
    """Grid of layers × tokens: in each cell what a layer finds likeliest, shaded by its
    probability."""

    PREFIX = "lens--"
    DEFAULT_CSS = _sheet("LensGrid") + "\n".join(
        f"LensGrid > .lens--p{level} {{ background: $prob-raw {tint}%; "
        f"text-style: {'bold' if level < 2 else 'none'}; }}\n"
        # Without colours a tint would be reverse video, which is the cursor's.
        f"LensGrid:nocolor > .lens--p{level} {{ background: $background 0%; }}"
        for level, tint in enumerate(_TINTS)
    )

    class Resized(Message):
        """The number of tokens that fit beside each other has changed."""

    @dataclass
    class CellPicked(Message):
        index: int
        layer: int

    view: reactive[LensView] = reactive(LensView())

    @property
    def capacity(self) -> int:
        """Number of tokens that fit beside each other."""
        return max(1, (self.content_size.width - GUTTER) // CELL)

    def lines(self, width: int, height: int) -> Sequence[Line]:
        view = self.view
        shown = range(view.first, view.end)
        if not view.layers:
            return [[(NO_CONTEXT if view.column else AWAITED, "quiet")]]
        layers = view.seen_layers(height - 2)
        return [
            self._names("next", shown, 0),
            *(self._row(layer, shown) for layer in layers),
            self._names("read", shown, -1),
        ]

    def _names(self, head: str, shown: range, offset: int) -> Line:
        parts: list[Part] = [(pad_to(head, GUTTER), "quiet")]
        for index in shown:
            name = "head" if index == self.view.index else "quiet"
            parts.append((pad_to(f" {self.view.text(index + offset)}", CELL - 1), name))
            parts.append((" ", ""))
        return parts

    def _row(self, layer: int, shown: range) -> Line:
        view = self.view
        is_current = layer == view.layer
        parts: list[Part] = [
            (f"{layer:>{GUTTER - 2}}  ", "head" if is_current else "quiet")
        ]
        for index in shown:
            text, name = self._cell(index, layer)
            parts += [
                (text, "cursor" if is_current and index == view.index else name),
                (" ", ""),
            ]
        return parts

    def _cell(self, index: int, layer: int) -> tuple[str, str]:
        column = self.view.columns.get(index)
        if column is None:
            return pad_to(" …", CELL - 1), "quiet"
        if not column.rows:
            return pad_to(f" {NONE}", CELL - 1), "quiet"
        best = column.rows[layer].top[0]
        mark = MATCH if best.id == self.view.next_id(index) else " "
        level = _LEVELS[round(best.prob * (len(_LEVELS) - 1))]
        text = pad_to(visible_token(best.text), CELL - 3)
        return f"{mark}{text}{level}", f"p{step(best.prob, 'probability')}"

    def on_resize(self) -> None:
        self.post_message(self.Resized())

    def on_mouse_down(self, event: events.MouseDown) -> None:
        offset, view = event.get_content_offset(self), self.view
        if offset is None or offset.x < GUTTER:
            return
        index = view.first + (offset.x - GUTTER) // CELL
        layers = view.seen_layers(self.content_size.height - 2)
        if index < view.end and 1 <= offset.y <= len(layers):
            self.post_message(self.CellPicked(index, layers[offset.y - 1]))


class LensTable(StyledLines):
    PREFIX = "lens--"
    DEFAULT_CSS = _sheet("LensTable")

    view: reactive[LensView] = reactive(LensView())

    def lines(self, width: int, height: int) -> Sequence[Line]:
        view, column = self.view, self.view.column
        head: list[Line] = [[(part, "head")] for part in _title(view, width)]
        if column is None:
            return [*head, [(AWAITED, "quiet")]]
        if not column.rows:
            return [*head, [(NO_CONTEXT, "quiet")]]
        head.append([(pad_to(HEADS, width), "quiet")])
        following = view.next_id(view.index)
        return [
            *head,
            *(
                [
                    (
                        row_text(column.rows[layer], following),
                        "cursor" if layer == view.layer else "",
                    )
                ]
                for layer in view.seen_layers(height - len(head))
            ),
        ]


def _title(view: LensView, width: int) -> list[str]:
    number = f"token {view.index + 1:,}"
    before = f"after {view.quoted(view.index - 1)}" if view.index else "the first"
    token = view.quoted(view.index) if view.index < len(view.tokens) else "the end"
    return fit_best([[f"{number}: {token}", before], [number]], width)


def row_text(row: LensRow, following: int | None) -> str:
    """Return a row of a column: layer, likeliest token, its probability; probability
    and rank of the token that really comes next; entropy in bits."""
    best = row.top[0]
    mark = MATCH if best.id == following else " "
    prob = None if row.logprob is None else math.exp(row.logprob)
    return (
        f"{row.layer:>5} {mark} {pad_to(visible_token(best.text), _NAME)} "
        f"{notation.likely(best.prob):>6} {notation.likely(prob):>7} "
        f"{notation.rank(row.rank):>7} {notation.entropy(row.entropy):>4}"
    )


def cell_lines(view: LensView, width: int) -> list[str]:
    column = view.column
    if not view.layers:
        return ["", ""]  # the grid says why
    if column is None or not column.rows:
        return [NO_CONTEXT if column else AWAITED, ""]
    row = column.rows[view.layer]
    layer, bits = f"layer {view.layer}", f"{notation.entropy(row.entropy)} bits"
    tops = [f"“{visible_token(c.text)}” {notation.chance(c.prob)}" for c in row.top]
    first = fit_best([[layer, *tops, bits], [layer, tops[0], bits]], width)
    if row.logprob is None:
        return [*first, "the end of the text"]
    named = f"next {view.quoted(view.index)} {notation.chance(math.exp(row.logprob))}"
    rank = f"rank {notation.rank(row.rank)}"
    return [*first, *fit_best([[named, rank], [rank]], width)]
