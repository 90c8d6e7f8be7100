"""Commands that give the next answers a grammar."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmtui.engine.types import SamplingSettings
from tests.fakes import FakeEngine
from tests.tui.chat.test_commands import prompt, talking
from tests.tui.programs import Program, program

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


async def told(running: Program, line: str) -> None:
    """Give a command."""
    prompt(running).text = line
    await running.press("enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_schema_is_followed_until_it_is_switched_off(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    file = tmp_path / "my schema.json"
    file.write_text(json.dumps(SCHEMA), encoding="utf-8")
    async with talking("Hello", size=size) as running:
        await told(running, f"/schema {file}")
        await running.until(lambda: "follow this JSON schema" in running.notices)
        assert running.chat.sampler.settings.grammar == json.dumps(SCHEMA)
        await running.until(lambda: "JSON schema" in running.seen)
        await told(running, "/schema off")
        await running.until(lambda: "follow no grammar" in running.notices)
        assert running.chat.sampler.settings.grammar is None
        assert running.chat.status.note == ""


async def test_the_next_answer_is_asked_for_with_the_grammar() -> None:
    engine = FakeEngine(["one", "two"])
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        await told(running, "/regex [a-z]+")
        await running.until(lambda: "regular expression" in running.notices)
        assert running.chat.status.note == "follows a regular expression"
        await running.ask("a")
        await running.until(lambda: "one" in running.seen)
    asked = [values for verb, values in engine.calls if verb == "generate"]
    settings = asked[-1][1]  # type: ignore[index]
    assert isinstance(settings, SamplingSettings) and settings.grammar == "/[a-z]+/"


@pytest.mark.parametrize(
    ("command", "text", "words"),
    [
        ("/schema", "{]", "column 2"),
        ("/schema", '{"not": {}}', "not"),
        ("/grammar", "start: b", "line 1"),
        ("/regex", "[a", "column 1"),
        ("/schema", None, "can't be read"),
    ],
)
async def test_what_is_no_grammar_changes_nothing_and_says_where(
    command: str, text: str | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "grammar"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    async with talking() as running:
        argument = text if command == "/regex" else str(file)
        await told(running, f"{command} {argument}")
        await running.until(lambda: words in running.notices)
        assert running.chat.sampler.settings.grammar is None


async def test_what_a_schema_can_not_enforce_is_said(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "integer", "foo": 1}', encoding="utf-8")
    async with talking() as running:
        await told(running, f"/schema {file}")
        await running.until(lambda: "Not enforced: foo at #." in running.notices)
