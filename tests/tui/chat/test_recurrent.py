"""A chat with a model whose state can't be cut back reads no turn twice."""

from __future__ import annotations

from typing import Any

from tests.engine.test_checkpoints import engine, tokens_run
from tests.tui.chat.chats import chat
from tests.tui.chat.test_shown_numbers import settled


async def test_key_in_the_draft_runs_only_tokens_after_the_last_turn() -> None:
    model: Any = engine()
    async with chat(engine=model) as running:
        for text in ("the cat", "the dog", "the log"):
            await running.say(text)
        await running.type("the quick brown fo")
        await settled(running)
        assert len(model.cache.ids) > 150
        with tokens_run(model) as lengths:
            await running.press("x")
            await running.until(lambda: lengths)
            await settled(running)
        assert sum(lengths) <= 20, lengths


async def test_answer_made_again_reads_no_turn() -> None:
    model: Any = engine()
    async with chat(engine=model) as running:
        for text in ("the cat", "the dog", "the log"):
            await running.say(text)
        await settled(running)
        with tokens_run(model) as lengths:
            await running.press("ctrl+r")
            await running.until(lambda: lengths)
            await running.idle()
        assert set(lengths) == {1}
