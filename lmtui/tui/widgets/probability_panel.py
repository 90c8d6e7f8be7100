"""The panel: one distribution, a row a token, drawn in one go.

Owns what is shown, the cursor and whether it is paused. A distribution is a value;
the panel asks for another page or tells which row was picked, by messages. Knows no
engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from lmtui import notation
from lmtui.engine.types import Candidate, Distribution
from lmtui.notation import likely
from lmtui.text import visible_line, visible_token
from lmtui.tui.widgets.cells import clip, fit, pack_best
from lmtui.tui.widgets.styled_lines import STALE_AFTER, Line, Part, StyledLines


@dataclass(frozen=True, slots=True)
class PanelRows:
    """The rows that are drawn, and the mass of all tokens that are not."""

    candidates: tuple[Candidate, ...]
    rest_prob: float
    rest_sampled_prob: float | None
    """None where nothing is drawn from, as for a scored text."""


def fit_rows(distribution: Distribution, count: int, *, first: int = 0) -> PanelRows:
    """`count` rows from row `first` on; the others' mass goes into the rest."""
    rows = distribution.candidates
    shown = rows[first : first + max(0, count)]
    hidden = (*rows[:first], *rows[first + len(shown) :])
    sampled = [row.sampled_prob for row in hidden]
    rest = math.fsum([distribution.rest_prob, *(row.prob for row in hidden)])
    rest_sampled = math.fsum(
        [distribution.rest_sampled_prob, *(prob for prob in sampled if prob)]
    )
    return PanelRows(
        candidates=shown,
        rest_prob=max(0.0, rest),
        rest_sampled_prob=max(0.0, rest_sampled)
        if is_drawn_from(distribution)
        else None,
    )


def is_drawn_from(distribution: Distribution) -> bool:
    """Whether a sampler draws from it; not where a text is only read."""
    return all(row.sampled_prob is not None for row in distribution.candidates)


def bar(prob: float, sampled_prob: float | None, width: int) -> str:
    """Two bars in one line of quarter blocks, half a cell exact: above, the model's
    own probability; below, the one drawn from."""
    above = _halves(prob, width)
    below = _halves(prob if sampled_prob is None else sampled_prob, width)
    full, end = min(above, below) // 2, (max(above, below) + 1) // 2
    between = "".join(
        _QUARTERS[above > 2 * cell, above > 2 * cell + 1,
                  below > 2 * cell, below > 2 * cell + 1]
        for cell in range(full, end)
    )  # fmt: skip
    return "█" * full + between + " " * (width - end)


def _halves(prob: float, width: int) -> int:
    if not math.isfinite(prob):
        return 0
    return round(2 * width * min(1.0, max(0.0, prob)))


# Left and right above, left and right below.
_QUARTERS = {
    (False, False, False, False): " ",
    (True, False, False, False): "▘",
    (True, True, False, False): "▀",
    (False, False, True, False): "▖",
    (False, False, True, True): "▄",
    (True, False, True, False): "▌",
    (True, True, True, False): "▛",
    (True, False, True, True): "▙",
    (True, True, True, True): "█",
}


def summary_forms(distribution: Distribution) -> Sequence[Sequence[str]]:
    """The sentence about the whole distribution, ever shorter, never different."""
    entropy = f"entropy {notation.entropy(distribution.entropy)} bits"
    choices = notation.choices(distribution.entropy)
    spread = tuple((entropy, f"{name} {choices}") for name in notation.CHOICES)
    if not is_drawn_from(distribution):
        return (*spread, (entropy,))
    kept = f"kept {distribution.kept:,}"
    mass = notation.percent(distribution.kept_prob)
    whole = (f"{kept} of {distribution.vocabulary:,}", f"{mass} of mass")
    short = f"{kept}, {mass} of mass"
    return (
        *((*whole, *words) for words in spread),
        *((short, *words) for words in spread),
        (short, entropy),
        (kept, entropy),
        (entropy,),
    )


_REST = "rest"
_LEGEND = "  ▀raw ▄drawn  "  # stands exactly above the numbers
_NARROW_LEGEND = "▀raw ▄drawn"


@dataclass(frozen=True, slots=True)
class PanelColumns:
    """Where things stand on a line of a given width."""

    token: int
    bar: int
    number: int
    drawn: bool = True
    """Whether there is a second number: of what the sampler draws from."""

    @classmethod
    def of(cls, width: int, *, drawn: bool = True) -> PanelColumns:
        """Narrow: numbers close together, and a bar of what is left."""
        number = 6 if width >= 32 or not drawn else 5
        # A mark at either end and four spaces; a mark and two spaces without a sampler.
        room = max(0, width - (2 * number + 6 if drawn else number + 3))
        token = min(room, max(7, min(22, room * 2 // 5)))
        return cls(token, room - token, number, drawn)


def title_line(title: str, width: int, *, legend: bool, paused: bool) -> list[Part]:
    """The title, whether it is paused, and, with a legend, what the two bars are."""
    wide = PanelColumns.of(width).number >= 6
    explained = (_LEGEND if wide else _NARROW_LEGEND) if legend else ""
    forms = (f"‖ paused {explained}", "‖ paused", "‖") if paused else (explained,)
    room = width - cell_len(title) - 1
    right = next((text for text in forms if cell_len(text) <= room), "")
    if not right:
        return [(fit(title, width), "title")]
    left = fit(title, width - cell_len(right))
    return [(left, "title"), *_legend(right)]


def row_line(
    row: Candidate, columns: PanelColumns, *, chosen: bool, cursor: bool
) -> list[Part]:
    """One token."""
    style = "chosen" if chosen else "quiet" if row.cut else "token"
    return [
        ("●" if chosen else " ", "chosen"),
        (_token(row.text, columns.token), "cursor" if cursor else style),
        (" ", "token"),
        *_bar_parts(row.prob, row.sampled_prob, columns),
        (f" {row.cut or ' '}" if columns.drawn else "", "cut"),
    ]


@lru_cache(maxsize=4096)
def _token(text: str, width: int) -> str:
    """The text of a token in so many cells; the same ones come again and again."""
    return fit(visible_token(text), width)


def rest_line(rows: PanelRows, columns: PanelColumns, *, chosen: bool) -> list[Part]:
    """All tokens that have no row; `chosen` where the chosen one is among them."""
    return [
        ("●" if chosen else " ", "chosen"),
        (fit(_REST, columns.token), "quiet"),
        (" ", "token"),
        *_bar_parts(rows.rest_prob, rows.rest_sampled_prob, columns),
    ]


def _legend(text: str) -> list[Part]:
    """The legend in the colours that it explains."""
    before, upper, rest = text.partition("▀")
    between, lower, after = rest.partition("▄")
    return [
        (before, "chosen"), (upper, "raw"), (between, "quiet"), (lower, "sampled"),
        (after, "quiet"),
    ]  # fmt: skip


def _bar_parts(prob: float, sampled: float | None, columns: PanelColumns) -> list[Part]:
    """The bar and both numbers."""
    drawn = bar(prob, sampled, columns.bar)
    # Where the sampled bar reaches it lies over the raw one, in its own colour.
    over = len(drawn.rstrip(" ▀▘")) if sampled is not None else 0
    raw = likely(prob, width=columns.number)
    drawn_from = likely(sampled, width=columns.number)
    return [
        (drawn[:over], "sampled"),
        (drawn[over:] + " ", "raw"),
        (raw.rjust(columns.number) + (" " if columns.drawn else ""), "raw"),
        (drawn_from.rjust(columns.number) if columns.drawn else "", "sampled"),
    ]


def message_lines(message: str, width: int) -> list[list[Part]]:
    """A sentence, broken between words."""
    lines = [""]
    for word in message.split():
        longer = f"{lines[-1]} {word}".strip()
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(clip(word, width))
    return [[("", "quiet")], *([(line, "quiet")] for line in lines)]


EMPTY = "What the model expects next will appear here, with its probabilities."
STALE_TITLE = "Before the last change"
"""What rows belong to that are older than the text or the place they stand beside."""


class ProbabilityPanel(StyledLines, can_focus=True):
    """The next token's distribution: raw and sampled, cut and chosen."""

    HELP = """\
Each row is a token the model could choose. The upper half of the bar and the first
number are the model's own probability; the lower half and the second number are what
the sampler draws from. k, p, m and g mark the first stage that removed a token: top-k,
top-p, min-p or greedy decoding. min-p comes last and sees only what top-k and top-p
left, so a row with m can stand above one with p. ● marks the token that was chosen;
"rest" is all of the vocabulary that has no row. 3e−7 is a probability below 0.05%.
"perplexity here" is the exponential of the entropy: as many equally probable tokens
would leave the model as unsure.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Row up", id="panel.up", show=False,
                tooltip="The row above, or the page before"),
        Binding("down", "move(1)", "Row down", id="panel.down", show=False,
                tooltip="The row below, or the next page"),
        Binding("pageup", "page(-1)", "Page up", id="panel.page-up", show=False,
                tooltip="More probable tokens"),
        Binding("pagedown", "page(1)", "Page down", id="panel.page-down", show=False,
                tooltip="Less probable tokens"),
        Binding("home", "top", "Top", id="panel.top", show=False,
                tooltip="Back to the most probable token"),
        Binding("end", "bottom", "Bottom", id="panel.bottom", show=False,
                tooltip="To the least probable tokens"),
        Binding("enter", "pick", "Pick", id="panel.pick",
                tooltip="Take this token"),
    ]  # fmt: skip

    PREFIX = "panel--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"panel--{name}"
        for name in ("title", "quiet", "token", "raw", "sampled", "chosen", "cut",
                     "cursor")
    }  # fmt: skip

    DEFAULT_CSS = """
    ProbabilityPanel {
        height: 1fr;
        min-height: 4;
        color: $foreground;
    }
    ProbabilityPanel > .panel--title { color: $foreground; text-style: bold; }
    ProbabilityPanel > .panel--quiet { color: $quiet; }
    ProbabilityPanel > .panel--token { color: $foreground; }
    ProbabilityPanel > .panel--raw { color: $prob-raw; }
    ProbabilityPanel > .panel--sampled { color: $prob-sampled; }
    ProbabilityPanel > .panel--chosen { color: $prob-chosen; text-style: bold; }
    ProbabilityPanel > .panel--cut { color: $cut; }
    ProbabilityPanel > .panel--cursor {
        color: $background;
        background: $accent;
        text-style: bold;
    }
    """

    paused: reactive[bool] = reactive(False)
    """While paused, what arrives is kept and drawn when the pause ends."""

    @dataclass
    class PageRequested(Message):
        """Rows that the panel does not have were asked for."""

        handle: int
        start: int
        count: int

    @dataclass
    class CandidatePicked(Message):
        """A row was picked, by Enter or by the mouse."""

        handle: int
        candidate: Candidate

    def __init__(
        self, *, title: str = "Next token", id: str | None = None, classes: str = ""
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._title = visible_line(title)
        self._message = EMPTY
        self._distribution: Distribution | None = None
        self._chosen: int | None = None
        self._pending: tuple[Distribution, int | None] | None = None
        self._pending_title: str | None = None
        self._first = 0
        self._cursor = 0

    @property
    def distribution(self) -> Distribution | None:
        """What is drawn now."""
        return self._distribution

    @property
    def chosen(self) -> int | None:
        """The id of the token that was drawn here, if one was."""
        return self._chosen

    @property
    def title(self) -> str:
        """What the distribution belongs to."""
        return self._title

    @title.setter
    def title(self, title: str) -> None:
        if self.paused and self._distribution is not None:
            self._pending_title = visible_line(title)
            return
        self._title = visible_line(title)
        self.refresh()

    def show(
        self,
        distribution: Distribution,
        *,
        chosen: int | None = None,
        same: bool = False,
        again: bool = False,
    ) -> None:
        """Draw this distribution; `chosen` is the id of the token that was drawn. A
        pause holds back other positions, not other settings or pages of this one; nor
        the same position under another handle, which `same` says it is. `again` says
        that other settings or another page were asked for, which makes it no newer."""
        before = self._distribution
        held = not same and before is not None and before.handle != distribution.handle
        if self.paused and held:
            self._pending = (distribution, chosen)
            return
        if not again:
            self.renew()
        place = (distribution.handle, distribution.start)
        moved = before is None or place != (before.handle, before.start)
        if moved and not same:
            self._first = self._cursor = 0
        self._distribution, self._chosen = distribution, chosen
        self._cursor = min(self._cursor, max(0, len(distribution.candidates) - 1))
        self.refresh()

    def outdate(self, after: float = STALE_AFTER) -> None:
        """As every widget of lines; a panel that is held still says so already."""
        if not self.paused:
            super().outdate(after)

    def clear(self, message: str = EMPTY) -> None:
        """Draw no distribution but this sentence: nothing yet, loading, an error."""
        self._distribution = self._pending = None
        self._message = visible_line(message)
        self._take_title()
        self.renew()
        self.refresh()

    def watch_paused(self, paused: bool) -> None:
        """Catch up when the pause ends."""
        if paused:
            return
        self._take_title()
        if self._pending is not None:
            (distribution, chosen), self._pending = self._pending, None
            self.show(distribution, chosen=chosen)

    def _take_title(self) -> None:
        """The title that a pause has held back."""
        self._title, self._pending_title = self._pending_title or self._title, None

    # Keys and mouse.

    def action_move(self, by: int) -> None:
        """Move the cursor; past the edge, ask for the page there."""
        if self._distribution is None:
            return
        moved = self._cursor + by
        if 0 <= moved < len(self._distribution.candidates):
            self._cursor = moved
            self._follow()
            self.refresh()
        else:
            self._request(by)

    def action_page(self, by: int) -> None:
        """Draw the rows after the last one that is drawn, or those before the first."""
        shown = self._distribution
        if shown is None:
            return
        drawn = min(self._height(), len(shown.candidates) - self._first)
        first = shown.start + self._first + (drawn if by > 0 else -self._height())
        if first < shown.vocabulary:
            self._go_to(max(0, first))

    def action_top(self) -> None:
        """Back to the most probable token."""
        if self._distribution is None:
            return
        self._first = self._cursor = 0
        if self._distribution.start > 0:
            self._post_request(self._distribution, 0)
        self.refresh()

    def action_bottom(self) -> None:
        """To the least probable tokens."""
        if self._distribution is not None:
            self._go_to(max(0, self._distribution.vocabulary - self._height()))

    def _go_to(self, first: int) -> None:
        """Draw the rows from this place of the ranking on; ask for what is not here."""
        shown = self._distribution
        assert shown is not None
        last = min(first + self._height(), shown.vocabulary)
        if shown.start <= first and last <= shown.start + len(shown.candidates):
            self._first = self._cursor = first - shown.start
            self.refresh()
        elif first != shown.start:
            self._post_request(shown, first)

    def action_pick(self) -> None:
        """Tell which row the cursor is on."""
        if self._distribution is None or not self._distribution.candidates:
            return
        row = self._distribution.candidates[self._cursor]
        self.post_message(self.CandidatePicked(self._distribution.handle, row))

    def on_click(self, event: events.Click) -> None:
        """Pick the row under the mouse."""
        place = event.get_content_offset(self)
        if self._distribution is None or place is None:
            return
        row = self._first + place.y - 1
        shown = min(self._first + self._height(), len(self._distribution.candidates))
        if self._first <= row < shown:
            self._cursor = row
            self.action_pick()
            self.refresh()

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.refresh()

    def _request(self, by: int) -> None:
        """Ask for the rows beyond the edge, if there are any."""
        assert self._distribution is not None
        shown = self._distribution
        start = shown.start + (len(shown.candidates) if by > 0 else -self._height())
        start = max(0, start)
        if start < shown.vocabulary and start != shown.start:
            self._post_request(shown, start)

    def _post_request(self, shown: Distribution, start: int) -> None:
        count = max(self._height(), len(shown.candidates))
        self.post_message(self.PageRequested(shown.handle, start, count))

    def _follow(self) -> None:
        """Keep the cursor among the rows that are drawn."""
        lowest = self._cursor - self._height() + 1
        self._first = max(min(self._first, self._cursor), lowest)

    # Drawing.

    def _height(self) -> int:
        """How many tokens can be drawn."""
        height = self.content_size.height
        return max(1, height - 2 - self._summary_room(height))

    @staticmethod
    def _summary_room(height: int) -> int:
        return 1 if height < 9 else 2

    def lines(self, width: int, height: int) -> list[Line]:
        """Title, rows, the rest, summary."""
        shown = self._distribution
        legend = shown is not None and is_drawn_from(shown)
        title = self._title_with_rank()
        lines: list[Line] = [
            title_line(title, width, legend=legend, paused=self.paused)
        ]
        if self._distribution is None:
            lines += message_lines(self._message, width)
        else:
            lines += self._rows(self._distribution, width)
            lines += self._summary(self._distribution, width, height)
        return lines

    def _title_with_rank(self) -> str:
        """The title, and where the rows begin once they are not the first. That of the
        place before says nothing of this one."""
        start = self._distribution.start if self._distribution else 0
        rank = start + self._first + 1
        title = STALE_TITLE if self.stale and self._distribution else self._title
        return title if rank == 1 else f"{title} from {rank:,}"

    def _rows(self, distribution: Distribution, width: int) -> list[Line]:
        columns = PanelColumns.of(width, drawn=is_drawn_from(distribution))
        rows = fit_rows(distribution, self._height(), first=self._first)
        cursor = self._cursor - self._first if self.has_focus else -1
        drawn = [
            row_line(
                row, columns, chosen=row.id == self._chosen, cursor=index == cursor
            )
            for index, row in enumerate(rows.candidates)
        ]
        listed = self._chosen in {row.id for row in rows.candidates}
        hidden = self._chosen is not None and not listed
        return [*drawn, rest_line(rows, columns, chosen=hidden)]

    def _summary(
        self, distribution: Distribution, width: int, height: int
    ) -> list[Line]:
        room = self._summary_room(height)
        forms = summary_forms(distribution)
        return [[(line, "quiet")] for line in pack_best(forms, width, lines=room)]
