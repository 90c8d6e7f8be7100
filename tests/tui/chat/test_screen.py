"""The chat on a screen, driven by keys, over a scripted engine."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from lmtui.engine.types import Distribution
from lmtui.errors import LmtuiError
from lmtui.tui.dialogs import ActionList, ErrorScreen
from lmtui.tui.widgets.sampler_controls import SamplerControls
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.programs import SETTINGS, holding


async def test_the_prompt_can_be_used_before_there_is_a_model() -> None:
    release = Event()

    def open_model(_: str) -> Any:
        def load(_: Any) -> FakeEngine:
            assert release.wait(20)
            return FakeEngine(answers=["Paris"])

        return load

    async with chat(open_model=open_model, ready=False) as running:
        await running.until(lambda: "The model is loading" in running.seen)
        await running.type("the capital")
        assert running.prompt.text == "the capital"
        await running.press("enter")
        await running.until(lambda: "waits · the capital" in running.seen)
        assert not running.notices
        release.set()
        await running.answered("the capital", "Paris")
        assert "The model is loading" not in running.seen


async def test_failed_model_load_is_explained_and_keeps_the_prompt_usable() -> None:
    error = LmtuiError("no such model", "[bold]x[/nope]", "Name another.")
    async with chat(engines={"default": error}, ready=False) as running:
        screen = await running.on(ErrorScreen)
        await running.until(
            lambda: any(a.option_count for a in screen.query(ActionList))
        )
        await running.press("escape")
        await running.until(lambda: running.state == "no model")
        await running.type("still writing")
        assert running.prompt.text == "still writing"


async def test_an_answer_is_written_and_its_numbers_shown() -> None:
    async with chat(asked="count") as running:
        asked, reply = running.views
        assert (asked.role, asked.text) == ("user", "count")
        assert (reply.role, reply.text) == ("assistant", "one two three")
        node = running.leaf
        assert node.content == "one two three" and node.finish is not None
        assert node.logprob == pytest.approx(node.finish.logprob)
        assert running.panel.chosen == node.steps[-1].id
        assert running.prompt.text == ""


async def test_regenerated_answers_use_and_keep_successive_seeds() -> None:
    engine = FakeEngine(answers=["first", "second", "third"])
    async with chat(engine=engine) as running:
        await running.ask("/seed 7")
        await running.say("go")
        for text in ("second", "third"):
            await running.press("ctrl+r")
            await running.answered("go", text)
        answers = running.conversation.siblings(running.leaf.id)
        assert [node.content for node in answers] == ["first", "second", "third"]
        kept = [node.settings.seed for node in answers if node.settings]
        drawn = [asked[1].seed for verb, asked in engine.calls if verb == "generate"]  # type: ignore[index]
        assert kept == drawn == [7, 8, 9]
        assert running.chat.query_one(SamplerControls).settings.seed == 7


async def test_continue_extends_the_same_answer_and_its_totals() -> None:
    async with chat("one ", "two", asked="go") as running:
        before = running.leaf
        await running.press("ctrl+g")
        await running.answered("go", "one two")
        node = running.leaf
        assert node.id == before.id
        assert node.content == "one two"
        assert before.continuation is not None
        assert running.strip.history.logprob == pytest.approx(node.logprob)
        assert running.strip.history.tokens == len(node.steps)
        assert node.prompt is not None
        used = len(node.prompt.ids) + len(node.steps)
        assert f"context {used} / " in context(running) + " / "


async def test_brackets_switch_between_versions_of_an_answer() -> None:
    async with chat("first", "second", "after", asked="go") as running:
        await running.on_message(1, "left_square_bracket")
        assert running.texts == ["go", "first"]
        await running.press("ctrl+r")
        await running.answered("go", "second")
        assert running.views[1].note == "2/2"
        await running.say("more")
        await running.on_message(1, "left_square_bracket")
        await running.answered("go", "first")
        assert running.views[1].note == "1/2"
        assert running.views[1].has_focus
        # What followed the other version is there again with it.
        await running.press("right_square_bracket")
        await running.answered("go", "second", "more", "after")
        running.prompt.focus()
        await running.press("left_square_bracket")
        assert running.prompt.text == "["


async def test_brackets_switch_versions_from_the_panel_and_in_the_token_view() -> None:
    async with chat("first", "other", asked="go") as running:
        await running.press("ctrl+r")
        await running.answered("go", "other")
        running.panel.focus()
        await running.press("left_square_bracket")
        await running.answered("go", "first")
        await running.press("f3", "right_square_bracket")
        await running.until(
            lambda: "".join(t.text for t in running.tokens.tokens).startswith("other")
        )
        assert running.chat.has_class("-tokens")


async def test_stopped_answer_keeps_its_words_and_its_note() -> None:
    engine, go_on = holding("one two three four five", at=2)
    async with chat(engine=engine) as running:
        await running.ask("count")
        await running.until(lambda: running.texts[1:] and running.texts[1])
        await running.press("escape")
        go_on.set()
        await running.idle()
        reply = running.texts[1]
        assert "one two three four five".startswith(reply) and "five" not in reply
        await running.say("again")
        await running.press("ctrl+r")
        await running.idle()
        assert running.texts[1] == reply
        assert running.views[1].note == "stopped"


async def test_sampler_slider_redraws_the_panel_without_generating() -> None:
    engine = FakeEngine(answers=["x"])
    async with chat(engine=engine) as running:

        def shown() -> Distribution:
            distribution = running.panel.distribution
            assert distribution is not None
            return distribution

        await running.until(lambda: running.panel.distribution)
        before = shown()
        running.chat.query_one(SamplerControls).focus()
        assert before.remaining == 1  # greedy
        while shown().remaining == 1:
            await running.press("left")
        assert shown().handle == before.handle
        assert "generate" not in {verb for verb, _ in engine.calls}


async def test_token_view_shows_tokens_of_answers_and_of_user_messages() -> None:
    async with chat(asked="count") as running:
        tokens = running.tokens
        await running.press("f3")
        await running.until(lambda: tokens.tokens)
        assert len(tokens.tokens) == len(running.leaf.steps)
        await running.press("right")
        await running.until(lambda: running.panel.title == "Token 2")
        await running.press("escape")
        await running.on_message(0, "f3")
        await running.until(lambda: len(tokens.tokens) == len("count"))
        # The panel shows what was expected where each of them stands.
        for index, token in enumerate(tokens.tokens):
            await running.until(lambda token=token: running.panel.chosen == token.id)
            shown = running.panel.distribution
            assert shown is not None
            found = [row for row in shown.candidates if row.id == token.id]
            assert all(row.logprob == pytest.approx(token.logprob) for row in found)
            assert running.panel.title == f"Token {index + 1}"
            await running.press("right")
        total = running.chat.tokens.message.logprob
        assert running.strip.history.logprob == pytest.approx(total)


async def test_prompt_keys_break_lines_send_and_recall_earlier_prompts() -> None:
    async with chat("a", "b") as running:
        await running.type("one")
        await running.press("ctrl+j")
        await running.type("two\\")
        await running.press("enter")
        assert running.prompt.text == "one\ntwo\n"
        await running.press("enter")
        await running.answered("one\ntwo\n", "a")
        await running.type("draft")
        await running.press("up")
        assert running.prompt.text == "one\ntwo\n"
        await running.press("down", "down", "down")
        assert running.prompt.text == "draft"


async def test_f3_without_messages_shows_a_notice() -> None:
    async with chat("x") as running:
        await running.press("f3")
        await running.until(lambda: "no message yet" in running.notices)


def context(running: Chat) -> str:
    """What the strip says of the context."""
    return running.strip.sentences()[2][0][0]


async def test_strip_counts_the_earlier_messages_in_the_context() -> None:
    engine = FakeEngine(answers=["x"])
    async with chat(engine=engine, asked="first") as running:
        await running.type("more")
        messages = running.conversation.messages()
        used = len(engine.score_draft(messages, "more", SETTINGS).context) + 4
        await running.until(lambda: f"context {used} / 4,096" in context(running))
        await running.on_message(0, "f3")
        shown = len(engine.score_draft((), "first", SETTINGS).context) + len("first")
        await running.until(lambda: f"context {shown} / 4,096" in context(running))
