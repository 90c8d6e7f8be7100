"""The draft, what waits, what Esc stops, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from textual.widgets import Static

from lmtui.engine.types import ChatTurn
from lmtui.engine.types import Prompt as Given
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.status import Status
from tests.fakes import FakeEngine
from tests.tui.programs import Program, holding, program


def draft(running: Program) -> str:
    return running.chat.query_one(PromptField).text


def state(running: Program) -> str:
    return running.chat.query_one(Status).state


def texts(running: Program) -> list[str]:
    return [view.text for view in running.views]


async def test_undo_restores_a_cleared_draft_but_no_sent_prompt() -> None:
    async with program(first="chat") as running:
        await running.ready()
        await running.ask("France?")
        await running.until(lambda: texts(running)[1:] == ["one two three"])
        await running.press("ctrl+z")
        assert draft(running) == ""
        await running.press(*"ab", "ctrl+j", *"cd")
        await running.press("ctrl+u")
        assert draft(running) == ""
        await running.press("ctrl+z")
        assert draft(running) == "ab\ncd"


async def test_esc_closes_the_list_of_commands_before_it_stops_an_answer() -> None:
    engine, go_on = holding("one two three", at=1, name="default")
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        await running.ask("count")
        await running.until(lambda: texts(running)[1:] == ["one"])
        await running.press("/")
        await running.until(lambda: "/help " in running.seen)
        await running.press("escape")
        assert "/help " not in running.seen
        assert (draft(running), running.chat.session.is_busy) == ("/", True)
        await running.press("h")  # no list comes back while this command is written
        assert "/help " not in running.seen
        go_on.set()
        await running.until(lambda: texts(running)[1:] == ["one two three"])
        await running.press("backspace", "backspace", "/")
        assert "/help " in running.seen


async def test_waiting_prompts_are_shown_and_recalled_one_by_one() -> None:
    engine, go_on = holding("one two three", at=0, name="default")
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        await running.ask("first")
        for text in ("second", "third\nof two lines"):
            await running.ask(text)
        # While the prompt is read too.
        await running.until(lambda: "waits · third of two lines" in running.seen)
        assert "waits · second" in running.seen
        await running.press("up")
        assert draft(running) == "third\nof two lines"
        assert "waits · third" not in running.seen
        await running.press("ctrl+u")
        go_on.set()
        await running.until(
            lambda: len(texts(running)) == 4 and not running.chat.session.is_busy
        )
        assert texts(running)[::2] == ["first", "second"]
        assert "waits" not in running.seen


async def test_escape_does_not_return_a_recalled_prompt_twice() -> None:
    engine, go_on = holding("one two three", at=1, name="default")
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        for text in ("first", "abc", "def"):
            await running.ask(text)
        await running.press("x", "up")  # what is written makes Up recall
        assert draft(running) == "def"
        await running.press("escape")
        go_on.set()
        await running.until(lambda: not running.chat.session.is_busy)
        assert draft(running) == "abc\ndef"


async def test_answer_stopped_before_its_first_word_leaves_no_message() -> None:
    engine, go_on = holding("one two three", at=0, name="default")
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        await running.ask("count")
        await running.until(lambda: len(texts(running)) == 2)
        await running.press("escape")
        go_on.set()
        await running.until(lambda: not running.chat.session.is_busy)
        await running.until(lambda: texts(running) == ["count"])
        await running.until(lambda: "You · not answered; the next one" in running.seen)
        assert "stopped before the first word" in state(running)
        await running.press("ctrl+r")
        await running.until(lambda: texts(running)[1:] == ["one two three"])
        await running.until(lambda: "not answered" not in running.seen)


@pytest.mark.parametrize("has_template", [True, False])
async def test_chat_says_when_a_base_model_has_no_chat_template(
    has_template: bool,
) -> None:
    engine = FakeEngine(["x"], name="default", has_template=has_template)
    async with program({"default": engine}, first="chat", notices=True) as running:
        await running.ready()
        await running.until(lambda: "ready" in state(running))
        await running.pilot.pause()
        shown = "base model: no chat template" in running.seen
        assert shown is not has_template
        assert ("User: …⏎Assistant:" in running.seen) is not has_template


async def test_status_shows_scoring_until_escape_stops_it() -> None:
    held, reached, go_on = Event(), Event(), Event()

    def hold(index: int) -> None:
        if held.is_set():
            reached.set()
            assert go_on.wait(20)

    engine = FakeEngine(["a", "b"], name="default", on_token=hold)
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        await running.ask("count")
        await running.until(lambda: texts(running)[1:] == ["a"])
        await running.until(lambda: not running.chat.session.is_busy)
        held.set()
        running.views[0].focus()
        await running.press("f3")
        await running.until(reached.is_set)
        assert state(running).startswith("scoring")
        await running.press("f3")  # changes nothing
        await running.press("escape")
        assert state(running) == "reading your message"  # the draft, once it is free
        go_on.set()
        await running.pilot.pause()
        assert not running.chat.has_class("-tokens")
        running.views[0].focus()
        await running.press("f3")
        await running.until(lambda: running.chat.has_class("-tokens"))
        assert state(running) == "ready"


async def test_panel_stops_saying_loading_once_the_model_is_loaded() -> None:
    engine, go_on = holding("one two three", at=0, name="default")
    release = Event()

    def open_model(_: str) -> Any:
        def load(_: Any) -> FakeEngine:
            assert release.wait(20)
            return engine

        return load

    async with program(open_model=open_model, first="chat") as running:
        await running.until(lambda: "The model is loading" in running.seen)
        await running.ask("count")
        await running.until(lambda: "waits · count" in running.seen)
        release.set()
        await running.until(lambda: "reading the prompt" in state(running))
        assert "The model is loading" not in running.seen
        await running.press("escape")
        go_on.set()
        await running.until(lambda: not running.chat.session.is_busy)
        assert state(running).startswith("stopped")
        assert "The model is loading" not in running.seen


async def test_bracket_switches_versions_from_the_panel() -> None:
    engine = FakeEngine(["first", "second"], name="default")
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        await running.ask("go")
        await running.until(lambda: texts(running)[1:] == ["first"])
        await running.until(lambda: not running.chat.session.is_busy)
        await running.press("ctrl+r")
        await running.until(lambda: texts(running)[1:] == ["second"])
        await running.until(lambda: not running.chat.session.is_busy)
        running.chat.query_one(ProbabilityPanel).focus()
        await running.press("left_square_bracket")
        await running.until(lambda: texts(running)[1:] == ["first"])


async def test_waiting_line_is_hidden_while_no_prompt_waits() -> None:
    async with program(first="chat", size=(80, 24)) as running:
        await running.ready()
        assert not running.chat.query_one("#waiting", Static).display


class Forgetful(FakeEngine):
    """An engine whose template knows no system message."""

    def prompt(self, messages: Sequence[ChatTurn], **options: Any) -> Given:
        return super().prompt([m for m in messages if m.role != "system"], **options)


async def test_answer_notes_a_message_that_the_template_leaves_out() -> None:
    engine = Forgetful(["a"], name="default")
    async with program({"default": engine}, first="chat", system="Arr.") as running:
        await running.ready()
        await running.ask("count")
        await running.until(lambda: texts(running)[1:] == ["a"])
        await running.until(lambda: "without 1 earlier message" in running.seen)


class RereadingEngine(FakeEngine):
    """A model whose template changes its earlier answers."""

    def prompt(self, messages: Sequence[ChatTurn], **options: Any) -> Given:
        made = super().prompt(messages, **options)
        return replace(made, reread=sum(turn.ids != () for turn in messages))


async def test_answers_that_are_read_as_other_tokens_are_told_once() -> None:
    engine = RereadingEngine(["one", "two", "three"], name="default")
    async with program({"default": engine}, first="chat") as running:
        await running.ready()
        told = "read as other tokens"
        for count, asked in enumerate(("a", "b", "c"), 1):
            await running.ask(asked)
            await running.until(
                lambda count=count: (
                    len(texts(running)) == 2 * count and state(running) == "ready"
                )
            )
            assert running.notices.count(told) == (count > 1)
