"""A search field for tokens of the vocabulary, with their ranks.

Results are given to the widget; it posts what is typed and what is picked. Knows no
engine and no screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList

from lmtui.engine.types import RankedCandidate, TokenMatches
from lmtui.notation import likely
from lmtui.text import visible_token
from lmtui.tui.widgets.cells import pad_to
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.line_prompt import TextField
from lmtui.tui.widgets.plain_text import PlainLine, PlainText
from lmtui.tui.widgets.probability_panel import ProbabilityPanel

ASKING = "A part of a token: the ranks of all that have it come while you type."
NOTHING = "No token has this. Longer words are made of several."
_FOOT = "Enter takes it · Alt+X bans it"
_WIDE = 36  # width in cells from which the sampled probability is shown


class TokenFinder(Vertical):
    HELP = """\
Type a part of a token: exact matches come first, then tokens that begin with it, then
the others. Each is shown with its rank and probability. A capital letter makes the
search case-sensitive. Alt+X bans the marked token, or allows it again; Alt+Right and
Alt+Left add to its logit.
"""
    DEFAULT_CSS = """
    TokenFinder {
        display: none;
        height: 1fr;
        &.-open { display: block; }
        #finder-head { height: 1; text-style: bold; }
        #finder-words { width: 1fr; background: $panel; }
        #finder-words:focus { background: $panel; }
        #finder-note { height: auto; color: $quiet; }
        #finder-list { height: 1fr; }
        #finder-list > .option-list--option { padding: 0; }
        #finder-foot { height: 1; color: $quiet; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "go(1)", "Down", id="finder.down", show=False,
                tooltip="The token below."),
        Binding("up", "go(-1)", "Up", id="finder.up", show=False,
                tooltip="The token above."),
        Binding("alt+x", "bias(None)", "Ban", id="finder.ban",
                tooltip="Never draw this token, or allow it again."),
        Binding("alt+right", "bias(1)", "More often", id="finder.raise", show=False,
                tooltip="Add 1 to the token's logit."),
        Binding("alt+left", "bias(-1)", "Less often", id="finder.lower", show=False,
                tooltip="Subtract 1 from the token's logit."),
        Binding("escape", "close", "Close", id="finder.close",
                tooltip="Back to the panel."),
    ]  # fmt: skip

    @dataclass
    class Typed(Message):
        text: str

    @dataclass
    class TokenPicked(Message):
        ranked: RankedCandidate

    class FinderClosed(Message):
        """The user has closed the finder."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: tuple[RankedCandidate, ...] = ()

    def compose(self) -> ComposeResult:
        yield PlainLine("Find a token", id="finder-head")
        yield TextField(id="finder-words", placeholder="Paris")
        yield PlainText(ASKING, id="finder-note")
        yield DialogList(id="finder-list")
        yield PlainLine(_FOOT, id="finder-foot")

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    @property
    def text(self) -> str:
        return self._field.value

    @property
    def _field(self) -> Input:
        return self.query_one("#finder-words", Input)

    @property
    def _list(self) -> DialogList:
        return self.query_one(DialogList)

    def open(self) -> None:
        self.add_class("-open")
        self._list.can_focus = False  # the field keeps the focus
        # At once: what is typed next is for the field.
        self.screen.set_focus(self._field)
        self._field.action_select_all()
        self.post_message(self.Typed(self.text))

    def show(self, matches: TokenMatches) -> None:
        ids = [row.candidate.id for row in self.rows]
        same = ids == [row.candidate.id for row in matches.rows]
        self.rows, index = matches.rows, self._list.highlighted
        lines = rows_of(matches.rows, max(1, self.content_size.width - 1))
        self._list.clear_options()
        self._list.add_options(lines)
        if lines:
            self._list.highlighted = index if same and index is not None else 0
        shown = len(matches.rows)
        note = f"{matches.total:,} of {matches.vocabulary:,} tokens have this"
        if shown < matches.total:
            note += f"; the first {shown}"
        self._show_note(note if matches.total else NOTHING if self.text else ASKING)

    def show_message(self, message: str) -> None:
        self.rows = ()
        self._list.clear_options()
        self._show_note(message)

    def _show_note(self, note: str) -> None:
        self.query_one("#finder-note", PlainText).update(note)

    @on(Input.Changed)
    def post_typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(event.value))

    @property
    def _marked(self) -> RankedCandidate | None:
        index = self._list.highlighted
        return None if index is None else self.rows[index]

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def pick(self, event: Input.Submitted | OptionList.OptionSelected) -> None:
        event.stop()
        if (row := self._marked) is not None:
            self.action_close()
            self.post_message(self.TokenPicked(row))

    def action_go(self, by: int) -> None:
        if by > 0:
            self._list.action_cursor_down()
        else:
            self._list.action_cursor_up()

    def action_bias(self, by: float | None) -> None:
        """Add to the bias of the marked token; None bans it, or lifts the ban."""
        if (row := self._marked) is not None:
            self.post_message(ProbabilityPanel.BiasRequested(row.candidate, by))

    def action_close(self) -> None:
        self.remove_class("-open")
        self.post_message(self.FinderClosed())


def rows_of(rows: tuple[RankedCandidate, ...], width: int) -> list[Content]:
    ranks = [f"{row.rank:,}" for row in rows]
    first = max(map(len, ranks), default=0)
    is_wide = width >= _WIDE
    room = max(4, width - first - (18 if is_wide else 11))
    return [
        Content.assemble(
            (f"{rank:>{first}} ", "$quiet"),
            (pad_to(visible_token(row.candidate.text), room), "bold"),
            (f" {likely(row.candidate.prob):>6}", "$prob-raw"),
            (f" {likely(row.candidate.sampled_prob):>6}" if is_wide else "",
             "$prob-sampled"),
            (f" {row.candidate.cut or row.candidate.changed or ' '}", "$cut"),
        )
        for rank, row in zip(ranks, rows, strict=True)
    ]  # fmt: skip
