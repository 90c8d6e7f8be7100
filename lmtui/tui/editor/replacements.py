"""Replacing the word under the editor's cursor by one that the model finds.

Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable

from lmtui.engine.document.types import Replacement
from lmtui.engine.document.words import word_at
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import uncover
from lmtui.tui.editor.pickers import ReplacementsScreen
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.client import EngineClient, ignore
from lmtui.tui.model_state import ModelState
from lmtui.tui.screen import ModelScreen
from lmtui.worker.partial_answers import emit_each
from lmtui.worker.requests import Slot


class ReplacementController(Controller):
    """Asks for replacements, and lists them."""

    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        *,
        before: Callable[[], object],
    ) -> None:
        """`before` is called before the model is asked."""
        self._client, self._screen, self._editor = client, screen, editor
        self._before = before
        self._why_not = ModelState().why_not(False, "")

    def follow_model(self, state: ModelState) -> None:
        can = state.capabilities.replaces
        self._why_not = state.why_not(can, "Replacements")

    def ask(self) -> None:
        """List the words that could replace the one under the cursor."""
        if self._why_not:
            self._screen.notify(self._why_not)
            return
        text, revision = self._editor.text, self._editor.revision
        start, end = word_at(text, self._editor.cursor_index)
        if start == end:
            self._screen.notify("There is no word under the cursor.")
            return
        self._before()
        dialog = ReplacementsScreen(text[start:end])
        uncover(dialog, self._editor.cursor_screen_offset.y)

        def answer(chosen: Replacement | None) -> None:
            self._client.cancel()
            if chosen is not None and revision == self._editor.revision:
                self._editor.replace_span(start, end, chosen.text)

        self._screen.app.push_screen(dialog, answer)
        self._client.ask(
            Slot.REPLACE,
            emit_each(lambda engine: engine.document.replacements(text, start, end)),
            ignore,
            dialog.show_error,
            batch=lambda lists: dialog.show(*lists),
        )
        self._screen.activity.unsay()

    @property
    def doing(self) -> str:
        """Asking for words, until the list is complete."""
        return "asking for words" if self._client.is_pending(Slot.REPLACE) else ""
