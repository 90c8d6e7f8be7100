"""Commands that give the next answers a grammar."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmtui.engine.types import SamplingSettings
from tests.fakes import FakeEngine
from tests.tui.chat.chats import chat

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


async def test_a_schema_is_followed_until_it_is_switched_off(tmp_path: Path) -> None:
    file = tmp_path / "my schema.json"
    file.write_text(json.dumps(SCHEMA), encoding="utf-8")
    async with chat(size=(80, 24)) as running:
        await running.ask(f"/schema {file}")
        await running.until(lambda: "follow this JSON schema" in running.notices)
        assert running.chat.sampler.settings.grammar == json.dumps(SCHEMA)
        await running.until(lambda: "JSON schema" in running.seen)
        await running.ask("/schema off")
        await running.until(lambda: "follow no grammar" in running.notices)
        assert running.chat.sampler.settings.grammar is None
        assert running.chat.status.note == ""


async def test_the_next_answer_is_asked_for_with_the_grammar() -> None:
    engine = FakeEngine(["one", "two"])
    async with chat(engine=engine) as running:
        await running.ask("/regex [a-z]+")
        await running.until(lambda: "regular expression" in running.notices)
        assert running.chat.status.note == "follows a regular expression"
        await running.say("a")
    asked = [values for verb, values in engine.calls if verb == "generate"]
    settings = asked[-1][1]  # type: ignore[index]
    assert isinstance(settings, SamplingSettings) and settings.grammar == "/[a-z]+/"


@pytest.mark.parametrize(
    ("command", "text", "words"),
    [
        ("/schema", "{]", "column 2"),
        ("/grammar", "start: b", "line 1"),
        ("/schema", None, "can't be read"),
    ],
)
async def test_what_is_no_grammar_is_said(
    command: str, text: str | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "grammar"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    async with chat() as running:
        await running.ask(f"{command} {file}")
        await running.until(lambda: words in running.notices)
        assert running.chat.sampler.settings.grammar is None
