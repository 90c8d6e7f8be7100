"""The chat on a screen, driven by keys, over a scripted engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import pytest
from textual.events import Key

from lmtui.engine.types import Distribution
from lmtui.errors import LmtuiError
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.dialogs import ActionList, ErrorScreen
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.token_view import TokenView
from tests.fakes import FakeEngine
from tests.tui.programs import SETTINGS, Program, holding, program

SIZE = (120, 40)


class Chat(Program):
    """A running chat and what a person sees of it."""

    @property
    def screen(self) -> ChatScreen:
        screen = self.app.screen
        assert isinstance(screen, ChatScreen)
        return screen

    @property
    def state(self) -> str:
        return self.screen.query_one(Status).state

    @property
    def panel(self) -> ProbabilityPanel:
        return self.screen.query_one(ProbabilityPanel)

    @property
    def prompt(self) -> PromptField:
        return self.screen.query_one(PromptField)

    async def type(self, text: str) -> None:
        """Write into the prompt."""
        self.prompt.insert(text)
        await self.pilot.pause()

    async def answered(self, count: int = 2) -> None:
        """Wait for the end of an answer."""
        await self.until(
            lambda: len(self.views) == count and not self.views[-1].note.endswith("…")
        )


@asynccontextmanager
async def chat(
    engine: FakeEngine | None = None,
    *,
    opened: Callable[[Any], Any] | None = None,
    size: tuple[int, int] = SIZE,
    ready: bool = True,
) -> AsyncIterator[Chat]:
    def open_engine(_: Any) -> Any:
        return engine or FakeEngine(answers=["one two three"])

    async with program(
        open_model=lambda _: opened or open_engine, first="chat", size=size
    ) as begun:
        running = Chat(begun.app, begun.pilot)
        if ready:
            await running.until(lambda: running.state == "ready")
        yield running


async def test_the_prompt_can_be_used_before_there_is_a_model() -> None:
    release = Event()

    def slowly(_: Any) -> FakeEngine:
        assert release.wait(20)
        return FakeEngine(answers=["Paris"])

    async with chat(opened=slowly, ready=False) as running:
        await running.type("the capital")
        assert running.prompt.text == "the capital"
        await running.pilot.press("enter")
        assert running.notices == " Your message is sent once a model is loaded."
        release.set()
        await running.answered()
        assert [view.text for view in running.views] == ["the capital", "Paris"]


async def test_failed_model_load_is_explained_and_keeps_the_prompt_usable() -> None:
    def refuse(_: Any) -> FakeEngine:
        raise LmtuiError("no such model", "[bold]x[/nope]", "Name another.")

    async with chat(opened=refuse, ready=False) as running:
        await running.until(lambda: isinstance(running.app.screen, ErrorScreen))
        error = running.app.screen
        await running.until(
            lambda: any(a.option_count for a in error.query(ActionList))
        )
        await running.pilot.press("escape")
        await running.until(lambda: running.state == "no model")
        await running.type("still writing")
        assert running.prompt.text == "still writing"


async def test_the_panel_follows_the_draft() -> None:
    engine = FakeEngine(answers=["x"])
    async with chat(engine) as running:
        await running.until(lambda: running.panel.distribution)
        empty = running.panel.distribution
        await running.type("the cat")
        await running.until(lambda: running.panel.distribution != empty)
        assert running.panel.title == "Next in your message"
        strip = running.screen.query_one(LikelihoodStrip)
        await running.until(lambda: strip.history.tokens == len("the cat"))


async def test_an_answer_is_written_and_its_numbers_shown() -> None:
    async with chat() as running:
        await running.ask("count")
        await running.answered()
        asked, reply = running.views
        assert (asked.role, asked.text) == ("user", "count")
        assert (reply.role, reply.text) == ("assistant", "one two three")
        node = running.screen.session.conversation.leaf
        assert node.content == "one two three"
        assert node.logprob == pytest.approx(node.finish.logprob if node.finish else 0)
        assert running.panel.chosen == node.steps[-1].id
        assert running.prompt.text == ""


async def test_escape_stops_the_answer_and_keeps_its_words() -> None:
    engine, go_on = holding("one two three four five", at=2)
    async with chat(engine) as running:
        await running.ask("count")
        await running.until(lambda: len(running.views) == 2 and running.views[1].text)
        await running.pilot.press("escape")
        go_on.set()
        await running.answered()
        reply = running.views[1]
        assert "one two three four five".startswith(reply.text)
        assert reply.text != "one two three four five"
        assert reply.note == "stopped"
        assert "stopped" not in reply.text


async def test_an_engine_error_gives_the_prompt_back() -> None:
    engine = FakeEngine(answers=["x"])
    async with chat(engine) as running:
        engine.error = LmtuiError("out of memory", "", "Close something.")
        await running.ask("a long story\nin two lines")
        await running.until(lambda: running.prompt.text)
        assert running.prompt.text == "a long story\nin two lines"
        assert running.views == []


async def test_regenerate_makes_another_answer() -> None:
    async with chat(FakeEngine(answers=["first", "second"])) as running:
        await running.ask("go")
        await running.answered()
        await running.pilot.press("ctrl+r")
        await running.until(lambda: running.last_text == "second")
        await running.answered()
        leaf = running.screen.session.conversation.leaf
        versions = running.screen.session.conversation.siblings(leaf.id)
        assert [version.content for version in versions] == ["first", "second"]


async def test_regenerated_answers_use_and_keep_successive_seeds() -> None:
    engine = FakeEngine(answers=["first", "second", "third", "fourth"])
    async with chat(engine) as running:
        await running.ask("/seed 7")
        await running.ask("go")
        await running.answered()
        for _ in range(2):
            await running.pilot.press("ctrl+r")
            await running.answered()
        asked = running.screen.session.conversation.root
        answers = running.screen.session.conversation.children(asked.id + 1)
        kept = [node.settings.seed for node in answers if node.settings]
        drawn = [asked[1].seed for verb, asked in engine.calls if verb == "generate"]
        assert kept == drawn == [7, 8, 9]
        assert running.screen.query_one(SamplerControls).settings.seed == 7
        await running.ask("go")
        await running.answered(4)
        leaf = running.screen.session.conversation.leaf
        assert leaf.settings and leaf.settings.seed == 7


async def test_continue_extends_the_same_answer_and_its_totals() -> None:
    engine = FakeEngine(answers=["one ", "two"])
    async with chat(engine) as running:
        await running.ask("go")
        await running.answered()
        before = running.screen.session.conversation.leaf
        await running.pilot.press("ctrl+g")
        await running.until(lambda: running.last_text == "one two")
        await running.answered()
        node = running.screen.session.conversation.leaf
        assert node.id == before.id
        assert node.content == "one two"
        assert before.continuation is not None
        strip = running.screen.query_one(LikelihoodStrip)
        assert strip.history.logprob == pytest.approx(node.logprob)
        assert strip.history.tokens == len(node.steps)
        assert node.prompt is not None
        used = len(node.prompt.ids) + len(node.steps)
        assert f"context {used} / " in strip.sentences()[3][0][0] + " / "


async def test_brackets_switch_between_versions_of_an_answer() -> None:
    engine = FakeEngine(answers=["first", "second", "after"])
    async with chat(engine) as running:
        await running.ask("go")
        await running.answered()
        running.views[1].focus()
        await running.pilot.press("left_square_bracket")
        await running.pilot.pause()
        assert [view.text for view in running.views] == ["go", "first"]
        await running.pilot.press("ctrl+r")
        await running.until(lambda: running.last_text == "second")
        await running.answered()
        assert running.views[1].note == "2/2"
        await running.ask("more")
        await running.answered(4)
        running.views[1].focus()
        await running.pilot.press("left_square_bracket")
        await running.until(lambda: len(running.views) == 2)
        assert running.views[1].text == "first"
        assert running.views[1].note == "1/2"
        assert running.views[1].has_focus
        # What followed the other version is there again with it.
        await running.pilot.press("right_square_bracket")
        await running.until(lambda: len(running.views) == 4)
        assert [v.text for v in running.views] == ["go", "second", "more", "after"]
        running.prompt.focus()
        await running.pilot.press("left_square_bracket")
        assert running.prompt.text == "["


async def test_brackets_switch_versions_in_the_token_view() -> None:
    async with chat(FakeEngine(answers=["first", "other"])) as running:
        await running.ask("go")
        await running.answered()
        await running.pilot.press("ctrl+r")
        await running.until(lambda: running.last_text == "other")
        await running.answered()
        await running.pilot.press("f3", "left_square_bracket")
        tokens = running.screen.query_one(TokenView)
        await running.until(
            lambda: "".join(t.text for t in tokens.tokens).startswith("first")
        )
        assert running.screen.has_class("-tokens")


async def test_stopped_note_stays_beside_its_answer() -> None:
    engine, go_on = holding("one two three four five", at=2)
    async with chat(engine) as running:
        await running.ask("count")
        await running.until(lambda: len(running.views) == 2 and running.views[1].text)
        await running.pilot.press("escape")
        go_on.set()
        await running.answered()
        await running.ask("again")
        await running.answered(4)
        await running.pilot.press("ctrl+r")
        await running.answered(4)
        assert running.views[1].note == "stopped"


async def test_sampler_slider_redraws_the_panel_without_generating() -> None:
    engine = FakeEngine(answers=["x"])
    async with chat(engine) as running:

        def shown() -> Distribution:
            distribution = running.panel.distribution
            assert distribution is not None
            return distribution

        await running.until(lambda: running.panel.distribution)
        before = shown()
        running.screen.query_one(SamplerControls).focus()
        assert before.remaining == 1  # greedy
        for _ in range(40):
            await running.pilot.press("left")
        await running.until(lambda: shown().remaining > 1)
        assert shown().handle == before.handle
        verbs = {verb for verb, _ in engine.calls}
        assert "generate" not in verbs


async def test_token_view_shows_tokens_of_answers_and_of_user_messages() -> None:
    async with chat() as running:
        await running.ask("count")
        await running.answered()
        await running.pilot.press("f3")
        tokens = running.screen.query_one(TokenView)
        await running.until(lambda: tokens.tokens)
        assert len(tokens.tokens) == len(running.screen.session.conversation.leaf.steps)
        await running.pilot.press("right")
        await running.until(lambda: running.panel.title == "Token 2")
        await running.pilot.press("escape")
        running.views[0].focus()
        await running.pilot.press("f3")
        await running.until(lambda: len(tokens.tokens) == len("count"))
        # The panel shows what was expected where each of them stands.
        for index, token in enumerate(tokens.tokens):
            await running.until(lambda token=token: running.panel.chosen == token.id)
            shown = running.panel.distribution
            assert shown is not None
            found = [row for row in shown.candidates if row.id == token.id]
            assert all(row.logprob == pytest.approx(token.logprob) for row in found)
            assert running.panel.title == f"Token {index + 1}"
            await running.pilot.press("right")
        strip = running.screen.query_one(LikelihoodStrip)
        total = running.screen.tokens.message.logprob
        assert strip.history.logprob == pytest.approx(total)


HOSTILE = (
    "\x1b[31mred \x1b]52;c;AAAA\x07 [bold]x[/x] \x9b2J \u202eabc\x00 " + "e\u0301" * 50
)


async def test_hostile_text_is_only_drawn() -> None:
    async with chat(FakeEngine(answers=[HOSTILE], name="m\x1b]0;x\x07")) as running:
        await running.ask(HOSTILE)
        await running.answered()
        picture = running.app.export_screenshot()
        assert not {c for c in picture if ord(c) < 32 and c not in "\n\t"}
        assert "\x9b" not in picture
        assert "\u202e" not in picture
        assert running.views[1].text == HOSTILE


async def test_quitting_while_an_answer_streams_exits_with_zero() -> None:
    engine, go_on = holding("a b c d", at=1)
    async with chat(engine) as running:
        await running.ask("go")
        await running.until(lambda: len(running.views) == 2)
        await running.pilot.press("ctrl+q")
        go_on.set()
    assert running.app.return_code == 0


async def test_prompt_sent_during_an_answer_is_answered_after_it() -> None:
    engine, go_on = holding("a b c", at=1)
    async with chat(engine) as running:
        await running.ask("first")
        await running.until(lambda: len(running.views) == 2)
        await running.ask("second")
        assert running.prompt.text == ""
        go_on.set()
        await running.answered(4)
        assert [view.text for view in running.views] == [
            "first", "a b c", "second", "a b c",
        ]  # fmt: skip


async def test_stopping_the_answer_returns_the_waiting_prompt() -> None:
    engine, go_on = holding("a b c", at=1)
    async with chat(engine) as running:
        await running.ask("first")
        await running.until(lambda: len(running.views) == 2)
        await running.ask("second")
        await running.pilot.press("escape")
        go_on.set()
        await running.answered()
        assert running.prompt.text == "second"


async def test_prompt_keys_break_lines_send_and_recall_earlier_prompts() -> None:
    async with chat(FakeEngine(answers=["a", "b"])) as running:
        await running.type("one")
        await running.pilot.press("ctrl+j")
        await running.type("two\\")
        await running.pilot.press("enter")
        assert running.prompt.text == "one\ntwo\n"
        await running.pilot.press("enter")
        await running.answered()
        await running.type("draft")
        await running.pilot.press("up")
        assert running.prompt.text == "one\ntwo\n"
        await running.pilot.press("down", "down", "down")
        assert running.prompt.text == "draft"


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (40, 12)])
async def test_chat_works_at_any_terminal_size(size: tuple[int, int]) -> None:
    async with chat(size=size) as running:
        await running.ask("count")
        await running.answered()
        for key in ("f2", "f2", "f4", "f4", "f3", "escape", "f1", "f1"):
            await running.pilot.press(key)
        await running.pilot.resize_terminal(90, 30)
        assert running.prompt.region.height >= 3
        assert running.views[1].text == "one two three"


async def test_keys_act_in_the_order_they_were_typed() -> None:
    async with chat() as running:
        for key in ("o", "n", "e", "ctrl+j", "t", "w", "o"):
            running.app.post_message(Key(key, key if len(key) == 1 else None))
        await running.until(lambda: running.prompt.text == "one\ntwo")


async def test_f3_without_messages_shows_a_notice() -> None:
    async with chat(FakeEngine(answers=["x"])) as running:
        await running.pilot.press("f3")
        await running.until(lambda: "no message yet" in running.notices)


async def test_strip_counts_the_earlier_messages_in_the_context() -> None:
    engine = FakeEngine(answers=["x"])
    async with chat(engine) as running:
        await running.ask("first")
        await running.answered()
        await running.type("more")
        strip = running.screen.query_one(LikelihoodStrip)
        messages = running.screen.session.conversation.messages()
        before = len(engine.score_draft(messages, "more", SETTINGS).context)
        await running.until(
            lambda: (
                f"context {before + len('more')} / 4,096" in strip.sentences()[3][0][0]
            )
        )
        running.views[0].focus()
        await running.pilot.press("f3")
        shown = len(engine.score_draft((), "first", SETTINGS).context) + len("first")
        await running.until(
            lambda: f"context {shown} / 4,096" in strip.sentences()[3][0][0]
        )
