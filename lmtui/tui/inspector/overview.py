"""The overview of a text: its totals and its most surprising tokens.

Returns the token to go to. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList

from lmtui import notation
from lmtui.analysis.branches import Token
from lmtui.analysis.summary import Totals, figures
from lmtui.text import bytes_text, visible_token
from lmtui.tui.widgets.cells import clip, pad_to
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.plain_text import PlainLine, PlainText

_FOOT = "Enter goes to a token · Tab to the figures, which scroll · Esc closes"
_SURPRISES = "Most surprising: token, bits, rank"
_EMPTY = "No token has been scored."
_AFTER = 40  # cells of the text behind a token
_NAMED = 12  # most cells of a token's name


class OverviewScreen(ModalScreen[int | None]):
    """The overview of a text. Returns the index of the token to go to."""

    HELP = """\
The totals of the text, and its most surprising tokens. Right at once: how often the
token in the text was the model's first choice. Min-K%, Min-K%++ and bits/zlib bit hint
at a text that the model was trained on, beside those of similar texts; they are no
proof, since common phrases look known.
"""
    CSS_PATH = "overview.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="overview.close",
                tooltip="Back to the text."),
    ]  # fmt: skip

    def __init__(self, name: str, tokens: Sequence[Token], totals: Totals) -> None:
        super().__init__()
        self._text_name, self._tokens, self._totals = name, tokens, totals

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield PlainLine(id="title")
            with Horizontal(id="page"):
                with VerticalScroll(id="figures"):
                    yield PlainText(id="totals")
                with Vertical(id="surprises"):
                    yield PlainLine(id="heading")
                    yield DialogList(id="list")
            yield PlainLine(_FOOT, id="foot")

    def on_mount(self) -> None:
        self._show()
        self.query_one("#list").focus()

    def show(self, tokens: Sequence[Token], totals: Totals) -> None:
        self._tokens, self._totals = tokens, totals
        self.call_later(self._show)  # after the widgets are mounted

    @property
    def _surprises(self) -> list[int]:
        return [token.index for token, _ in self._totals.worst()]

    def _show(self) -> None:
        title = f"Overview of {self._text_name}"
        if (read := self._totals.tokens) < len(self._tokens):
            counts = f"{read:,} of {len(self._tokens):,}"
            title += f", as far as it is read: {counts} tokens"
        self.query_one("#title", PlainLine).update(title)
        self.query_one("#totals", PlainText).update(table_of(self._totals))
        surprises, rows = self._surprises, self.query_one("#list", DialogList)
        heading = _SURPRISES if surprises else _EMPTY
        self.query_one("#heading", PlainLine).update(heading)
        old_index = rows.highlighted or 0
        rows.set_options(rows_of(self._tokens, surprises))
        if surprises:
            rows.highlighted = min(old_index, len(surprises) - 1)

    @on(OptionList.OptionSelected)
    def return_token(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._surprises[event.option_index])


def table_of(totals: Totals) -> Content:
    known = figures(totals)
    names, values = (max(map(cell_len, column)) for column in (known, known.values()))
    lines = [
        Content.assemble((f"{name:<{names}} ", "$quiet"), f"{value:>{values}}")
        for name, value in known.items()
    ]
    return Content("\n").join(lines)


def _text_after(tokens: Sequence[Token], index: int) -> str:
    after = bytes_text(b"".join(token.bytes for token in tokens[index : index + 11]))
    return clip(after.replace("\n", "⏎"), _AFTER)


def rows_of(tokens: Sequence[Token], indexes: Sequence[int]) -> list[Content]:
    chosen = [tokens[index] for index in indexes]
    names = [clip(visible_token(token.text), _NAMED) for token in chosen]
    ranks = [notation.rank(token.rank) for token in chosen]
    width, rank_width = (max(map(cell_len, all_), default=0) for all_ in (names, ranks))
    last = len(f"{max(indexes, default=0) + 1:,}")
    lines = []
    for index, token, name, rank in zip(indexes, chosen, names, ranks, strict=True):
        lines.append(
            Content.assemble(
                (f"{index + 1:>{last},} ", "$quiet"),
                f"{notation.surprisal(token.logprob):>5} ",
                (f"{rank:>{rank_width}} ", "$quiet"),
                (pad_to(name, width), "bold"),
                (" " + _text_after(tokens, index + 1), "$quiet"),
            )
        )
    return lines
