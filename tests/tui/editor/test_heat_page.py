"""The heat map as a page: all tokens of the text, and no file overwritten."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lmtui.tui.widgets.line_prompt import LinePrompt
from tests.tui.editor.writer import TEXT, writing

pytestmark = pytest.mark.usefixtures("home")


async def test_heat_is_written_as_a_page_beside_the_file(tmp_path: Path) -> None:
    async with writing(tmp_path, cursor=7) as writer:
        await writer.expected()
        await writer.press("alt+h")
        prompt = writer.screen.query_one(LinePrompt)
        await writer.until(lambda: prompt.is_open)
        assert prompt.field.value == str(tmp_path / "draft.html")
        await writer.press("enter")
        await writer.until(lambda: "wrote draft.html" in writer.seen)
        page = (tmp_path / "draft.html").read_text(encoding="utf-8")
        data = re.search(
            r"<script[^>]*application/json[^>]*>(.*?)</script>", page, re.S
        )
        assert data is not None
        (text,) = json.loads(data[1])["texts"]
        assert "".join(cell[0] for cell in text["cells"]) == TEXT
        scores = writer.screen.scores.text
        assert text["own"]["tokens"] == len(list(scores.tokens()))
        assert text["own"]["logprob"] == pytest.approx(scores.sum().logprob)

        await writer.press("alt+h")
        await writer.until(lambda: prompt.is_open)
        await writer.press("enter")
        await writer.until(lambda: "there is a file of this name" in writer.seen)
