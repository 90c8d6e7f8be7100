"""Banned phrases in the chat: the commands, and what was taken back as versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lmtui.engine.types import GenerationResult, Step, TakenBack
from tests.fakes import FakeEngine
from tests.tui.chat.test_commands import prompt, talking
from tests.tui.programs import Program, program


class Returning(FakeEngine):
    """An engine whose answers took back their second token once."""

    def generate(self, *given: Any, **how: Any) -> Iterator[Step | GenerationResult]:
        steps = []
        for item in super().generate(*given, **how):
            if isinstance(item, Step):
                steps.append(item)
                yield item
            else:
                taken = replace(steps[1], piece=" bad", text=" bad")
                yield replace(item, taken_back=(TakenBack(1, (taken,), " bad"),))


async def told(running: Program, line: str) -> None:
    prompt(running).text = line
    await running.press("enter")


async def test_phrases_are_banned_listed_and_allowed_again() -> None:
    async with talking() as running:
        sampler = running.chat.sampler
        await told(running, "/ban")
        await running.until(lambda: "No phrase is banned." in running.notices)
        await told(running, '/ban " a testament to"')
        await told(running, "/ban delve")
        await told(running, "/ban delve")
        await running.until(
            lambda: sampler.settings.banned_phrases == (" a testament to", "delve")
        )
        await told(running, "/ban")
        await running.until(lambda: "“ a testament to”, “delve”" in running.notices)
        await told(running, "/unban other")
        await running.until(lambda: "“other” is not banned" in running.notices)
        await told(running, "/unban delve")
        await running.until(
            lambda: sampler.settings.banned_phrases == (" a testament to",)
        )
        await told(running, "/unban all")
        await running.until(lambda: sampler.settings.banned_phrases == ())


async def test_what_was_taken_back_is_a_version() -> None:
    engine = Returning([["A", " good", " cat"]])
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        await running.ask("What?")
        await running.until(lambda: "took back a banned phrase" in running.seen)
        assert "A good cat" in running.seen
        conversation = running.chat.session.conversation
        reply = conversation.leaf
        assert reply.content == "A good cat"
        versions = conversation.siblings(reply.id)
        assert [each.content for each in versions] == ["A good cat", "A bad"]
        assert len(conversation.node(versions[1].id).steps) == 2
        await running.press("alt+up", "right_square_bracket")
        await running.until(lambda: "A bad" in running.seen)
