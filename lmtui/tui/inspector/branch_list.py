"""The list of a text's branches: showing, naming, deleting and exporting them.

A file is written whole or not at all, and never over another one unasked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lmtui import paths
from lmtui.analysis.branches import ROOT, BranchText
from lmtui.editing.file_names import path_named
from lmtui.engine.types import FinishReason
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.background import run_in_thread
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.inspector.branches import WRITING, BranchController
from lmtui.tui.inspector.document import DocumentController
from lmtui.tui.inspector.pickers import BranchAction, BranchesScreen
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.line_prompt import LinePrompt, LineQuestion

_NAME = LineQuestion(
    "name", "Name", "a few words; empty removes the name", lambda _: ""
)


class BranchListController(Controller):
    def __init__(
        self,
        screen: ModelScreen,
        document: DocumentController,
        branches: BranchController,
    ) -> None:
        self._screen, self._document, self._branches = screen, document, branches
        self._prompted_branch = ROOT  # the branch that a name or a file is asked for
        self._may_discard = False
        self.prompt = LinePrompt(id="ask")

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
        which = "1 branch" if self._count == 1 else f"{self._count:,} branches"
        choices = [
            Choice("l", "Leave", "they can't be brought back"),
            Choice("b", "Branches", "list them; x exports one"),
            Choice("c", "Cancel", "stay"),
        ]

        def answer(key: str | None) -> None:
            if key == "l":
                self._may_discard = True
                then()
            elif key == "b":
                self.show()

        details = [f"{which} of {self._document.name}"]
        title = "Leave the branches behind?"
        self._confirm(title, details, choices, answer, asked=True)

    def _confirm(
        self,
        title: str,
        details: list[str],
        choices: list[Choice],
        answer: Callable[[str | None], None],
        *,
        asked: bool = False,
    ) -> None:
        dialog = ConfirmDialog(title, details, choices, harmless="c", asked=asked)
        self._screen.app.push_screen(dialog, answer)

    # The list.

    def show(self) -> None:
        scored = self._document.scored
        dialog = BranchesScreen(scored.branches.rows(), shown=scored.branch)
        self._screen.app.push_screen(dialog, self._answer)

    def _answer(self, request: BranchAction | None) -> None:
        branches = self._document.scored.branches
        if request is None or request.branch not in branches:
            return
        self._prompted_branch = request.branch
        branch = branches.branch(request.branch)
        if request.action == "show":
            self._branches.go_to(branch.id, branch.fork)
        elif request.action == "name":
            self.prompt.ask(_NAME, branch.name)
        elif request.action == "delete":
            self._ask_delete(request.branch)
        else:
            self.prompt.ask_path(f"branch-{branch.id}.txt")

    def answer_question(self, event: LinePrompt.Answered) -> None:
        branches = self._document.scored.branches
        if self._prompted_branch not in branches:
            return
        if event.question == "name":
            branches.rename(self._prompted_branch, event.text.strip())
            self.show()
        elif (path := path_named(event.text)) is not None:
            self._export(path, self.text_of(self._prompted_branch), overwrite=False)

    # Deleting.

    def _ask_delete(self, branch: int) -> None:
        if self._branches.is_writing:
            self._screen.notify(WRITING)
            return
        branches = self._document.scored.branches
        family = branches.family(branch)
        count = sum(len(branches.branch(id_).tokens) for id_ in family)
        which = "1 branch" if len(family) == 1 else f"{len(family):,} branches"
        choices = [
            Choice("d", "Delete", "they can't be brought back"),
            Choice("c", "Cancel", "keep everything"),
        ]

        def answer(key: str | None) -> None:
            exists = branch in self._document.scored.branches
            if key == "d" and exists and not self._branches.is_writing:
                self._delete(branch)

        title = "Delete this branch and all that leave it?"
        details = [f"{which}, {count:,} tokens"]
        self._confirm(title, details, choices, answer, asked=True)

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

    # Exporting.

    def text_of(self, branch: int) -> str:
        scored = self._document.scored
        branches = scored.branches
        path, shared = branches.path(branch), branches.leaves(branch)
        if branches.branch(branch).end is FinishReason.STOP:
            path = path[:-1]  # the end token is no part of the text
        text = self._document.text or ""
        return BranchText(path, text, scored.spans, shared).whole_text()

    def _export(self, path: Path, text: str, *, overwrite: bool) -> None:
        failed = "the branch was not exported"

        def work() -> bool:
            """Return whether the file was written, and did not exist already."""
            try:
                if not overwrite and path.exists():
                    return False
                paths.write_atomically(path, text.encode(), private=False)
            except OSError as error:
                reason = error.strerror or str(error)
                hint = "Choose another name or another folder."
                raise LmtuiError(failed, f"{path} ({reason})", hint) from error
            return True

        def report(written: bool) -> None:
            if written:
                notice = visible_line(f"exported to {path}")
                self._screen.activity.notice(notice)
            else:
                self._ask_overwrite(path, text)

        run_in_thread(
            work,
            self._screen.call_later,
            then=report,
            failed=self._screen.show_error,
            bug=LmtuiError(failed, str(path), "See the log."),
        )

    def _ask_overwrite(self, path: Path, text: str) -> None:
        choices = [
            Choice("o", "Overwrite", "replace that file with the branch"),
            Choice("n", "Other name", "choose a different name"),
            Choice("c", "Cancel", "write nothing"),
        ]

        def answer(key: str | None) -> None:
            if key == "o":
                self._export(path, text, overwrite=True)
            elif key == "n":
                self.prompt.ask_path(str(path))

        self._confirm("The file already exists", [str(path)], choices, answer)
