"""Dialogs of the inspector: alternatives at a position, and the list of branches.

The continuations of the alternatives arrive after the dialog has opened; a token can be
chosen before. Knows no engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content

from lmtui.analysis.branches import ROOT, Branch
from lmtui.engine.types import Candidate, Step
from lmtui.errors import LmtuiError
from lmtui.notation import NONE, likely, log_prob, surprisal
from lmtui.text import bytes_text, visible_token
from lmtui.tui.picker import Picker, PickerRows
from lmtui.tui.widgets.cells import clip, pad_to
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.token_lines import pieces_of

_ALTERNATIVES_FOOT = "Enter continues from there · Esc leaves the text as it is"
_WIDEST = 20  # most cells of a token
_AHEAD = 120
_COST = "   in all"

_BRANCHES_FOOT = "Enter shows it · d deletes · Esc closes"
_WORDS = 120
_DEEPEST = 12  # most steps of indentation
HEADS = f"{'':2}{'at':>6} {'p':>6} {'Σ log P':>10} {'tokens':>6}  branch"


class AlternativesScreen(Picker[Candidate]):
    """A list of tokens, the most probable first. Returns the one to continue from."""

    HELP = """\
Each token is shown with its own probability, the greedy continuation after it, and the
surprisal of both together. ● marks the token in the text, where the cursor begins.
"""
    CSS_PATH = "alternatives.tcss"

    def __init__(self, rows: Sequence[Candidate], *, chosen: int | None) -> None:
        self._chosen = chosen
        picker_rows = self._picker_rows(
            rows, (), "Asking the model where each would lead…"
        )
        at = next((i for i, row in enumerate(rows) if row.id == chosen), 0)
        super().__init__("What could stand here", replace(picker_rows, at=at))

    def on_mount(self) -> None:
        self.query_one(DialogList).wraps = False

    def _picker_rows(
        self,
        rows: Sequence[Candidate],
        paths: Sequence[Sequence[Step]],
        foot: str,
    ) -> PickerRows[Candidate]:
        heads, lines = rows_of(rows, paths, self._chosen)
        return PickerRows(rows, lines, heads=heads, foot=foot)

    def show(self, paths: Sequence[Sequence[Step]]) -> None:
        self.show_rows(self._picker_rows(self.items, paths, _ALTERNATIVES_FOOT))

    def show_error(self, error: LmtuiError) -> None:
        foot = f"{error}. {error.hint}"
        self.show_rows(self._picker_rows(self.items, (), foot))


def rows_of(
    rows: Sequence[Candidate],
    paths: Sequence[Sequence[Step]],
    chosen: int | None,
) -> tuple[str, list[Content]]:
    """Return the headings and a row for each token: probability, surprisal of the
    continuation, the token, and what follows it."""
    tokens = [clip(visible_token(row.text), _WIDEST) for row in rows]
    width = max(map(cell_len, [*tokens, "token"]))
    lines = []
    for index, (row, token) in enumerate(zip(rows, tokens, strict=True)):
        path = paths[index] if index < len(paths) else ()
        lines.append(
            Content.assemble(
                ("● " if row.id == chosen else "  ", "$accent"),
                (f"{likely(row.prob):>6} ", "$prob-raw"),
                (f"{cost(path):>{len(_COST)}}  " if paths else "", "$quiet"),
                (pad_to(token, width), "bold"),
                ("  " + clip(ahead(path), _AHEAD) if path else "", "$quiet"),
            )
        )
    heads = f"  {'p':>6} " + (f"{_COST}  " if paths else "") + f"{'token':<{width}}"
    return heads + ("  leads to" if paths else ""), lines


def cost(path: Sequence[Step]) -> str:
    logprobs = [token.logprob for token in path if token.logprob is not None]
    return f"{surprisal(sum(logprobs))} bits" if logprobs else NONE


def ahead(path: Sequence[Step]) -> str:
    """Return the text of a continuation behind its first token. If the first is a part
    of a character, the text begins with that character."""
    pieces = list(pieces_of(path))
    behind_first = pieces if pieces[0].count > 1 else pieces[1:]
    return "".join(piece.text for piece in behind_first).replace("\n", "")


class BranchesScreen(Picker[int]):
    HELP = """\
Each branch is listed below the one that it leaves, with the token where it leaves, the
probability of its first token there, the sum of log P over its own tokens in nats, and
their number. ● marks the branch that is shown.
"""
    CSS_PATH = "branches.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "delete", "Delete", id="branches.delete",
                tooltip="Delete the branch, and all that leave it."),
    ]  # fmt: skip

    def __init__(
        self,
        rows: Sequence[tuple[Branch, int]],
        *,
        shown: int,
        delete: Callable[[int], object],
    ) -> None:
        ids = [branch.id for branch, _ in rows]
        lines = [row_of(branch, depth, shown) for branch, depth in rows]
        picker_rows = PickerRows(
            ids, lines, heads=HEADS, foot=_BRANCHES_FOOT, at=ids.index(shown)
        )
        super().__init__("Branches", picker_rows)
        self._delete = delete

    def action_delete(self) -> None:
        if self.marked == ROOT:
            self.notify("The text itself stays.")
        elif (branch := self.marked) is not None:
            self.dismiss(None)
            self._delete(branch)


def row_of(branch: Branch, depth: int, shown: int) -> Content:
    first = branch.tokens[0] if branch.tokens else None
    prob = None if first is None or first.logprob is None else math.exp(first.logprob)
    fork = f"{branch.fork + 1:,}" if branch.id != ROOT else NONE
    prob_text = likely(prob) if branch.id != ROOT else NONE
    data = b"".join(token.bytes for token in branch.tokens[:_WORDS])
    indent = "  " * min(depth, _DEEPEST) + ("└ " if depth else "")
    return Content.assemble(
        ("● " if branch.id == shown else "  ", "$accent"),
        (f"{fork:>6} {prob_text:>6} ", "$quiet"),
        f"{log_prob(branch.logprob):>10} ",
        (f"{len(branch.tokens):>6,}  ", "$quiet"),
        (indent, "$quiet"),
        ("" if branch.id != ROOT else "the text itself  ", "bold"),
        clip(bytes_text(data).replace("\n", "⏎"), _WORDS),
    )
