"""The heat map of the editor as an HTML page."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lmtui import paths
from lmtui.analysis.html.writer import page_of_text
from lmtui.analysis.summary import Summary, Totals
from lmtui.editing import file_names
from lmtui.editing.file_names import path_named
from lmtui.editing.scored_text import ScoredText
from lmtui.engine.scoring.passages import (
    DocumentTokens,
    WholeDocument,
    tokenize_document,
)
from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.background import run_in_thread
from lmtui.tui.controller import Controller
from lmtui.tui.editor.context import ContextController, summary
from lmtui.tui.editor.file import FileController
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.model_state import ModelState
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.line_prompt import LinePrompt, LineQuestion
from lmtui.worker.requests import Slot


def _why_not(name: str) -> str:
    path = path_named(name)
    if path is not None and path.exists():
        return "there is a file of this name"
    return file_names.why_not(name)


QUESTION = LineQuestion(
    "page", "Heat as a page", "a new HTML file; Tab completes", _why_not,
    file_names.completed,
)  # fmt: skip


class HeatPageController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        file: FileController,
        context: ContextController,
        scored: ScoredText,
    ) -> None:
        self._client, self._screen, self._file = client, screen, file
        self._context, self._scored = context, scored
        self._info: EngineInfo | None = None

    def follow_model(self, state: ModelState) -> None:
        self._info = state.info

    def ask(self, prompt: LinePrompt) -> None:
        if self._info is None:
            self._screen.notify("No model is loaded yet.")
        elif not self._scored.text.strip():
            self._screen.notify("There is no text yet.")
        elif self._scored.stale():
            self._screen.notify("The text is not all scored yet; wait a moment.")
        else:
            path = self._file.current.path
            prompt.ask(QUESTION, str(path.with_suffix(".html")))

    def write(self, name: str) -> None:
        path, text, info = path_named(name), self._scored.text, self._info
        assert path is not None
        assert info is not None
        heading = self._file.current.name
        if read_first := self._context.parts:
            heading += f" ({summary(read_first)})"
        tokens = [
            (placed.token, (placed.start, placed.end))
            for placed in self._scored.tokens()
        ]

        def work(document: DocumentTokens) -> Path:
            totals = Totals()
            for token, span in tokens:
                totals.add(token, span)
            totals.measure(text, [span for _, span in tokens])
            bos = bool(document.encoding.prefix)
            results = Summary(info, totals, document.windows, bos)
            page = page_of_text(heading, text, tokens, results)
            try:
                paths.write_atomically(path, page.encode(), private=False)
            except OSError as error:
                why = error.strerror or str(error)
                hint = "Free some space, or name another file."
                raise LmtuiError("the page was not written", why, hint) from error
            return path

        def save(document: DocumentTokens) -> None:
            run_in_thread(
                partial(work, document),
                self._screen.call_later,
                then=self._show_written,
                failed=self._screen.show_error,
                bug=LmtuiError("the page was not written", str(path), "See the log."),
            )

        self._client.ask(
            Slot.SCORE,
            lambda engine, _: tokenize_document(engine, WholeDocument(text)),
            save,
            self._screen.show_error,
        )

    def _show_written(self, path: Path) -> None:
        self._screen.activity.notice(f"wrote {visible_line(path.name)}")
