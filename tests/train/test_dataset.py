"""Notes as ids, and what the user should know of them first."""

from __future__ import annotations

from copy import copy
from pathlib import Path

from lmtui.engine.types import ChatTurn
from lmtui.train.dataset import NOTHING_COUNTS, prepare
from lmtui.train.events import Skip
from lmtui.train.notes import Notes, NotesDocument
from lmtui.train.split import Split, SplitNotes
from tests.models import tiny


def test_held_out_rows_that_can_not_be_used_are_warned_of() -> None:
    tokenizer = copy(tiny.tokenizer())  # of which all tests have the same
    tokenizer.chat_template = "{{ raise_exception('no such role') }}"
    text = NotesDocument("a.md", "the quick brown fox " * 20)
    chat = (ChatTurn("user", "a"), ChatTurn("assistant", "b"))
    parts = Split((text,), (NotesDocument("b.jsonl:1", chat, is_row=True),))
    notes = Notes(Path("/notes"), (), (*parts.training, *parts.held_out), ())
    skipped: list[Skip] = []
    made = prepare(SplitNotes(notes, parts), tokenizer, length=32, skip=skipped.append)
    assert [skip.path for skip in skipped] == ["b.jsonl:1"]
    assert NOTHING_COUNTS in made.remarks
    fine = SplitNotes(notes, Split((text,), (text,)))
    assert prepare(fine, tokenizer, length=32, skip=skipped.append).remarks == ()
