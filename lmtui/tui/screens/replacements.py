"""What could stand in place of a word, to choose from.

Owns the list and how its numbers are told apart. The list comes later than the screen:
the model is asked meanwhile. Putting the choice into the text is not its own. Knows no
engine and no editor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui.engine.writing import Replacement
from lmtui.errors import LmtuiError
from lmtui.notation import LN2, difference, percent
from lmtui.text import visible, visible_line, visible_token
from lmtui.tui.widgets.cells import clip, fit
from lmtui.tui.widgets.dialog_list import DialogList

ASKING = "Asking the model…"
NOTHING = "The model has nothing to put there."
LEGEND = """\
Δ log P: by how many nats what follows gets more (+) or less (−) likely.
Rare, yet about 0 or +: it may be right. Far below 0: it does not fit."""
_WAITING = "Esc closes · Enter counts once the words are there"
_FOOT = "Enter replaces the word · Esc cancels"
_WIDEST = 24  # cells of a word
_AHEAD = 80
_PROBABILITY, _CHANGE = "probability", " Δ log P"


class ReplacementsScreen(ModalScreen[Replacement | None]):
    """A word to a line, the most probable first. Answers what was chosen."""

    HELP = """\
Each word stands with its probability given the text before it, and with how the model
would go on after it. ● marks what is in the text now.
"""
    CSS_PATH = "replacements.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="replacements.close",
                tooltip="Leave the text as it is."),
    ]  # fmt: skip

    def __init__(self, present: str) -> None:
        super().__init__()
        self._present = present
        self._listed: tuple[Replacement, ...] = ()
        self._state = ASKING
        self._early = 0  # rows down, asked for before there were any

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        word = clip(visible_line(self._present), _WIDEST)
        with Vertical(id="dialog"):
            yield Static(Content(f"In place of “{word}”"), id="title")
            yield Static(id="heads", markup=False)
            yield DialogList(id="list")
            yield Static(id="legend", markup=False)
            yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        """Say that the model is asked, unless it has answered by now."""
        self._draw()
        self.query_one(DialogList).focus()

    def show(self, replacements: Sequence[Replacement]) -> None:
        """The model has answered."""
        self._listed, self._state = tuple(replacements), NOTHING
        self._draw()

    def show_progress(self, done: int, total: int) -> None:
        """So many of the words are scored."""
        self._state = f"{ASKING} {done} of {total} words are scored"
        self._draw()

    def show_error(self, error: LmtuiError) -> None:
        """The model can't answer."""
        parts = (f"{error}.", error.hint)
        self._listed, self._state = (), visible(" ".join(filter(None, parts)))
        self._draw()

    def _draw(self) -> None:
        if not self.query(DialogList):
            return  # the answer was quicker than the screen
        heads, lines = rows_of(self._listed, self._present)
        rows = self.query_one(DialogList)
        rows.clear_options()
        rows.add_options([Option(line) for line in lines])
        rows.display = self.query_one("#heads").display = bool(lines)
        self._tell("#heads", heads)
        self._tell("#legend", LEGEND if lines else self._state)
        waiting = _WAITING if self._state == ASKING else "Esc closes"
        self._tell("#foot", _FOOT if lines else waiting)
        if lines:
            rows.highlighted = min(self._early, len(lines) - 1)

    def _tell(self, where: str, words: str) -> None:
        self.query_one(where, Static).update(Content(words))

    def on_key(self, event: events.Key) -> None:
        """A walk in the list waits for it; what nobody has seen is not chosen."""
        if self._state == ASKING and event.key in ("up", "down"):
            event.stop()
            self._early = max(0, self._early + (1 if event.key == "down" else -1))

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        """Put it there."""
        self.dismiss(self._listed[event.option_index])

    def action_close(self) -> None:
        """Leave the text as it is."""
        self.dismiss(None)


def rows_of(
    replacements: Sequence[Replacement], present: str
) -> tuple[str, list[Content]]:
    """The headings, and a line for each; a dot before what is there now."""
    words = [clip(visible_token(each.text), _WIDEST) for each in replacements]
    width = max(map(cell_len, words), default=0)
    heads = f"  {'':<{width}}  {_PROBABILITY}  {_CHANGE}  goes on"
    lines = []
    for each, word in zip(replacements, words, strict=True):
        is_there = each.text == present
        prob = percent(math.exp(each.logprob))
        lines.append(
            Content.assemble(
                ("● " if is_there else "  ", "$accent"),
                (fit(word, width), "bold"),
                f"  {prob:>{len(_PROBABILITY)}}  ",
                f"{change_words(each.change):>{len(_CHANGE)}}  ",
                (clip(visible_line(each.ahead.replace("\n", "⏎")), _AHEAD), "$quiet"),
            )
        )
    return heads, lines


def change_words(change: float | None) -> str:
    """A change of surprisal in bits as one of log P in nats; 0 has no sign."""
    return difference(None if change is None else -change * LN2)
