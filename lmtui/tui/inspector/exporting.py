"""The tree of a text's branches: showing, naming, deleting and exporting them.

A file is written whole or not at all, and never over another one unasked. Knows no
torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from lmtui import paths
from lmtui.analysis.branches import ROOT, BranchText
from lmtui.editing.file_names import path_named
from lmtui.engine.types import FinishReason
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.background import post_from_thread
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.inspector.branching import BranchingScreen
from lmtui.tui.inspector.dialogs import BranchAction, BranchesScreen
from lmtui.tui.widgets.line_prompt import LinePrompt, LineQuestion

_NAME = LineQuestion(
    "name", "Name", "a few words; empty removes the name", lambda _: ""
)


class ExportingScreen(BranchingScreen):
    """Has a `LinePrompt`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "branches", "Branches", id="inspect.branches",
                tooltip="All branches as a tree: show, name, delete or export one."),
    ]  # fmt: skip

    class Exported(Message):
        """A branch was written."""

        def __init__(self, path: Path) -> None:
            self.path = path
            super().__init__()

    class Occupied(Message):
        """The file to export to exists already."""

        def __init__(self, path: Path, text: str) -> None:
            self.path, self.text = path, text
            super().__init__()

    class NotExported(Message):
        """Error of an export."""

        def __init__(self, error: LmtuiError) -> None:
            self.error = error
            super().__init__()

    _asked_of = ROOT  # the branch that a name or a file is asked for
    _let_go = False

    @property
    def holds(self) -> bool:
        """Whether there are branches that would be lost with the screen."""
        return bool(self._branches) and not self._let_go

    @property
    def _branches(self) -> int:
        """How many there are, those of other models that were here among them."""
        readings = [*self._readings.values()]
        if not any(reading is self._reading for reading in readings):
            readings.append(self._reading)
        return sum(len(reading.branches) - 1 for reading in readings)

    def leave_then(self, then: Callable[[], None]) -> None:
        """Do something that ends the screen, once it is sure that branches may go."""
        if not self.holds:
            then()
            return
        count = self._branches
        which = "1 branch" if count == 1 else f"{count:,} branches"
        choices = [
            Choice("l", "Leave", "they can't be brought back"),
            Choice("b", "Branches", "list them; x exports one"),
            Choice("c", "Cancel", "stay"),
        ]
        self.app.push_screen(
            ConfirmDialog(
                "Leave the branches behind?",
                [f"{which} of {self._shown_name}"],
                choices,
                harmless="c",
            ),
            partial(self._answer_leave, then),
        )  # fmt: skip

    def _answer_leave(self, then: Callable[[], None], answer: str | None) -> None:
        if answer == "l":
            self._let_go = True
            then()
        elif answer == "b":
            self.action_branches()

    def action_branches(self) -> None:
        """Show all branches."""
        reading = self._reading
        listed = BranchesScreen(reading.branches.rows(), shown=reading.branch)
        self.app.push_screen(listed, self._answer_branches)

    def _answer_branches(self, wish: BranchAction | None) -> None:
        if wish is None or wish.branch not in self._reading.branches:
            return
        self._asked_of = wish.branch
        branch = self._reading.branches.branch(wish.branch)
        if wish.action == "show":
            self.go_to(branch.id, branch.fork)
        elif wish.action == "name":
            self.query_one(LinePrompt).ask(_NAME, branch.name)
        elif wish.action == "delete":
            self._ask_delete(wish.branch)
        else:
            self.query_one(LinePrompt).ask_path(f"branch-{branch.id}.txt")

    @on(LinePrompt.Closed)
    def close_prompt(self) -> None:
        self.to_text()

    @on(LinePrompt.Answered)
    def take_line(self, event: LinePrompt.Answered) -> None:
        """Name a branch, or export it to a file."""
        self.to_text()
        if self._asked_of not in self._reading.branches:
            return
        if event.question == "name":
            self._reading.branches.rename(self._asked_of, event.text.strip())
            self.action_branches()
        elif (path := path_named(event.text)) is not None:
            self._export(path, self._text_of(self._asked_of), sure=False)

    # Deleting.

    def _ask_delete(self, branch: int) -> None:
        if self._writing:
            self.notify("The model is writing; Esc stops it.")
            return
        family = self._reading.branches.family(branch)
        count = sum(len(self._reading.branches.branch(each).tokens) for each in family)
        which = "1 branch" if len(family) == 1 else f"{len(family):,} branches"
        choices = [
            Choice("d", "Delete", "they can't be brought back"),
            Choice("c", "Cancel", "keep everything"),
        ]
        details = [f"{which}, {count:,} tokens"]
        self.app.push_screen(
            ConfirmDialog("Delete this branch and all that leave it?", details, choices,
                harmless="c"),
            partial(self._answer_delete, branch),
        )  # fmt: skip

    def _answer_delete(self, branch: int, answer: str | None) -> None:
        branches = self._reading.branches
        if answer != "d" or self._writing or branch not in branches:
            return
        shown, place = self._reading.branch, self.view.index
        fork = branches.branch(branch).fork
        gone = shown in branches.family(branch)
        parent = branches.remove(branch)
        self.go_to(parent if gone else shown, min(place, fork) if gone else place)

    # Exporting.

    def _text_of(self, branch: int) -> str:
        reading = self._reading
        branches, text = reading.branches, self._text or ""
        path, shared = branches.path(branch), branches.leaves(branch)
        if branches.branch(branch).end is FinishReason.STOP:
            path = path[:-1]  # the end token is no part of the text
        return BranchText(path, text, reading.spans, shared).whole_text()

    def _export(self, path: Path, text: str, *, sure: bool) -> None:
        def work() -> Message:
            try:
                if not sure and path.exists():
                    return self.Occupied(path, text)
                paths.write_atomically(path, text.encode(), private=False)
            except OSError as error:
                reason = error.strerror or str(error)
                hint = "Choose another name or another folder."
                return self.NotExported(
                    LmtuiError(
                        "the branch was not exported", f"{path} ({reason})", hint
                    )
                )
            return self.Exported(path)

        bug = LmtuiError("the branch was not exported", str(path), "See the log.")
        post_from_thread(work, self.post_message, otherwise=self.NotExported(bug))

    @on(Exported)
    def tell_exported(self, event: Exported) -> None:
        self._status.state = visible_line(f"exported to {event.path}")

    @on(NotExported)
    def tell_not_exported(self, event: NotExported) -> None:
        self._show_error(event.error)

    @on(Occupied)
    def ask_about_file(self, event: Occupied) -> None:
        choices = [
            Choice("o", "Overwrite", "replace that file with the branch"),
            Choice("n", "Other name", "choose a different name"),
            Choice("c", "Cancel", "write nothing"),
        ]
        self.app.push_screen(
            ConfirmDialog(
                "The file already exists", [str(event.path)], choices, harmless="c"
            ),
            partial(self._answer_occupied, event),
        )

    def _answer_occupied(self, event: Occupied, answer: str | None) -> None:
        if answer == "o":
            self._export(event.path, event.text, sure=True)
        elif answer == "n":
            self.query_one(LinePrompt).ask_path(str(event.path))
