"""The probability panel: one next-token distribution, a row for each token.

Distributions are immutable values. The panel posts messages to request another page or
to report the row that was picked. Knows no engine and no screen.
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
from lmtui.tui.widgets.cells import clip, fit_best, pad_to
from lmtui.tui.widgets.styled_lines import STALE_AFTER, Line, Part, StyledLines

# Keys: upper left, upper right, lower left, lower right.
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
_REST = "rest"
_LEGEND = "  ▀raw ▄drawn  "  # aligned with the numbers below
_NARROW_LEGEND = "▀raw ▄drawn"
EMPTY = "What the model expects next will appear here, with its probabilities."
STALE_TITLE = "Before the last change"
"""The title of rows that are older than the text or the cursor beside them."""


@dataclass(frozen=True, slots=True)
class PanelRows:
    """The rows that are drawn, and the total probability of all other tokens."""

    candidates: tuple[Candidate, ...]
    rest_prob: float
    rest_sampled_prob: float | None
    """None where no sampler is involved, as for a scored text."""


def fit_rows(distribution: Distribution, count: int, *, first: int = 0) -> PanelRows:
    """Return `count` rows from row `first` on; all other rows are added to the rest."""
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
    """Return whether a sampler draws from it: false for a text that is only scored."""
    return all(row.sampled_prob is not None for row in distribution.candidates)


def bar(prob: float, sampled_prob: float | None, width: int) -> str:
    """Draw two bars in one line of quarter blocks, with a resolution of half a cell:
    above, the model's own probability; below, the one the sampler draws from."""
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


def summary_forms(distribution: Distribution) -> Sequence[Sequence[str]]:
    """Return the summary of the distribution in forms of decreasing length."""
    among = distribution.entropy_range or distribution.entropy
    entropy = f"entropy {notation.entropy(among)} bits"
    choices = notation.choices(among)
    spread = tuple((entropy, f"{name} {choices}") for name in notation.CHOICES)
    listed = () if distribution.listed is None else (f"{distribution.listed:,} listed",)
    if not distribution.is_certain:
        unknown = ("what is drawn is not known", "drawn: not known")
        return (
            *((words, *listed, *each) for words in unknown for each in spread),
            *((words, entropy) for words in unknown),
            (entropy,),
        )
    if not is_drawn_from(distribution):
        return (*((*listed, *each) for each in spread), (*listed, entropy), (entropy,))
    kept = f"kept {distribution.remaining:,}"
    mass = notation.percent(distribution.remaining_prob)
    whole = (f"{kept} of {distribution.vocabulary:,}", f"{mass} of mass")
    short = f"{kept}, {mass} of mass"
    return (
        *((*whole, *words) for words in spread),
        *((short, *words) for words in spread),
        (short, entropy),
        (kept, entropy),
        (entropy,),
    )


@dataclass(frozen=True, slots=True)
class PanelColumns:
    """Widths of the columns of a row, in cells."""

    token: int
    bar: int
    number: int
    drawn: bool = True
    """Whether there is a second number: the probability the sampler draws from."""

    @classmethod
    def of(cls, width: int, *, drawn: bool = True) -> PanelColumns:
        """Divide `width` cells: numbers first, then the token (two fifths of the room),
        then the bar. Below 32 cells the numbers are narrower."""
        number = 6 if width >= 32 or not drawn else 5
        # A mark at either end and four spaces; without a sampler, one mark and two
        # spaces.
        room = max(0, width - (2 * number + 6 if drawn else number + 3))
        token = min(room, max(7, min(22, room * 2 // 5)))
        return cls(token, room - token, number, drawn)


def title_line(title: str, width: int, *, legend: bool, paused: bool) -> list[Part]:
    """Return the title line with "paused" and, with `legend`, the legend of the two
    bars."""
    wide = PanelColumns.of(width).number >= 6
    explained = (_LEGEND if wide else _NARROW_LEGEND) if legend else ""
    forms = (f"‖ paused {explained}", "‖ paused", "‖") if paused else (explained,)
    room = width - cell_len(title) - 1
    right = next((text for text in forms if cell_len(text) <= room), "")
    if not right:
        return [(pad_to(title, width), "title")]
    left = pad_to(title, width - cell_len(right))
    return [(left, "title"), *_legend(right)]


def row_line(
    row: Candidate, columns: PanelColumns, *, chosen: bool, cursor: bool
) -> list[Part]:
    """Return the line of one token."""
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
    """Return a token's text in exactly `width` cells. Cached: the same tokens recur."""
    return pad_to(visible_token(text), width)


def rest_line(rows: PanelRows, columns: PanelColumns, *, chosen: bool) -> list[Part]:
    """Return the line of all tokens without a row; `chosen` if the chosen token is
    among them."""
    return [
        ("●" if chosen else " ", "chosen"),
        (pad_to(_REST, columns.token), "quiet"),
        (" ", "token"),
        *_bar_parts(rows.rest_prob, rows.rest_sampled_prob, columns),
    ]


def _legend(text: str) -> list[Part]:
    """Return the legend in the colours it explains."""
    before, upper, rest = text.partition("▀")
    between, lower, after = rest.partition("▄")
    return [
        (before, "chosen"), (upper, "raw"), (between, "quiet"), (lower, "sampled"),
        (after, "quiet"),
    ]  # fmt: skip


def _bar_parts(prob: float, sampled: float | None, columns: PanelColumns) -> list[Part]:
    """Return the bar and both numbers."""
    drawn = bar(prob, sampled, columns.bar)
    # As far as the sampled bar reaches, its colour covers that of the raw one.
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
    """Wrap a sentence to lines, with an empty line before it."""
    lines = [""]
    for word in message.split():
        longer = f"{lines[-1]} {word}".strip()
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(clip(word, width))
    return [[("", "quiet")], *([(line, "quiet")] for line in lines)]


class ProbabilityPanel(StyledLines, can_focus=True):
    """The distribution of the next token: raw and sampled probabilities, cut tokens,
    the chosen one."""

    HELP = """\
Each row is a token the model could choose. The upper half of the bar and the first
number are the model's own probability; the lower half and the second number are what
the sampler draws from. k, p, m and g mark the first stage that removed a token: top-k,
top-p, min-p or greedy decoding. min-p comes last and sees only what top-k and top-p
left, so a row with m can stand above one with p. ● marks the token that was chosen;
"rest" is all of the vocabulary without a row. 3e−7 is a probability below 0.05%.
"perplexity here" is the exponential of the entropy: the number of equally probable
tokens with the same entropy. A server may list only the most probable tokens: the
probability of the rest is exact even so, but the entropy is then one of a range. A
server that is only talked with may apply the sampler's stages in another order.
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
    """While paused, distributions of other positions are kept back until the pause
    ends."""

    @dataclass
    class PageRequested(Message):
        """Rows are requested that the panel does not have."""

        panel: ProbabilityPanel
        start: int
        count: int

    @dataclass
    class CandidatePicked(Message):
        """A row was picked, with Enter or the mouse."""

        panel: ProbabilityPanel
        candidate: Candidate
        by_mouse: bool = False

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
        """The distribution that is drawn now."""
        return self._distribution

    @property
    def chosen(self) -> int | None:
        """The id of the token that was chosen here, if one was."""
        return self._chosen

    @property
    def title(self) -> str:
        """The title: what the distribution belongs to."""
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
        """Draw a distribution; `chosen` is the id of the token that was chosen. While
        paused, a distribution with another handle is kept back, unless `same` says that
        it belongs to the same position. `again` says that the same position was
        requested with other settings or as another page, so that a stale panel stays
        stale."""
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
        """Mark the rows as outdated, except while paused, when the title says so
        already."""
        if not self.paused:
            super().outdate(after)

    def clear(self, message: str = EMPTY) -> None:
        """Show a message instead of a distribution: nothing yet, loading, an error."""
        self._distribution = self._pending = None
        self._message = visible_line(message)
        self._take_title()
        self.renew()
        self.refresh()

    def watch_paused(self, paused: bool) -> None:
        """Draw what was kept back when the pause ends."""
        if paused:
            return
        self._take_title()
        if self._pending is not None:
            (distribution, chosen), self._pending = self._pending, None
            self.show(distribution, chosen=chosen)

    def _take_title(self) -> None:
        """Show the title that a pause kept back."""
        self._title, self._pending_title = self._pending_title or self._title, None

    # Keys and mouse.

    def action_move(self, by: int) -> None:
        """Move the cursor; past the edge, request the page there."""
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
        """Show the page after the last row that is drawn, or the one before the
        first."""
        shown = self._distribution
        if shown is None:
            return
        drawn = min(self._height(), len(shown.candidates) - self._first)
        first = shown.start + self._first + (drawn if by > 0 else -self._height())
        if first < shown.known:
            self._go_to(max(0, first))

    def action_top(self) -> None:
        if self._distribution is None:
            return
        self._first = self._cursor = 0
        if self._distribution.start > 0:
            self._post_request(self._distribution, 0)
        self.refresh()

    def action_bottom(self) -> None:
        if self._distribution is not None:
            self._go_to(max(0, self._distribution.known - self._height()))

    def _go_to(self, first: int) -> None:
        """Draw the rows from rank `first` on; request them if the panel does not have
        them."""
        shown = self._distribution
        assert shown is not None
        last = min(first + self._height(), shown.known)
        if shown.start <= first and last <= shown.start + len(shown.candidates):
            self._first = self._cursor = first - shown.start
            self.refresh()
        elif first != shown.start:
            self._post_request(shown, first)

    def action_pick(self) -> None:
        self._pick()

    def _pick(self, *, by_mouse: bool = False) -> None:
        if self._distribution is None or not self._distribution.candidates:
            return
        if self._pending_title not in (None, self._title) or self._pending is not None:
            self.notify("The panel is paused at another token. F6 ends the pause.")
            return
        row = self._distribution.candidates[self._cursor]
        self.post_message(self.CandidatePicked(self, row, by_mouse))

    def on_click(self, event: events.Click) -> None:
        """Pick the row under the mouse."""
        place = event.get_content_offset(self)
        if self._distribution is None or place is None:
            return
        row = self._first + place.y - 1
        shown = min(self._first + self._height(), len(self._distribution.candidates))
        if self._first <= row < shown:
            self._cursor = row
            self._pick(by_mouse=True)
            self.refresh()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def _request(self, by: int) -> None:
        """Request the page beyond the edge, if there is one."""
        assert self._distribution is not None
        shown = self._distribution
        start = shown.start + (len(shown.candidates) if by > 0 else -self._height())
        start = max(0, start)
        if start < shown.known and start != shown.start:
            self._post_request(shown, start)

    def _post_request(self, shown: Distribution, start: int) -> None:
        count = max(self._height(), len(shown.candidates))
        self.post_message(self.PageRequested(self, start, count))

    def _follow(self) -> None:
        """Scroll so that the cursor is among the rows that are drawn."""
        lowest = self._cursor - self._height() + 1
        self._first = max(min(self._first, self._cursor), lowest)

    # Drawing.

    def _height(self) -> int:
        """Return how many token rows fit."""
        height = self.content_size.height
        return max(1, height - 2 - self._summary_room(height))

    @staticmethod
    def _summary_room(height: int) -> int:
        return 1 if height < 9 else 2

    def lines(self, width: int, height: int) -> list[Line]:
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
        """Return the title, with the rank of the first row unless that is 1. Where the
        rows are outdated, `STALE_TITLE`: the new title does not apply to them."""
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
        return [[(line, "quiet")] for line in fit_best(forms, width, lines=room)]
