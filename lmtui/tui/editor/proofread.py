"""Proofreading of the edited text: corrections that the model finds, in a list."""

from __future__ import annotations

from functools import partial

from lmtui.editing.corrections import ProofreadText
from lmtui.engine.document.types import (
    Correction,
    ProofreadPart,
)
from lmtui.tui.dialogs import uncover
from lmtui.tui.editor.offers import OfferController
from lmtui.tui.editor.pickers import CorrectionsScreen
from lmtui.tui.model_state import ModelState
from lmtui.worker.partial_answers import proofread_parts
from lmtui.worker.requests import Slot


class ProofreadController(OfferController):
    _proofread: ProofreadText | None = None
    _ignored: frozenset[tuple[str, str]] = frozenset()  # changes, in this session

    def follow_model(self, state: ModelState) -> None:
        super().follow_model(state)
        self._proofread = None

    def ask(self) -> None:
        """List the corrections of the selection, or of the text. While the text stays
        as it is, the list is the one of before, and goes on where it was stopped."""
        can_proofread = self._model.capabilities.proofreads
        if why_not := self._model.why_not(can_proofread, "Corrections"):
            self._screen.notify(why_not)
            return
        proofread = self._text_to_read()
        if not proofread.text[proofread.start : proofread.end].strip():
            self._screen.notify("There is no text to proofread.")
            return
        self._proofread = proofread
        dialog = CorrectionsScreen(
            proofread,
            apply=partial(self._apply, proofread),
            apply_all=partial(self._apply_all, proofread),
            ignore=partial(self._ignore, proofread),
            show=lambda correction: self._show(proofread, correction, dialog),
            stop=self._client.cancel,
        )

        def select(chosen: Correction) -> None:
            if proofread.current == self._editor.text:
                self._editor.go_to(*proofread.span(chosen))

        self._open(dialog, select)
        if not proofread.is_read:
            self._ask_engine(proofread, dialog)
        self._screen.activity.clear_notice()

    @property
    def status_text(self) -> str:
        return "proofreading" if self._client.is_pending(Slot.REPLACE) else ""

    def _text_to_read(self) -> ProofreadText:
        text, (start, end) = self._editor.text, self._editor.selection_indexes
        last = self._proofread
        if last is not None and last.current == text:
            is_same_span = (last.start, last.end) == (start, end)
            # A correction that was gone to is selected: the list is still meant.
            chosen = map(last.span, last.corrections)
            if start == end or is_same_span or (start, end) in chosen:
                return last
        return ProofreadText(text, *((start, end) if start < end else (0, len(text))))

    def _ask_engine(self, proofread: ProofreadText, dialog: CorrectionsScreen) -> None:
        def add_part(part: ProofreadPart) -> None:
            proofread.add(part)
            for change in self._ignored:
                proofread.ignore(change)
            dialog.show()

        self._client.ask(
            Slot.REPLACE,
            proofread_parts(proofread.text, proofread.reached, proofread.end),
            lambda _: dialog.show(),
            dialog.show_error,
            dropped=dialog.stopped,
            batch=lambda parts: add_part(*parts),
        )

    def _apply(self, proofread: ProofreadText, correction: Correction) -> None:
        if proofread.current == self._editor.text:
            self._replace(*proofread.apply(correction), correction.text)

    def _apply_all(self, proofread: ProofreadText) -> None:
        if proofread.current == self._editor.text:
            self._replace(*proofread.apply_all())

    def _replace(self, start: int, end: int, text: str) -> None:
        first, last = self._editor.selection_indexes
        self._editor.replace_span(start, end, text)
        if start <= first < last <= end:  # a place that was shown, and is no more
            self._editor.go_to(start + len(text))

    def _ignore(self, proofread: ProofreadText, correction: Correction) -> None:
        change = proofread.change(correction)
        self._ignored |= {change}
        proofread.ignore(change)

    def _show(
        self,
        proofread: ProofreadText,
        correction: Correction,
        dialog: CorrectionsScreen,
    ) -> None:
        if proofread.current == self._editor.text:
            self._editor.go_to(*proofread.span(correction))
            dialog.call_after_refresh(
                lambda: uncover(dialog, self._editor.cursor_screen_offset.y)
            )
