"""Dialogs of the inspector: alternatives at a position, and the list of branches.

The continuations of the alternatives arrive after the dialog has opened; a token can be
chosen before. Knows no engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui.analysis.branches import ROOT, Branch
from lmtui.engine.types import Candidate, ScoredToken
from lmtui.errors import LmtuiError
from lmtui.notation import NONE, log_prob, percent, surprisal
from lmtui.text import bytes_text, visible_line, visible_token
from lmtui.tui.widgets.cells import clip, pad_to
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.token_lines import pieces_of

_ALTERNATIVES_FOOT = "Enter goes on from there · Esc leaves the text as it is"
_WIDEST = 20  # most cells of a token
_AHEAD = 120
_COST = "surprisal"

_BRANCHES_FOOT = "Enter shows it · d deletes · r names · x exports · Esc closes"
_WORDS = 120
_DEEPEST = 12  # most steps of indentation
HEADS = f"{'':2}{'at':>6} {'p':>6} {'Σ log P':>10} {'tokens':>6}  branch"


class AlternativesScreen(ModalScreen[Candidate | None]):
    """A list of tokens, the most probable first. Returns the one to continue from."""

    HELP = """\
Each token is shown with its own probability, the greedy continuation after it, and the
surprisal of both together. ● marks the token in the text.
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
        with Vertical(id="dialog"):
            yield Static(Content("What could stand here"), id="title")
            yield Static(id="heads", markup=False)
            yield DialogList(id="list")
            yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        """Show the tokens, which are known already."""
        self._draw()
        self.query_one(DialogList).focus()

    def show(self, ways: Sequence[Sequence[ScoredToken]]) -> None:
        """Show the greedy continuation of each token."""
        self._ways, self._note = tuple(map(tuple, ways)), _ALTERNATIVES_FOOT
        self._draw()

    def show_error(self, error: LmtuiError) -> None:
        """Show why there are no continuations."""
        self._note = visible_line(f"{error}. {error.hint}")
        self._draw()

    def _draw(self) -> None:
        if not self.query(DialogList):
            return  # the answer came before the widgets were mounted
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
        self.dismiss(self._rows[event.option_index])

    def action_close(self) -> None:
        self.dismiss(None)


def rows_of(
    rows: Sequence[Candidate],
    ways: Sequence[Sequence[ScoredToken]],
    chosen: int | None,
) -> tuple[str, list[Content]]:
    """Return the headings and a row for each token: probability, surprisal of the
    continuation, the token, and what follows it."""
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
                (pad_to(token, width), "bold"),
                ("  " + clip(ahead(way), _AHEAD) if way else "", "$quiet"),
            )
        )
    heads = f"  {'p':>6} " + (f"{_COST}  " if ways else "") + f"{'token':<{width}}"
    return heads + ("  leads to" if ways else ""), lines


def cost(way: Sequence[ScoredToken]) -> str:
    """Return the surprisal of a whole continuation."""
    known = [token.logprob for token in way if token.logprob is not None]
    return f"{surprisal(sum(known))} bits" if known else NONE


def ahead(way: Sequence[ScoredToken]) -> str:
    """Return the text of a continuation behind its first token. If the first is a part
    of a character, the text begins with that character."""
    pieces = list(pieces_of(way))
    shown = pieces if pieces[0].count > 1 else pieces[1:]
    return "".join(piece.text for piece in shown).replace("\n", "")


@dataclass(frozen=True, slots=True)
class BranchAction:
    """An action requested for a branch."""

    action: Literal["show", "delete", "name", "export"]
    branch: int


class BranchesScreen(ModalScreen[BranchAction | None]):
    """The list of branches, each below the one it leaves."""

    HELP = """\
Each branch is listed below the one that it leaves, with the token where it leaves, the
probability of its first token there, the sum of log P over its own tokens in nats, and
their number. ● marks the branch that is shown.
"""
    CSS_PATH = "branches.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "wish('delete')", "Delete", id="branches.delete",
                tooltip="Delete the branch, and all that leave it."),
        Binding("r", "wish('name')", "Name", id="branches.name",
                tooltip="Give the branch a name."),
        Binding("x", "wish('export')", "Export", id="branches.export",
                tooltip="Write the text with this branch into a file."),
        Binding("escape", "close", "Close", id="branches.close",
                tooltip="Back to the text."),
    ]  # fmt: skip

    def __init__(self, rows: Sequence[tuple[Branch, int]], *, shown: int) -> None:
        super().__init__()
        self._rows = tuple(rows)
        self._shown = shown

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content("Branches"), id="title")
            yield Static(Content(HEADS), id="heads")
            yield DialogList(id="list")
            yield Static(Content(_BRANCHES_FOOT), id="foot")

    def on_mount(self) -> None:
        listed = self.query_one(DialogList)
        lines = [row_of(branch, depth, self._shown) for branch, depth in self._rows]
        listed.add_options([Option(line) for line in lines])
        ids = [branch.id for branch, _ in self._rows]
        listed.highlighted = ids.index(self._shown)
        listed.focus()

    @on(OptionList.OptionSelected)
    def show_branch(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(BranchAction("show", self._rows[event.option_index][0].id))

    def action_wish(self, action: Literal["delete", "name", "export"]) -> None:
        """Return the action for the branch under the cursor."""
        at = self.query_one(DialogList).highlighted
        if at is None:
            return
        branch = self._rows[at][0].id
        if branch == ROOT and action == "delete":
            self.notify("The text itself stays.")
        else:
            self.dismiss(BranchAction(action, branch))

    def action_close(self) -> None:
        self.dismiss(None)


def row_of(branch: Branch, depth: int, shown: int) -> Content:
    """Return the row of a branch."""
    first = branch.tokens[0] if branch.tokens else None
    prob = None if first is None or first.logprob is None else math.exp(first.logprob)
    here = f"{branch.fork + 1:,}" if branch.id != ROOT else NONE
    odds = percent(prob) if branch.id != ROOT else NONE
    indent = "  " * min(depth, _DEEPEST) + ("└ " if depth else "")
    return Content.assemble(
        ("● " if branch.id == shown else "  ", "$accent"),
        (f"{here:>6} {odds:>6} ", "$quiet"),
        f"{log_prob(branch.logprob):>10} ",
        (f"{len(branch.tokens):>6,}  ", "$quiet"),
        (indent, "$quiet"),
        *title_of(branch),
    )


def title_of(branch: Branch) -> tuple[tuple[str, str] | str, ...]:
    """Return the name of a branch, and its first words."""
    data = b"".join(token.bytes for token in branch.tokens[:_WORDS])
    words = clip(visible_line(bytes_text(data).replace("\n", "⏎")), _WORDS)
    name = visible_line(branch.name) or ("the text itself" if branch.id == ROOT else "")
    return ((clip(name, 40) + "  ", "bold"), (words, "$quiet")) if name else (words,)
