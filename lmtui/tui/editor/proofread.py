"""Proofreading of the edited text: corrections that the model finds, in a list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lmtui.editing.corrections import ProofreadText
from lmtui.engine.document.types import Correction, ProofreadPart
from lmtui.tui.dialogs import uncover
from lmtui.tui.editor.offers import OfferController
from lmtui.tui.editor.pickers import CorrectionsScreen
from lmtui.worker.partial_answers import proofread_parts
from lmtui.worker.requests import Slot


class ProofreadController(OfferController):
    _proofread: ProofreadText | None = None

    def ask(self) -> None:
        """List the corrections of the selection, or of the text. While the text stays
        as it is, a list that has rows left is shown again, and goes on where it was
        stopped."""
        can_proofread = self.model.capabilities.proofreads
        if why_not := self.model.why_not(can_proofread, "Corrections"):
            self._screen.notify(why_not)
            return
        proofread = self._text_to_read()
        if not proofread.text[proofread.start : proofread.end].strip():
            self._screen.notify("There is no text to proofread.")
            return
        self._proofread = proofread
        go_to = partial(self._go_to, proofread)

        def show(correction: Correction) -> None:
            go_to(correction)
            dialog.call_after_refresh(
                lambda: uncover(dialog, self._editor.cursor_screen_offset.y)
            )

        apply = partial(self._apply, proofread)
        dialog = CorrectionsScreen(proofread, apply, show, stop=self._client.cancel)
        self._open(dialog, go_to)
        if not proofread.is_read:
            self._ask_engine(proofread, dialog)
        self._screen.activity.clear_notice()

    @property
    def status_text(self) -> str:
        return "proofreading" if self._client.is_pending(Slot.REPLACE) else ""

    def _text_to_read(self) -> ProofreadText:
        text, (start, end) = self._editor.text, self._editor.selection_indexes
        last = self._proofread
        if last and last.current == text and (last.corrections or not last.is_read):
            # A correction that was gone to is selected: the list is still meant.
            spans = (last.start, last.end), *map(last.span, last.corrections)
            if start == end or (start, end) in spans:
                return last
        return ProofreadText(text, *((start, end) if start < end else (0, len(text))))

    def _ask_engine(self, proofread: ProofreadText, dialog: CorrectionsScreen) -> None:
        def add_part(part: ProofreadPart) -> None:
            proofread.add(part)
            dialog.show()

        self._client.ask(
            Slot.REPLACE,
            proofread_parts(
                proofread.text, proofread.reached, proofread.end, proofread.found
            ),
            lambda _: dialog.show(),
            dialog.show_error,
            dropped=dialog.stopped,
            batch=lambda parts: add_part(*parts),
        )

    def _apply(
        self, proofread: ProofreadText, corrections: Sequence[Correction]
    ) -> None:
        if proofread.current != self._editor.text:
            return
        start, end, text = proofread.apply(corrections)
        first, last = self._editor.selection_indexes
        self._editor.replace_span(start, end, text)
        if start <= first < last <= end:  # a place that was shown, and is no more
            self._editor.go_to(start + len(text))

    def _go_to(self, proofread: ProofreadText, correction: Correction) -> None:
        if proofread.current == self._editor.text:
            self._editor.go_to(*proofread.span(correction))
