"""The list of a text's branches, which shows and deletes them, and leaving them."""

from __future__ import annotations

from collections.abc import Callable

from lmtui.notation import counted
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.inspector.branches import WRITING, BranchController
from lmtui.tui.inspector.document import DocumentController
from lmtui.tui.inspector.pickers import BranchesScreen
from lmtui.tui.screen import ModelScreen


class BranchListController(Controller):
    def __init__(
        self,
        screen: ModelScreen,
        document: DocumentController,
        branches: BranchController,
    ) -> None:
        self._screen, self._document, self._branches = screen, document, branches
        self._may_discard = False

    # Leaving.

    @property
    def has_branches(self) -> bool:
        """Whether there are branches that would be lost with the screen."""
        return bool(self._count) and not self._may_discard

    @property
    def _count(self) -> int:
        """Number of branches, those of other models that were here among them."""
        documents = self._document.of_all_models
        return sum(len(document.branches) - 1 for document in documents)

    def leave_then(self, then: Callable[[], object]) -> None:
        """Do something that ends the screen, once it is sure that branches may go."""
        if not self.has_branches:
            then()
            return
        choices = [
            Choice("l", "Leave", "they can't be brought back"),
            Choice("b", "Branches", "list them"),
            Choice("c", "Cancel", "stay"),
        ]

        def answer(key: str | None) -> None:
            if key == "l":
                self._may_discard = True
                then()
            elif key == "b":
                self.show()

        detail = f"{_branches(self._count)} of {self._document.name}"
        self._confirm("Leave the branches behind?", detail, choices, answer)

    def _confirm(
        self,
        title: str,
        detail: str,
        choices: list[Choice],
        answer: Callable[[str | None], None],
    ) -> None:
        dialog = ConfirmDialog(title, [detail], choices, harmless="c", asked=True)
        self._screen.app.push_screen(dialog, answer)

    # The list.

    def show(self) -> None:
        scored = self._document.scored
        rows, branches = scored.branches.rows(), scored.branches
        dialog = BranchesScreen(rows, shown=scored.branch, delete=self._ask_delete)

        def go(branch: int | None) -> None:
            if branch is not None and branch in branches:
                self._branches.go_to(branch, branches.branch(branch).fork)

        self._screen.app.push_screen(dialog, go)

    def _ask_delete(self, branch: int) -> None:
        branches = self._document.scored.branches
        if self._branches.is_writing:
            self._screen.notify(WRITING)
            return
        family = branches.family(branch)
        count = sum(len(branches.branch(id_).tokens) for id_ in family)
        choices = [
            Choice("d", "Delete", "they can't be brought back"),
            Choice("c", "Cancel", "keep everything"),
        ]

        def answer(key: str | None) -> None:
            exists = branch in self._document.scored.branches
            if key == "d" and exists and not self._branches.is_writing:
                self._delete(branch)

        title = "Delete this branch and all that leave it?"
        detail = f"{_branches(len(family))}, {counted(count, 'token')}"
        self._confirm(title, detail, choices, answer)

    def _delete(self, branch: int) -> None:
        document = self._document
        branches = document.scored.branches
        shown, index = document.scored.branch, document.view.index
        fork = branches.branch(branch).fork
        is_removed = shown in branches.family(branch)
        parent = branches.remove(branch)
        self._branches.go_to(
            parent if is_removed else shown, min(index, fork) if is_removed else index
        )


def _branches(count: int) -> str:
    return "1 branch" if count == 1 else f"{count:,} branches"
