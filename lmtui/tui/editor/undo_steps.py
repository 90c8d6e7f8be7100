"""Conversion between the batches of Textual's undo history and plain undo steps."""

from __future__ import annotations

from collections.abc import Sequence

from textual.document._document import EditResult, Selection
from textual.document._edit import Edit

from lmtui.editing.undo_file import UndoEdit, UndoStep
from lmtui.tui.widgets.line_document import end_of


def undo_step_of(batch: Sequence[Edit]) -> UndoStep:
    """Return the edits of a batch, which have been done."""
    edits = []
    for edit in batch:
        before, done = edit._original_selection, edit._edit_result
        assert before is not None and done is not None
        replaced, (start, end) = done.replaced_text, before
        edits.append(UndoEdit(edit.top, replaced, edit.text, (start, end)))
    return tuple(edits)


def batch_of(step: UndoStep) -> list[Edit]:
    """Return a batch that is undone like this step."""
    batch = []
    for each in step:
        end = end_of(each.start, each.replaced)
        edit = Edit(each.text, each.start, end, maintain_selection_offset=False)
        edit._original_selection = Selection(*each.selection)
        edit._edit_result = EditResult(end_of(each.start, each.text), each.replaced)
        batch.append(edit)
    return batch
