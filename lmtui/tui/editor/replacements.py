"""Replacing the word under the editor's cursor by one that the model finds."""

from __future__ import annotations

from lmtui.engine.document.types import Replacement
from lmtui.engine.document.words import word_at
from lmtui.tui.dialogs import uncover
from lmtui.tui.editor.offers import OfferController
from lmtui.tui.editor.pickers import ReplacementsScreen
from lmtui.tui.engine.client import ignore
from lmtui.worker.partial_answers import emit_each
from lmtui.worker.requests import Slot


class ReplacementController(OfferController):
    def ask(self) -> None:
        can_score = self.model.capabilities.scores
        if why_not := self.model.why_not(can_score, "Replacements"):
            self._screen.notify(why_not)
            return
        text, revision = self._editor.text, self._editor.revision
        start, end = word_at(text, self._editor.cursor_index)
        if start == end:
            self._screen.notify("There is no word under the cursor.")
            return
        dialog = ReplacementsScreen(text[start:end])
        uncover(dialog, self._editor.cursor_screen_offset.y)

        def replace_word(chosen: Replacement) -> None:
            if revision == self._editor.revision:
                self._editor.replace_span(start, end, chosen.text)

        self._open(dialog, replace_word)
        self._client.ask(
            Slot.REPLACE,
            emit_each(lambda engine: engine.document.replacements(text, start, end)),
            ignore,
            dialog.show_error,
            batch=lambda lists: dialog.show(*lists),
        )
        self._screen.activity.clear_notice()

    @property
    def status_text(self) -> str:
        return "asking for words" if self._client.is_pending(Slot.REPLACE) else ""
