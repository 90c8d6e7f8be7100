"""Proofreading of the edited text: corrections that the model finds, in a list.

Knows no torch.
"""

from __future__ import annotations

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
    """Asks for corrections, lists them while they come, and applies the chosen ones."""

    _read: ProofreadText | None = None
    _ignored: frozenset[tuple[str, str]] = frozenset()  # changes, in this session

    def follow_model(self, state: ModelState) -> None:
        """Forget the corrections of the model before."""
        super().follow_model(state)
        self._read = None

    def ask(self) -> None:
        """List the corrections of the selection, or of the text. While the text stays
        as it is, the list is the one of before, and goes on where it was stopped."""
        can = self._model.capabilities.proofreads
        if why_not := self._model.why_not(can, "Corrections"):
            self._screen.notify(why_not)
            return
        read = self._text_to_read()
        if not read.text[read.start : read.end].strip():
            self._screen.notify("There is no text to proofread.")
            return
        self._read = read
        dialog = CorrectionsScreen(
            read,
            apply=self._apply,
            apply_all=self._apply_all,
            ignore=self._ignore,
            show=lambda each: self._show(each, dialog),
            stop=self._client.cancel,
        )

        def go_to(chosen: Correction) -> None:
            if read.current == self._editor.text:
                self._editor.go_to(*read.span(chosen))

        self._open(dialog, go_to)
        if not read.is_read:
            self._ask_engine(read, dialog)
        self._screen.activity.clear_notice()

    @property
    def status_text(self) -> str:
        """Proofreading, until all is read or the user stops it."""
        return "proofreading" if self._client.is_pending(Slot.REPLACE) else ""

    def _text_to_read(self) -> ProofreadText:
        text, (start, end) = self._editor.text, self._editor.selection_indexes
        known = self._read
        if known is not None and known.current == text:
            same = (known.start, known.end) == (start, end)
            # A correction that was gone to is selected: the list is still meant.
            chosen = map(known.span, known.corrections)
            if start == end or same or (start, end) in chosen:
                return known
        return ProofreadText(text, *((start, end) if start < end else (0, len(text))))

    def _ask_engine(self, read: ProofreadText, dialog: CorrectionsScreen) -> None:
        def take(part: ProofreadPart) -> None:
            read.add(part)
            for change in self._ignored:
                read.ignore(change)
            dialog.show()

        self._client.ask(
            Slot.REPLACE,
            proofread_parts(read.text, read.reached, read.end),
            lambda _: dialog.show(),
            dialog.show_error,
            dropped=dialog.stopped,
            batch=lambda parts: take(*parts),
        )

    def _apply(self, correction: Correction) -> None:
        """Put a correction into the text."""
        assert self._read is not None
        if self._read.current == self._editor.text:
            self._replace(*self._read.apply(correction), correction.text)

    def _apply_all(self) -> None:
        """Put all corrections that are listed into the text, as one undo step."""
        assert self._read is not None
        if self._read.current == self._editor.text:
            self._replace(*self._read.apply_all())

    def _replace(self, start: int, end: int, text: str) -> None:
        first, last = self._editor.selection_indexes
        self._editor.replace_span(start, end, text)
        if start <= first < last <= end:  # a place that was shown, and is no more
            self._editor.go_to(start + len(text))

    def _ignore(self, correction: Correction) -> None:
        """Make a change nowhere, until the program ends."""
        assert self._read is not None
        change = self._read.change(correction)
        self._ignored |= {change}
        self._read.ignore(change)

    def _show(self, correction: Correction, dialog: CorrectionsScreen) -> None:
        """Select the place of a correction in the text, and move the dialog aside."""
        assert self._read is not None
        if self._read.current == self._editor.text:
            self._editor.go_to(*self._read.span(correction))
            dialog.call_after_refresh(
                lambda: uncover(dialog, self._editor.cursor_screen_offset.y)
            )
