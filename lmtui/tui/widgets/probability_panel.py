"""The probability panel: one next-token distribution, a row for each token.

Distributions are immutable values. The panel posts messages to request another page or
to report the row that was picked. Knows no engine and no screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from lmtui.engine.types import Candidate, Distribution, ScoredToken, Step
from lmtui.text import visible_line
from lmtui.tui.widgets.cells import clip, fit_best
from lmtui.tui.widgets.panel_lines import (
    PanelColumns,
    control_cells,
    fit_rows,
    is_drawn_from,
    message_lines,
    rest_line,
    row_line,
    summary_forms,
    title_line,
)
from lmtui.tui.widgets.styled_lines import STALE_AFTER, Line, StyledLines

ChosenToken = Step | ScoredToken | Candidate | int | None
_LEGEND = 16  # cells of the legend of the two bars, where it is whole

EMPTY = "What the model expects next will appear here, with its probabilities."
AS_DRAWN, WITH_THESE = "as drawn", "with these settings"
"""Which settings the probabilities of the sampler are of: those that the token was
drawn with, or those that are set now."""
STALE_TITLE = "Out of date; reading…"
"""The title of rows that are older than the text or the cursor beside them."""


class ProbabilityPanel(StyledLines, can_focus=True):
    FOCUS_NAME = "panel"
    HELP = """\
Each row is a token the model could choose. The upper half of the bar and the first
number are the model's own probability; the lower half and the second number are what
the sampler draws from. A letter marks the first stage that removed a token: b a ban, s
the grammar, n top-nσ, k top-k, t typical-p, p top-p, m min-p, x XTC, g greedy decoding.
A stage sees only what those before it left, so a row with m can stand above one with p.
Where the token can be drawn, a letter marks what changed its logit: r the penalties, d
DRY, b a bias. ● marks the token that was chosen, whose row is the last one where it is
none of the others; "rest" is all of the vocabulary without a row. The title says
whether the second numbers are those "as drawn", or what would be drawn "with these
settings". 1/20k is a probability of 1 in 20,000.
x bans the token of a row, or allows it again; + and - add to its logit. F4 shows the
chain of the sampler, and what each stage did here.
"perplexity here" is the exponential of the entropy: at 20, the model is as unsure as
between 20 equally probable tokens. A server may list only the most probable tokens: the
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
        Binding("x", "bias(None)", "Ban", id="panel.ban",
                tooltip="Never draw this token, or allow it again"),
        Binding("plus", "bias(1)", "More often", id="panel.raise",
                tooltip="Add 1 to the token's logit"),
        Binding("minus", "bias(-1)", "Less often", id="panel.lower",
                tooltip="Subtract 1 from the token's logit"),
    ]  # fmt: skip

    PREFIX = "panel--"

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

    after: reactive[str] = reactive("")
    """The stage of the sampler after which the distribution is shown; empty for the
    whole chain."""
    paused: reactive[bool] = reactive(False)
    """While paused, distributions of other positions are kept back until the pause
    ends."""

    @dataclass
    class PageRequested(Message):
        panel: ProbabilityPanel
        start: int
        count: int

    @dataclass
    class DistributionShown(Message):
        """The distribution of another position is shown."""

        panel: ProbabilityPanel

    @dataclass
    class CandidatePicked(Message):
        candidate: Candidate

    @dataclass
    class BiasRequested(Message):
        """The user bans the token of a row, or changes its bias."""

        candidate: Candidate
        by: float | None
        """Amount to add to its bias; None bans it, or lifts the ban."""

    picks: bool = False
    """Whether tokens can be taken, banned and biased here."""

    def __init__(self, *, title: str = "Next token", id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = visible_line(title)
        self._message = EMPTY
        self._distribution: Distribution | None = None
        self._chosen: int | None = None
        self._chosen_row: Candidate | None = None
        self._drawn_with = ""
        self._pending: tuple[Distribution, ChosenToken, str] | None = None
        self._pending_title: str | None = None
        self._first = 0
        self._cursor = 0

    @property
    def distribution(self) -> Distribution | None:
        return self._distribution

    @property
    def chosen(self) -> int | None:
        return self._chosen

    @property
    def drawn(self) -> str:
        """With which settings it is drawn from: `AS_DRAWN`, `WITH_THESE` or ""."""
        return self._drawn_with

    @property
    def title(self) -> str:
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
        chosen: ChosenToken = None,
        drawn: str = "",
        same: bool = False,
        again: bool = False,
    ) -> None:
        """Draw a distribution; `chosen` is the token that was chosen, or its id, and
        `drawn` says with which settings it is drawn from, where one has to ask. While
        paused, a distribution with another handle is kept back, unless `same` says that
        it belongs to the same position. `again` says that the same position was
        requested with other settings or as another page, so that a stale panel stays
        stale."""
        old = self._distribution
        is_other = not same and old is not None and old.handle != distribution.handle
        if self.paused and is_other:
            self._pending = (distribution, chosen, drawn)
            return
        if not again:
            self.renew()
        position = (distribution.handle, distribution.start)
        is_new_position = old is None or position != (old.handle, old.start)
        if is_new_position and not same:
            self._first = self._cursor = 0
        self._set_chosen(distribution, chosen, again=again)
        self._distribution, self._drawn_with = distribution, drawn
        if old is None or old.handle != distribution.handle:
            self.after = ""
            self.post_message(self.DistributionShown(self))
        self._cursor = min(self._cursor, max(0, len(distribution.candidates) - 1))
        self.refresh()

    def _set_chosen(
        self, distribution: Distribution, chosen: ChosenToken, *, again: bool
    ) -> None:
        """Keep the row of the chosen token, which need not be among the candidates;
        what the sampler would do with it is then known only where it was drawn."""
        old_row = self._chosen_row
        id_ = chosen if isinstance(chosen, int | None) else chosen.id
        self._chosen = id_
        rows = (row for row in distribution.candidates if row.id == id_)
        row = next(rows, None)
        if row is None and isinstance(chosen, Candidate):
            row = chosen
        elif row is None and isinstance(chosen, Step | ScoredToken):
            sampled = chosen.sampled_prob if isinstance(chosen, Step) else None
            if chosen.logprob is not None:
                row = Candidate(
                    chosen.id, chosen.text, chosen.bytes, chosen.logprob, sampled
                )
        elif row is None and again and old_row is not None and old_row.id == id_:
            row = old_row._replace(sampled_prob=None, cut=None, changed=None)
        self._chosen_row = row

    def outdate(self, after: float = STALE_AFTER) -> None:
        """Mark the rows as outdated, except while paused, when the title says so
        already."""
        if not self.paused:
            super().outdate(after)

    def clear(self, message: str = EMPTY) -> None:
        self._distribution = self._pending = None
        self._message = visible_line(message)
        self._apply_pending_title()
        self.renew()
        self.refresh()

    def watch_paused(self, paused: bool) -> None:
        if paused:
            return
        self._apply_pending_title()
        if self._pending is not None:
            (distribution, chosen, drawn), self._pending = self._pending, None
            self.show(distribution, chosen=chosen, drawn=drawn)

    def _apply_pending_title(self) -> None:
        self._title, self._pending_title = self._pending_title or self._title, None

    # Keys and mouse.

    def action_move(self, by: int) -> None:
        if self._distribution is None:
            return
        target = self._cursor + by
        if 0 <= target < len(self._distribution.candidates):
            self._cursor = target
            self._scroll_to_cursor()
            self.refresh()
        else:
            self._request(by)

    def action_page(self, by: int) -> None:
        distribution = self._distribution
        if distribution is None:
            return
        drawn_rows = min(self._row_count(), len(distribution.candidates) - self._first)
        step = drawn_rows if by > 0 else -self._row_count()
        first = distribution.start + self._first + step
        if first < distribution.known:
            self._show_from(max(0, first))

    def action_top(self) -> None:
        if self._distribution is None:
            return
        self._first = self._cursor = 0
        if self._distribution.start > 0:
            self._post_request(self._distribution, 0)
        self.refresh()

    def action_bottom(self) -> None:
        if self._distribution is not None:
            self._show_from(max(0, self._distribution.known - self._row_count()))

    def _show_from(self, first: int) -> None:
        distribution = self._distribution
        assert distribution is not None
        last = min(first + self._row_count(), distribution.known)
        end = distribution.start + len(distribution.candidates)
        if distribution.start <= first and last <= end:
            self._first = self._cursor = first - distribution.start
            self.refresh()
        elif first != distribution.start:
            self._post_request(distribution, first)

    def action_pick(self) -> None:
        if self._distribution is None or not self._distribution.candidates:
            return
        if self._pending_title not in (None, self._title) or self._pending is not None:
            self.notify("The panel is paused at another token. F6 ends the pause.")
            return
        row = self._distribution.candidates[self._cursor]
        self.post_message(self.CandidatePicked(row))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("pick", "bias"):
            return self.picks
        return super().check_action(action, parameters)

    def action_bias(self, by: float | None) -> None:
        """Add to the bias of the marked token; None bans it, or lifts the ban."""
        if self._distribution is not None and self._distribution.candidates:
            row = self._distribution.candidates[self._cursor]
            self.post_message(self.BiasRequested(row, by))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if self._distribution is None or offset is None:
            return
        row = self._first + offset.y - 1
        end = min(self._first + self._row_count(), len(self._distribution.candidates))
        if self._first <= row < end:
            self._cursor = row
            if self.picks:
                self.action_pick()
            self.refresh()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def _request(self, by: int) -> None:
        assert self._distribution is not None
        distribution = self._distribution
        step = len(distribution.candidates) if by > 0 else -self._row_count()
        start = max(0, distribution.start + step)
        if start < distribution.known and start != distribution.start:
            self._post_request(distribution, start)

    def _post_request(self, distribution: Distribution, start: int) -> None:
        count = max(self._row_count(), len(distribution.candidates))
        self.post_message(self.PageRequested(self, start, count))

    def _scroll_to_cursor(self) -> None:
        for _ in range(2):  # scrolling may move the chosen token to the last row
            lowest = self._cursor - self._row_count() + 1
            self._first = max(min(self._first, self._cursor), lowest)

    # Drawing.

    def _row_count(self) -> int:
        height = self.content_size.height
        rows = max(1, height - 2 - self._summary_room(height))
        return max(1, rows - 1) if self._last_row(rows) else rows

    def _last_row(self, rows: int) -> Candidate | None:
        """Return the row of the chosen token where it is none of the first `rows` that
        are drawn, and there is room for it."""
        candidates = self._distribution.candidates if self._distribution else ()
        ids = {row.id for row in candidates[self._first : self._first + rows]}
        row = self._chosen_row
        return row if row is not None and rows > 1 and row.id not in ids else None

    @staticmethod
    def _summary_room(height: int) -> int:
        return 1 if height < 9 else 2

    def lines(self, width: int, height: int) -> list[Line]:
        distribution = self._distribution
        legend = distribution is not None and is_drawn_from(distribution)
        title = self._title_with_rank(width)
        if self._drawn_with and distribution is not None and title == self._title:
            longer = f"{title}, {self._drawn_with}"
            if cell_len(longer) > width:
                longer = longer.replace(", with these", ", these")
            # What was drawn is what the legend means, too: it may do without the words.
            if self._drawn_with != AS_DRAWN or cell_len(longer) + _LEGEND <= width:
                title = longer
        lines: list[Line] = [
            title_line(title, width, legend=legend, paused=self.paused)
        ]
        if self._distribution is None:
            lines += message_lines(self._message, width)
        else:
            lines += self._rows(self._distribution, width)
            lines += self._summary(self._distribution, width, height)
        return lines

    def _title_with_rank(self, width: int) -> str:
        """Return the title, with the rank of the first row unless that is 1, which is
        seen also where the title is cut to `width` cells. Where the
        rows are outdated, `STALE_TITLE`: the new title does not apply to them."""
        start = self._distribution.start if self._distribution else 0
        rank = start + self._first + 1
        title = STALE_TITLE if self.stale and self._distribution else self._title
        if self.after and self._distribution:
            title = f"After {self.after}"
        if rank == 1:
            return title
        end = f" from {rank:,}"
        return clip(title, max(0, width - len(end))) + end

    def _rows(self, distribution: Distribution, width: int) -> list[Line]:
        count = self._row_count()
        last = self._last_row(count)
        rows = fit_rows(distribution, count, first=self._first, last=last)
        name_cells = control_cells(rows.candidates)
        drawn = is_drawn_from(distribution)
        columns = PanelColumns.of(width, drawn=drawn, whole=name_cells)
        cursor = self._cursor - self._first if self.has_focus else -1
        row_lines = [
            row_line(
                row,
                columns,
                chosen=row.id == self._chosen,
                cursor=index == cursor and row is not last,
            )
            for index, row in enumerate(rows.candidates)
        ]
        is_listed = self._chosen in {row.id for row in rows.candidates}
        is_hidden = self._chosen is not None and not is_listed
        return [*row_lines, rest_line(rows, columns, chosen=is_hidden)]

    def _summary(
        self, distribution: Distribution, width: int, height: int
    ) -> list[Line]:
        room = self._summary_room(height)
        forms = summary_forms(distribution)
        return [[(line, "quiet")] for line in fit_best(forms, width, lines=room)]
