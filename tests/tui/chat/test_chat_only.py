"""The screens over a model that is only talked with: what is missing is said once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lmtui.chat.conversation import Conversation
from lmtui.chat.records import from_json, to_json
from lmtui.chat.summary import ConversationMeta
from lmtui.cli.main import main
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Capabilities,
    ChatTurn,
    Prompt,
    Step,
)
from lmtui.tui.inspect_source import InspectSource
from tests.fakes import FakeEngine
from tests.tui.chat.chats import chat
from tests.tui.programs import program

WHY = "This server is for chats."


class ChatOnlyEngine(FakeEngine):
    """A scripted engine whose prompts have no ids, and that scores no text."""

    capabilities = Capabilities(edits=False, scores=False, why_not=WHY)

    def prompt(self, messages: Sequence[ChatTurn], **how: Any) -> Prompt:
        self.laid_out = super().prompt(messages, **how)
        return replace(self.laid_out, ids=())

    def generate(self, prompt: Prompt, *arguments: Any, **how: Any) -> Any:
        return super().generate(self.laid_out, *arguments, **how)


async def test_answer_is_shown_and_no_draft_is_scored() -> None:
    engine = ChatOnlyEngine(answers=["one two three"])
    async with chat(engine=engine) as running:
        await running.type("Count")
        assert WHY in running.seen
        await running.press("enter")
        await running.answered("Count", "one two three")
        assert running.panel.distribution is not None
        await running.type("and")
        assert running.panel.distribution is None and WHY in running.seen
        assert not {name for name, _ in engine.calls} & {"score_draft", "score"}


def test_json_and_export_have_no_ids(
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = ChatOnlyEngine(answers=["one two three"])
    assert not main(["chat", "--json", "--once", "Count"], open_engine=lambda _: engine)
    start, token, *_ = map(json.loads, capsys.readouterr().out.splitlines())
    assert start["prompt_ids"] is token["id"] is None and token["bytes"]
    assert token["top"] and not any(row["id"] for row in token["top"])
    talked = Conversation()
    engine = ChatOnlyEngine(answers=["one two three"])
    reply = talked.reply(talked.say("Count").id, model="m", settings=SamplingSettings())
    prompt = engine.prompt([ChatTurn("user", "Count")])
    talked.lay_out(reply.id, prompt)
    *steps, _ = engine.generate(prompt, SamplingSettings())
    talked.grow(reply.id, steps)
    line = to_json(talked, ConversationMeta("Title"))
    assert json.loads(line)["messages"][-1]["steps"]["ids"] is None
    found, meta = from_json(line)
    assert to_json(found, meta) == line
    tokens = found.node(reply.id).steps
    assert [step.bytes for step in tokens] == [step.bytes for step in steps]


async def test_keys_that_need_ids_say_why_not() -> None:
    engine = ChatOnlyEngine(answers=["one two three", "four"])
    async with chat(engine=engine, asked="Count") as running:
        await running.press("ctrl+g")
        assert running.notices.count(WHY) == 1
        await running.press("f3", "enter")
        await running.until(lambda: running.chat.has_class("-tokens"))
        assert running.panel.distribution is not None
        await running.press("down", "enter")
        await running.until(lambda: running.notices.count(WHY) == 2)
        await running.press("escape", "alt+up", "alt+up", "f3")
        await running.until(lambda: running.notices.count(WHY) == 3)
        assert len(running.views) == 2 and running.state == "ready"


async def test_inspector_says_why_there_is_nothing() -> None:
    engine = ChatOnlyEngine(answers=[])
    subject = InspectSource("notes.txt", read=lambda: "Hello")
    async with program({"default": engine}, first="inspect", source=subject) as running:
        await running.until(lambda: "This server is for" in running.seen)
        assert not engine.calls and not running.notices


@pytest.mark.parametrize("command", ["complete --print", "inspect --json"])
def test_commands_that_need_scores_are_refused(
    command: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "text.txt"
    file.write_text("Hello")
    name, option = command.split()
    code = main([name, str(file), option], open_engine=lambda _: ChatOnlyEngine())
    shown = capsys.readouterr()
    assert code and not shown.out
    assert "a text can't be used here" in shown.err and "lmtui serve" in shown.err


class PartlyBare(ChatOnlyEngine):
    """One whose second token has no numbers."""

    def generate(self, prompt: Prompt, *arguments: Any, **how: Any) -> Any:
        for item in super().generate(prompt, *arguments, **how):
            if isinstance(item, Step) and item.index == 1:
                nowhere = replace(item.distribution, handle=-1)
                item = replace(item, logprob=None, distribution=nowhere)
            yield item


async def test_token_without_numbers_says_so() -> None:
    engine = PartlyBare(answers=["one two three"])
    async with chat(engine=engine, asked="Count") as running:
        await running.press("f3")
        await running.until(lambda: running.chat.has_class("-tokens"))
        await running.press("right")
        await running.until(lambda: "server sends no" in running.seen)
        await running.press("left")
        await running.until(lambda: running.panel.distribution is not None)
