"""Banned phrases in the chat: the commands, and what was taken back as versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lmtui.engine.types import GenerationResult, Step, TakenBack
from tests.fakes import FakeEngine
from tests.tui.chat.chats import chat


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


async def test_phrases_are_banned_listed_and_allowed_again() -> None:
    async with chat() as running:

        def banned() -> tuple[str, ...]:
            return running.chat.sampler.settings.banned_phrases

        await running.ask("/ban")
        await running.until(lambda: "No phrase is banned." in running.notices)
        await running.ask('/ban " a testament to"')
        await running.ask("/ban delve")
        await running.ask("/ban delve")
        await running.until(lambda: banned() == (" a testament to", "delve"))
        await running.ask("/ban")
        await running.until(lambda: "“ a testament to”, “delve”" in running.notices)
        await running.ask("/ban off")
        await running.until(lambda: banned() == ())
        await running.ask('/ban "off"')
        await running.until(lambda: banned() == ("off",))


async def test_what_was_taken_back_is_a_version() -> None:
    engine = Returning([["A", " good", " cat"]])
    async with chat(engine=engine) as running:
        await running.ask("What?")
        await running.until(lambda: "took back a banned phrase" in running.seen)
        assert running.leaf.content == running.last_text == "A good cat"
        versions = running.conversation.siblings(running.leaf.id)
        assert [each.content for each in versions] == ["A good cat", "A bad"]
        assert len(running.conversation.node(versions[1].id).steps) == 2
        await running.press("alt+up", "right_square_bracket")
        await running.until(lambda: "A bad" in running.seen)
