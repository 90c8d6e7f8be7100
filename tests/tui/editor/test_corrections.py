"""The list of corrections: it grows, is walked, and changes only what is chosen."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from rich.cells import cell_len

from lmtui.editing.corrections import ProofreadText
from lmtui.engine.document.types import Correction, ProofreadPart
from lmtui.engine.engine import LocalEngine
from lmtui.errors import LmtuiError
from lmtui.models.load import load
from lmtui.notation import LN2
from lmtui.tui.editor.pickers import (
    CORRECTION_LIMITS,
    NO_CORRECTIONS,
    CorrectionsScreen,
    correction_rows,
)
from tests.fake_writing import FakeWriter
from tests.tui.editor.writer import Writer, writing
from tests.tui.hosts import HOSTILE, safe

TEXT = "teh cat sat on the the mat.\nIt depends of the weather.\n"
PARTS = (
    ProofreadPart(9, (Correction(0, 3, "the", "misspelt", 18.2 * LN2, True),)),
    ProofreadPart(28, (Correction(18, 22, "", "doubled word", 14 * LN2, True),)),
    ProofreadPart(len(TEXT), (Correction(39, 41, "on", "function word", 9.5 * LN2),)),
)


@asynccontextmanager
async def proofreading(
    folder: Path, engine: FakeWriter, words: str, *, text: str = TEXT
) -> AsyncIterator[Writer]:
    """The list of corrections of a text, once it shows these words."""
    async with writing(folder, engine, text=text) as writer:
        await writer.expected()
        await writer.press("alt+k")
        await writer.until(lambda: words in writer.seen)
        yield writer


async def test_corrections_are_listed_while_the_text_is_read(tmp_path: Path) -> None:
    go_on = Event()

    def hold(index: int) -> None:
        if engine.calls[-1][0] == "proofread" and index == 2:
            assert go_on.wait(20)

    engine = FakeWriter(parts=PARTS, on_token=hold)
    async with writing(tmp_path, engine, text=TEXT) as writer:
        await writer.expected()
        await writer.press("alt+k")
        await writer.running.on(CorrectionsScreen)
        await writer.until(lambda: "reading · 50.9% of the text read" in writer.seen)
        await writer.until(lambda: "2 corrections" in writer.seen)
        await writer.until(lambda: "Esc stops" in writer.seen)
        await writer.until(lambda: "teh → the" in writer.seen)
        await writer.until(lambda: "the → (dropped)" in writer.seen)
        go_on.set()
        await writer.until(lambda: "Esc closes" in writer.seen)
        await writer.until(lambda: "3 corrections" in writer.seen)
        await writer.until(lambda: "of → on" in writer.seen)
        assert ("proofread", (TEXT, 0, len(TEXT))) in engine.calls
        assert writer.editor.text == TEXT


async def test_each_correction_that_is_applied_is_undone_by_itself(
    tmp_path: Path,
) -> None:
    engine = FakeWriter(parts=PARTS)
    async with proofreading(tmp_path, engine, "3 corrections") as writer:
        await writer.press("down", "a")
        await writer.until(lambda: "2 corrections" in writer.seen)
        one = TEXT.replace("the the", "the")
        assert writer.editor.text == one
        await writer.press("a")
        await writer.until(lambda: "1 correction · 2 applied" in writer.seen)
        two = one.replace("depends of", "depends on")
        assert writer.editor.text == two
        await writer.press("A")
        every = "the cat sat on the mat.\nIt depends on the weather.\n"
        await writer.until(lambda: "0 corrections · 3 applied" in writer.seen)
        assert writer.editor.text == every
        await writer.press("escape")
        undone = (("ctrl+z", two), ("ctrl+z", one), ("ctrl+z", TEXT), ("ctrl+y", one))
        for key, text in undone:
            await writer.press(key)
            assert writer.editor.text == text


async def test_apply_all_leaves_what_is_not_sure(tmp_path: Path) -> None:
    engine = FakeWriter(parts=PARTS)
    async with proofreading(tmp_path, engine, "3 corrections") as writer:
        assert "? of → on" in writer.seen and "? teh" not in writer.seen
        await writer.press("A")
        await writer.until(lambda: "1 correction, 1 unsure · 2 applied" in writer.seen)
        assert writer.editor.text == (
            "the cat sat on the mat.\nIt depends of the weather.\n"
        )
        await writer.press("A")
        assert "1 correction, 1 unsure · 2 applied" in writer.seen
        await writer.press("a")
        await writer.until(lambda: "0 corrections · 3 applied" in writer.seen)
        await writer.press("escape", "ctrl+z", "ctrl+z")
        assert writer.editor.text == TEXT


async def test_counts_are_those_of_one_run(tmp_path: Path) -> None:
    go_on = Event()

    def hold(index: int) -> None:
        if passes() == 2 and engine.calls[-1][0] == "proofread" and index == 0:
            assert go_on.wait(20)

    def passes() -> int:
        return sum(call[0] == "proofread" for call in engine.calls)

    engine = FakeWriter(parts=PARTS[:2], on_token=hold)
    engine.parts = [*PARTS[:2], ProofreadPart(len(TEXT), ())]
    async with proofreading(tmp_path, engine, "2 corrections") as writer:
        await writer.press("A", "escape", "alt+k")
        await writer.until(lambda: passes() == 2)
        await writer.until(lambda: "0 corrections" in writer.seen)
        assert "applied" not in writer.seen
        assert not re.search(r"words? read", writer.seen)
        go_on.set()


async def test_ignored_change_is_not_listed_again_in_a_run(tmp_path: Path) -> None:
    twice = Correction(4, 7, "the", "misspelt", 9.0)
    text = f"teh teh {TEXT}"
    parts = [ProofreadPart(len(text), (replace(twice, start=0, end=3), twice))]
    engine = FakeWriter(parts=parts)
    async with proofreading(tmp_path, engine, "2 corrections", text=text) as writer:
        await writer.press("i")
        await writer.until(lambda: "0 corrections · 2 ignored" in writer.seen)
        assert writer.editor.text == text
        await writer.press("escape", "ctrl+end", "x", "alt+k")
        await writer.until(lambda: "2 corrections" in writer.seen)
        assert "ignored" not in writer.seen


async def test_next_in_the_text_is_shown_beside_the_list(tmp_path: Path) -> None:
    text = "\n" * 60 + TEXT
    moved = [
        replace(each, start=each.start + 60, end=each.end + 60)
        for part in PARTS
        for each in part.corrections
    ]
    engine = FakeWriter(parts=[ProofreadPart(len(text), tuple(moved))])
    async with proofreading(tmp_path, engine, "3 corrections", text=text) as writer:
        for word in ("teh", " the", "of", "teh"):
            await writer.press("n")
            await writer.until(lambda word=word: writer.editor.selected_text == word)
            await writer.until(lambda: "It depends of the weather." in writer.seen)
        assert writer.editor.text == text


async def test_list_says_that_a_text_is_not_english(tmp_path: Path) -> None:
    def refuse(index: int) -> None:
        if engine.calls[-1][0] == "proofread":
            raise LmtuiError("the text is not English", "", "Only English is read.")

    engine = FakeWriter(parts=PARTS, on_token=refuse)
    words = "the text is not English. Only English is read."
    async with proofreading(tmp_path, engine, words) as writer:
        assert CORRECTION_LIMITS not in writer.seen
        assert "corrections" not in writer.seen


async def test_list_opens_again_while_the_text_stays(tmp_path: Path) -> None:
    engine = FakeWriter(parts=PARTS)

    def passes() -> int:
        return sum(call[0] == "proofread" for call in engine.calls)

    async with proofreading(tmp_path, engine, "3 corrections") as writer:
        await writer.press("enter")
        await writer.until(lambda: writer.editor.selected_text == "teh")
        await writer.press("alt+k")
        await writer.until(lambda: "3 corrections" in writer.seen)
        assert passes() == 1
        await writer.press("escape", "x", "alt+k")
        await writer.until(lambda: passes() == 2)


async def test_escape_stops_the_reading_and_keeps_the_list(tmp_path: Path) -> None:
    go_on = Event()

    def hold(index: int) -> None:
        if engine.calls[-1] == ("proofread", (TEXT, 0, len(TEXT))) and index == 1:
            assert go_on.wait(20)

    engine = FakeWriter(parts=PARTS, on_token=hold)
    async with proofreading(tmp_path, engine, "1 correction") as writer:
        await writer.press("escape")
        await writer.until(lambda: "stopped · 16.4% of the text read" in writer.seen)
        go_on.set()
        await writer.until(lambda: "teh → the" in writer.seen)
        await writer.press("escape", "alt+k")
        await writer.until(lambda: "3 corrections" in writer.seen)
        assert ("proofread", (TEXT, 9, len(TEXT))) in engine.calls


async def test_selection_is_proofread_alone(tmp_path: Path) -> None:
    engine = FakeWriter(parts=[ProofreadPart(7, ())])
    async with writing(tmp_path, engine, text=TEXT) as writer:
        await writer.expected()
        await writer.press(*["shift+right"] * 7, "alt+k")
        await writer.until(lambda: NO_CORRECTIONS in writer.seen)
        assert CORRECTION_LIMITS in writer.seen
        assert ("proofread", (TEXT, 0, 7)) in engine.calls


async def test_blank_text_is_not_proofread(tmp_path: Path) -> None:
    engine = FakeWriter()
    async with writing(tmp_path, engine, text=" \n") as writer:
        await writer.expected()
        await writer.press("alt+k")
        await writer.until(lambda: writer.running.notices)
        assert "There is no text to proofread." in writer.running.notices
        assert all(call[0] != "proofread" for call in engine.calls)


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
def test_correction_rows_align_hostile_texts(words: str) -> None:
    text = f"a {words} b"
    read = ProofreadText(text, 0, len(text))
    found = [
        Correction(0, 1, words, "misspelt", 5 * LN2),
        Correction(2, 2 + len(words), "b", "misspelt", 18.2 * LN2),
    ]
    rows = correction_rows(read, found)
    assert safe("".join(row.plain for row in rows))
    assert {cell_len(row.plain[: row.plain.index(":")]) for row in rows} == {13}


@pytest.mark.real
@pytest.mark.timeout(600)
async def test_the_same_slip_is_found_again_and_again(
    tmp_path: Path, default_home: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(default_home))
        engine = LocalEngine(load(quantize="auto"))
    text = (
        "The cat licked it's paw. Its a nice day. The dog wagged it's tail.\n"
        "The team lost it's way due to it's size. Run `teh` or \"recieve\".\n"
    )
    async with writing(tmp_path, engine, text=text) as writer:  # type: ignore[arg-type]
        await writer.press("alt+k")
        await writer.running.on(CorrectionsScreen)
        await writer.until(lambda: "Esc closes" in writer.seen)
        found = writer.seen.count("it's → its")
        assert found >= 3  # of 4
        while "0 corrections" not in writer.seen:
            await writer.press("a")
        await writer.until(lambda: "0 corrections" in writer.seen)
        changed = text.replace("Its a", "It's a")
        assert writer.editor.text.count("its ") == found
        assert writer.editor.text.replace("its ", "it's ") == changed
