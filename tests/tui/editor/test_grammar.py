"""A grammar of the whole text: in ghost text and the panel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.fake_writing import FakeWriter
from tests.tui.editor.writer import ALL, writing

YEAR = "/[0-9]{4}/"
RULES = replace(ALL, grammar=YEAR)


async def test_the_panel_names_the_grammar_and_marks_what_it_forbids(
    tmp_path: Path,
) -> None:
    engine = FakeWriter()
    async with writing(tmp_path, engine, text="19", cursor=2, rules=RULES) as writer:
        await writer.expected()
        assert engine.grammars[-1] == (YEAR, 0)
        assert "Next at the cursor · regex" in writer.seen
        rows = [line.rpartition("│ ")[2] for line in writer.seen.splitlines()]
        marked = [row for row in rows if row.startswith("s⟨")]
        assert marked == [rows[1]]


async def test_a_free_text_has_no_marks(tmp_path: Path) -> None:
    engine = FakeWriter()
    async with writing(tmp_path, engine, text="19", cursor=2) as writer:
        await writer.expected()
        assert engine.grammars[-1] == (None, 0)
        assert "Next at the cursor" in writer.seen and "regex" not in writer.seen


async def test_ghost_text_follows_it_from_the_beginning(
    tmp_path: Path,
) -> None:
    engine = FakeWriter(answers=["84"])
    async with writing(
        tmp_path, engine, text="19", cursor=2, delay=0, rules=RULES
    ) as writer:
        await writer.until(lambda: writer.editor.ghost == "84")
        assert set(engine.grammars) == {(YEAR, 0)}
