"""What could stand at a place instead, and where each of it would lead.

Owns the list. Where the tokens lead comes later than the screen: the model is asked
meanwhile, and a token can be taken before it has answered. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui.engine.types import Candidate, ScoredToken
from lmtui.errors import LmtuiError
from lmtui.notation import NONE, percent, surprisal
from lmtui.text import visible_line, visible_token
from lmtui.tui.widgets.cells import clip, fit
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.token_layout import pieces_of

_FOOT = "Enter goes on from there · Esc leaves the text as it is"
_WIDEST = 20  # cells of a token
_AHEAD = 120
_COST = "surprisal"


class AlternativesScreen(ModalScreen[Candidate | None]):
    """A token to a line, the most probable first. Answers the one to go on from."""

    HELP = """\
Each token stands with its own probability, how the model would go on after it if it
always took the most probable token, and the surprisal of that whole way. ● marks what
is in the text now.
"""
    CSS_PATH = "alternatives.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="alternatives.close",
                tooltip="Leave the text as it is."),
    ]  # fmt: skip

    def __init__(self, rows: Sequence[Candidate], *, chosen: int | None) -> None:
        super().__init__()
        self._rows = tuple(rows)
        self._chosen = chosen
        self._ways: tuple[tuple[ScoredToken, ...], ...] = ()
        self._note = "Asking the model where each would lead…"

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Vertical(id="dialog"):
            yield Static(Content("What could stand here"), id="title")
            yield Static(id="heads", markup=False)
            yield DialogList(id="list")
            yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        """The tokens are known."""
        self._draw()
        self.query_one(DialogList).focus()

    def show(self, ways: Sequence[Sequence[ScoredToken]]) -> None:
        """The model has answered."""
        self._ways, self._note = tuple(map(tuple, ways)), _FOOT
        self._draw()

    def show_error(self, error: LmtuiError) -> None:
        """The model can't say where they lead."""
        self._note = visible_line(f"{error}. {error.hint}")
        self._draw()

    def _draw(self) -> None:
        if not self.query(DialogList):
            return  # the answer was quicker than the screen
        rows = self.query_one(DialogList)
        at = rows.highlighted or 0
        rows.clear_options()
        heads, lines = rows_of(self._rows, self._ways, self._chosen)
        self.query_one("#heads", Static).update(Content(heads))
        rows.add_options([Option(line) for line in lines])
        rows.highlighted = min(at, len(lines) - 1) if lines else None
        self.query_one("#foot", Static).update(Content(self._note))

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        """Go on from there."""
        self.dismiss(self._rows[event.option_index])

    def action_close(self) -> None:
        """Leave the text as it is."""
        self.dismiss(None)


def rows_of(
    rows: Sequence[Candidate],
    ways: Sequence[Sequence[ScoredToken]],
    chosen: int | None,
) -> tuple[str, list[Content]]:
    """The headings, and a line for each: its probability, the surprisal of where it
    leads, the token, and what follows it."""
    tokens = [clip(visible_token(row.text), _WIDEST) for row in rows]
    width = max(map(cell_len, [*tokens, "token"]))
    lines = []
    for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
        way = ways[place] if place < len(ways) else ()
        lines.append(
            Content.assemble(
                ("● " if row.id == chosen else "  ", "$accent"),
                (f"{percent(row.prob):>6} ", "$prob-raw"),
                (f"{cost(way):>{len(_COST)}}  " if ways else "", "$quiet"),
                (fit(token, width), "bold"),
                ("  " + clip(ahead(way), _AHEAD) if way else "", "$quiet"),
            )
        )
    heads = f"  {'p':>6} " + (f"{_COST}  " if ways else "") + f"{'token':<{width}}"
    return heads + ("  leads to" if ways else ""), lines


def cost(way: Sequence[ScoredToken]) -> str:
    """The surprisal of a whole way."""
    known = [token.logprob for token in way if token.logprob is not None]
    return f"{surprisal(sum(known))} bits" if known else NONE


def ahead(way: Sequence[ScoredToken]) -> str:
    """The tokens of a way behind the first, as text: where the first is a part of a
    character, the whole of it."""
    pieces = list(pieces_of(way))
    shown = pieces if pieces[0].count > 1 else pieces[1:]
    return "".join(piece.text for piece in shown).replace("\n", "")
