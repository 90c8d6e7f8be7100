"""All branches of a text, as a tree to choose from.

Owns how the tree is drawn, and which key means what; doing it is not its own. Knows no
engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui.inspect.roads import ROOT, Road
from lmtui.notation import NONE, log_prob, percent
from lmtui.text import bytes_text, visible_line
from lmtui.tui.widgets.cells import clip
from lmtui.tui.widgets.dialog_list import DialogList

_FOOT = "Enter shows it · d deletes · r names · x exports · Esc closes"
_WORDS = 120
_DEEPEST = 12  # steps of indentation that are drawn


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with a branch."""

    action: Literal["show", "delete", "name", "export"]
    road: int


class BranchesScreen(ModalScreen[Wish | None]):
    """A branch to a line, below the one it leaves."""

    HELP = """\
Each branch stands below the one it leaves, with the token where it leaves, the
probability of its own first token there, the sum of log P over its own tokens in nats,
and how many these are. ● marks the one that is shown.
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

    def __init__(self, rows: Sequence[tuple[Road, int]], *, shown: int) -> None:
        super().__init__()
        self._rows = tuple(rows)
        self._shown = shown

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Vertical(id="dialog"):
            yield Static(Content("Branches"), id="title")
            yield Static(Content(HEADS), id="heads")
            yield DialogList(id="list")
            yield Static(Content(_FOOT), id="foot")

    def on_mount(self) -> None:
        """List them."""
        listed = self.query_one(DialogList)
        lines = [row_of(road, depth, self._shown) for road, depth in self._rows]
        listed.add_options([Option(line) for line in lines])
        ids = [road.id for road, _ in self._rows]
        listed.highlighted = ids.index(self._shown)
        listed.focus()

    @on(OptionList.OptionSelected)
    def show_branch(self, event: OptionList.OptionSelected) -> None:
        """Show it."""
        self.dismiss(Wish("show", self._rows[event.option_index][0].id))

    def action_wish(self, action: Literal["delete", "name", "export"]) -> None:
        """Say what is to be done with the branch that is marked."""
        at = self.query_one(DialogList).highlighted
        if at is None:
            return
        road = self._rows[at][0].id
        if road == ROOT and action == "delete":
            self.notify("The text itself stays.")
        else:
            self.dismiss(Wish(action, road))

    def action_close(self) -> None:
        """Do nothing."""
        self.dismiss(None)


HEADS = f"{'':2}{'at':>6} {'p':>6} {'Σ log P':>10} {'tokens':>6}  branch"


def row_of(road: Road, depth: int, shown: int) -> Content:
    """A line for a branch."""
    first = road.tokens[0] if road.tokens else None
    prob = None if first is None or first.logprob is None else math.exp(first.logprob)
    here = f"{road.fork + 1:,}" if road.id != ROOT else NONE
    odds = percent(prob) if road.id != ROOT else NONE
    branch = "  " * min(depth, _DEEPEST) + ("└ " if depth else "")
    return Content.assemble(
        ("● " if road.id == shown else "  ", "$accent"),
        (f"{here:>6} {odds:>6} ", "$quiet"),
        f"{log_prob(road.logprob):>10} ",
        (f"{len(road.tokens):>6,}  ", "$quiet"),
        (branch, "$quiet"),
        *title_of(road),
    )


def title_of(road: Road) -> tuple[tuple[str, str] | str, ...]:
    """Its name, and how it begins."""
    data = b"".join(token.bytes for token in road.tokens[:_WORDS])
    words = clip(visible_line(bytes_text(data).replace("\n", "⏎")), _WORDS)
    name = visible_line(road.name) or ("the text itself" if road.id == ROOT else "")
    return ((clip(name, 40) + "  ", "bold"), (words, "$quiet")) if name else (words,)
