"""Conversion between the batches of Textual's undo history and plain undo steps."""

from __future__ import annotations

from collections.abc import Sequence

from textual.document._document import EditResult, Selection
from textual.document._edit import Edit

from lmtui.editing.undo_file import UndoEdit, UndoStep
from lmtui.tui.widgets.line_document import end_of


def undo_step_of(batch: Sequence[Edit]) -> UndoStep:
    edits = []
    for edit in batch:
        selection, result = edit._original_selection, edit._edit_result
        assert selection is not None and result is not None
        replaced, (start, end) = result.replaced_text, selection
        edits.append(UndoEdit(edit.top, replaced, edit.text, (start, end)))
    return tuple(edits)


def batch_of(step: UndoStep) -> list[Edit]:
    batch = []
    for undo_edit in step:
        end = end_of(undo_edit.start, undo_edit.replaced)
        edit = Edit(
            undo_edit.text, undo_edit.start, end, maintain_selection_offset=False
        )
        edit._original_selection = Selection(*undo_edit.selection)
        edit._edit_result = EditResult(
            end_of(undo_edit.start, undo_edit.text), undo_edit.replaced
        )
        batch.append(edit)
    return batch
