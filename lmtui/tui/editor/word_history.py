"""Undo history in steps of a word.

A step is what was typed, or deleted character by character, from the beginning of a
word to that of the next one, without a pause. Any other edit is a step of its own.
Knows no widget.
"""

from __future__ import annotations

from textual.document._edit import Edit
from textual.document._history import EditHistory

from lmtui.tui.editor.layout import steps

_STEPS = 10_000
_PAUSE = 1.0  # seconds after which an edit begins a new step
_LONGEST = 100  # characters that are typed in a step
_IN_WORDS = "_'’"


class WordHistory(EditHistory):
    def __init__(self) -> None:
        super().__init__(_STEPS, _PAUSE, _LONGEST)
        self._last: Edit | None = None

    def record(self, edit: Edit) -> None:
        if self._last is None or not _continues(self._last, edit):
            self.checkpoint()
        else:  # for the base, a letter behind one that replaced a selection would not
            self._previously_replaced = bool(_removed(edit))
        super().record(edit)
        self._last = edit


def begins_word(before: str, character: str) -> bool:
    """Return whether a character begins a word behind the one before it."""
    if before.isspace():
        return not character.isspace()
    return _in_word(character) and not _in_word(before)


def _in_word(character: str) -> bool:
    return character.isalnum() or character in _IN_WORDS


def _continues(last: Edit, edit: Edit) -> bool:
    text, removed = edit.text, _removed(edit)
    if len(text) == len(last.text) == 1 and not removed:
        is_adjacent = last._edit_result is not None and (
            edit.top == last._edit_result.end_location
        )
        return is_adjacent and not begins_word(last.text, text)
    before = _removed(last)
    if text or last.text or not (_is_one(removed) and _is_one(before)):
        return False
    if edit.bottom == last.top:
        return not begins_word(removed[0], before[0])
    return edit.top == last.top and not begins_word(before[0], removed[0])


def _removed(edit: Edit) -> str:
    return edit._edit_result.replaced_text if edit._edit_result else ""


def _is_one(text: str) -> bool:
    return bool(text) and len(list(steps(text))) == 1
