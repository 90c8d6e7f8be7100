"""Commands that give the next answers a grammar."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lmtui.engine.engine import LocalEngine
from lmtui.engine.grammar.compile import check_grammar
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.tui.chat import command_actions
from tests.engine import tiny
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def grammars_of(engine: FakeEngine) -> list[str | None]:
    """The grammars that answers were asked for with."""
    asked: list[Any] = [what for verb, what in engine.calls if verb == "generate"]
    settings: list[SamplingSettings] = [values[1] for values in asked]
    return [each.grammar for each in settings]


def slow(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Have grammars compiled only after this event."""
    go_on = Event()

    def wait(wanted: command_actions.Grammar) -> None:
        assert go_on.wait(20)
        check_grammar(wanted)

    monkeypatch.setattr(command_actions, "check_grammar", wait)
    return go_on


async def test_a_schema_is_followed_until_it_is_switched_off(tmp_path: Path) -> None:
    file = tmp_path / "my schema.json"
    file.write_text(json.dumps(SCHEMA), encoding="utf-8")
    async with chat("one", "two", size=(80, 24)) as running:
        await running.ask(f"/schema {file}")
        await running.say("a")
        assert running.chat.sampler.settings.grammar == json.dumps(SCHEMA)
        assert "default · follows a JSON schema" in running.seen
        await running.ask("/schema off")
        await running.say("b")
        assert running.chat.sampler.settings.grammar is None
        assert running.seen.count("follows a") == 1  # of the answer that did


async def test_a_message_sent_at_once_waits_for_the_grammar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, engine = slow(monkeypatch), FakeEngine(["one", "two", "three", "four"])
    async with chat(engine=engine) as running:
        await running.ask("/regex [a-z]+")
        await running.ask("a")
        await running.ask("b")
        await running.until(lambda: "waits · a" in running.seen)
        assert grammars_of(engine) == []
        go_on.set()
        await running.answered("a", "one", "b", "two")
        assert grammars_of(engine) == ["/[a-z]+/"] * 2
        go_on.clear()
        await running.ask("/regex [0-9]+")
        await running.press("ctrl+r", "ctrl+g")  # neither draws without it
        go_on.set()
        await running.idle()
        await running.press("ctrl+r")
        await running.answered("a", "one", "b", "three")
        assert grammars_of(engine) == ["/[a-z]+/", "/[a-z]+/", "/[0-9]+/"]


async def test_a_message_waits_for_the_model_and_the_grammar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, loads = slow(monkeypatch), Event()
    engine = FakeEngine(["one"], name="default")

    def open_model(_: str) -> Any:
        def load(_: Any) -> FakeEngine:
            assert loads.wait(20)
            return engine

        return load

    async with chat(open_model=open_model, ready=False) as running:
        await running.ask("/regex [a-z]+")
        await running.ask("a")
        await running.until(lambda: "waits · a" in running.seen)
        loads.set()
        await running.until(lambda: running.state.startswith("reading a file or a gr"))
        assert grammars_of(engine) == []
        go_on.set()
        await running.answered("a", "one")
        assert grammars_of(engine) == ["/[a-z]+/"]


async def test_a_message_during_an_answer_waits_for_the_grammar_set_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, answers = slow(monkeypatch), Event()
    engine = FakeEngine(["one", "two"], on_token=lambda _: answers.wait(20))
    async with chat(engine=engine) as running:
        await running.ask("a")
        await running.until(lambda: grammars_of(engine))
        await running.ask("/regex [a-z]+")
        await running.ask("b")
        await running.until(lambda: "waits · b" in running.seen)
        answers.set()
        await running.until(lambda: running.texts == ["a", "one"])
        await running.until(lambda: not running.chat.session.is_answering)
        assert grammars_of(engine) == [None]
        go_on.set()
        await running.answered("a", "one", "b", "two")
        assert grammars_of(engine) == [None, "/[a-z]+/"]
        assert running.seen.count("follows a regular expression") == 1


@pytest.mark.parametrize("gives_up", [False, True])
async def test_nothing_is_drawn_without_a_grammar_that_is_refused_or_given_up(
    gives_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, engine = slow(monkeypatch), FakeEngine(["one"])
    async with chat(engine=engine) as running:
        await running.ask("/regex [a-z]+" if gives_up else "/regex [a-z")
        await running.ask("a")
        await running.until(lambda: "waits · a" in running.seen)
        if gives_up:
            await running.press("escape", "escape")
        go_on.set()
        await running.until(lambda: running.prompt.text == "a")
        await running.idle()
        assert ("unclosed character class" in running.notices) != gives_up
        assert running.chat.sampler.settings.grammar is None
        assert grammars_of(engine) == [] and running.views == []


async def test_a_grammar_given_up_or_switched_off_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, engine = slow(monkeypatch), FakeEngine(["one", "two"])
    async with chat(engine=engine) as running:
        await running.ask("/regex [a-z]+")
        await running.until(lambda: running.state.startswith("reading a file or a gr"))
        await running.press("escape")
        assert running.state == "ready" and not running.chat.session.is_busy
        await running.say("a")
        await running.ask("/regex [0-9]+")
        await running.ask("b")
        await running.ask("/regex off")
        await running.answered("a", "one", "b", "two")
        go_on.set()
        await running.idle()
        assert grammars_of(engine) == [None, None]
        assert running.chat.sampler.settings.grammar is None


async def test_a_refused_grammar_gives_back_only_what_was_sent_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, answers = slow(monkeypatch), Event()
    engine = FakeEngine(["one", "two"], on_token=lambda _: answers.wait(20))
    async with chat(engine=engine) as running:
        await running.ask("a")
        await running.until(lambda: grammars_of(engine))
        await running.ask("b")
        await running.ask("/regex [a-z")
        await running.ask("c")
        go_on.set()
        await running.until(lambda: running.prompt.text == "c")
        answers.set()
        await running.answered("a", "one", "b", "two")
        assert grammars_of(engine) == [None, None]


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


# Branches of an answer that follows one.


def small() -> LocalEngine:
    """An engine of random weights that does not think."""
    loaded = tiny.loaded()
    tokenizer = copy(loaded.tokenizer)
    tokenizer.chat_template = CHATML
    return LocalEngine(replace(loaded, tokenizer=tokenizer))


async def drawn(running: Chat, *rows: str) -> None:
    """Go to the alternatives of the first token of the last answer."""
    await running.press("f3")
    await running.until(lambda: running.panel.title == "Token 1")
    await running.until(lambda: running.panel.distribution)
    await running.press("enter", *rows)


async def test_a_token_that_the_grammar_forbids_is_refused_with_the_reason() -> None:
    async with chat(engine=small()) as running:
        await running.ask("/regex [a-f]{4}")
        await running.say("a")
        before = running.leaf
        await drawn(running)
        shown = running.panel.distribution
        assert shown is not None
        cuts = [row.cut for row in shown.candidates]
        await running.press(*["down"] * cuts.index("s"), "enter")
        await running.until(lambda: "The grammar forbids that token" in running.notices)
        assert running.leaf == before and running.chat.tokens.is_shown
        assert len(running.conversation.siblings(before.id)) == 1


async def test_a_branch_follows_the_grammar_of_its_answer_not_of_the_next() -> None:
    engine = FakeEngine(["one two", "three", "four"])
    async with chat(engine=engine, asked="go") as running:
        await running.ask("/regex [0-9]+")
        await running.idle()
        await drawn(running, "down", "enter")
        await running.idle()
        await running.press("ctrl+r")
        await running.idle()
        assert grammars_of(engine) == [None, None, "/[0-9]+/"]


async def test_an_edited_answer_goes_on_with_the_grammar_of_the_next() -> None:
    engine = FakeEngine(["one", "two", "three"])
    async with chat(engine=engine) as running:
        await running.ask("/regex [a-z]+")
        await running.say("go")
        await running.ask("/regex off")
        await running.press("ctrl+g")  # its own words: its own grammar
        await running.idle()
        await running.on_message(1, "e", "1", "2", "enter")
        await running.idle()
        assert grammars_of(engine) == ["/[a-z]+/", "/[a-z]+/", None]


async def test_a_branch_that_the_engine_refuses_leaves_no_version() -> None:
    engine = FakeEngine(["one two"])
    async with chat(engine=engine, asked="go") as running:
        before = running.leaf
        await drawn(running, "down")
        engine.error = LmtuiError("the grammar does not allow it", "", "")
        await running.press("enter")
        await running.until(lambda: "does not allow it" in running.notices)
        await running.idle()
        assert running.texts == ["go", "one two"] and running.leaf == before
        assert len(running.conversation.siblings(before.id)) == 1
        assert "broke off" not in running.seen
