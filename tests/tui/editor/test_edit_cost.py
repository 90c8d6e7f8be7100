"""What edits cost, on the line of the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lmtui.tui.editor.status import FileStatus, forms
from lmtui.tui.widgets.cells import fit_best
from tests.tui.editor.writer import TEXT, Writer, writing

pytestmark = pytest.mark.usefixtures("home")


def total(writer: Writer) -> float:
    """Surprisal of the paragraph in bits, as the totals say it."""
    _, paragraph = writer.screen.scores.totals.parts
    assert paragraph.total is not None
    return -paragraph.total / 0.6931471805599453


async def scored(writer: Writer) -> None:
    scores = writer.screen.scores
    await writer.until(lambda: scores.text.text == writer.editor.text)
    await writer.expected()
    await writer.until(lambda: scores.is_shown and not scores.text.stale())


async def test_edit_shows_its_price_until_it_is_undone_or_saved(
    tmp_path: Path,
) -> None:
    async with writing(tmp_path, cursor=7) as writer:
        await scored(writer)
        before = total(writer)
        assert "edit " not in writer.seen
        await writer.type("xyz")
        await scored(writer)
        await writer.until(lambda: "edit " in writer.seen)
        found = re.search(r"edit ([+−][\d,.]+) bits", writer.seen)
        assert found is not None
        said = float(found[1].replace("−", "-"))
        assert said == pytest.approx(total(writer) - before, abs=0.06)
        while writer.editor.text != TEXT:
            await writer.press("ctrl+z")
        await writer.until(lambda: "edit " not in writer.seen)
        await writer.type("u")
        await writer.until(lambda: "edit " in writer.seen)
        await writer.press("ctrl+s")
        await writer.until(lambda: "edit " not in writer.seen)


def test_price_leaves_the_place_of_the_cursor_on_80_columns() -> None:
    status = FileStatus(
        name="draft.txt",
        modified=True,
        line=3,
        words=4,
        characters=17,
        tokens=17,
        logprob=-115.4,
        edit_bits=48.8,
    )
    line = fit_best(forms(status), 78)[0]
    assert "line 3, column 1 · Σ log P −115.40 nats · edit +48.8 bits" in line
