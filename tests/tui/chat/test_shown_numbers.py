"""Strip, panel and status are about what the user looks at, in every order.

| state            | status               | title of the panel     | strip           |
|------------------|----------------------|------------------------|-----------------|
| model loads      | loading …            | the sentence LOADING   | no numbers      |
| draft is read    | reading your message | STALE_TITLE or READING | dim             |
| draft            | ready                | Next in your message   | of the draft    |
| answering        | answering; …         | Next token             | of the answer   |
| answered         | ready, or its end    | Next token             | of the answer   |
| message in focus | ready                | Token N, its last one  | of that message |
| tokens (F3)      | ready                | Token at the cursor    | of that message |
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from lmtui.chat.message import ChatMessage
from lmtui.notation import log_prob
from lmtui.tui.chat.message import MessageView
from lmtui.tui.screen import LOADING, READING
from lmtui.tui.widgets.probability_panel import STALE_TITLE
from lmtui.tui.widgets.styled_lines import StyledLines
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat

ANSWERS = ["one", "two words", "now three words", "four of them here", "5", "six six"]


def side(running: Chat) -> str:
    """What the column of the panel says."""
    lines = running.seen.splitlines()
    return "\n".join(line.partition("│ ")[2] for line in lines if "│ " in line)


def title(running: Chat) -> str:
    """The first line of the panel."""
    return side(running).split("\n")[0].partition("  ")[0].strip()


def total(running: Chat) -> str:
    """Σ log P as the strip shows it; "" where it shows none."""
    found = re.search(r"Σ log P (\S+)", side(running))
    return found[1] if found else ""


def context(running: Chat) -> str:
    """The tokens in the context, as the strip shows them."""
    found = re.search(r"context (\S+) /", side(running))
    return found[1] if found else ""


def numbers_of(node: ChatMessage) -> str:
    """Σ log P of a message as it is written; "" where it is not known."""
    return "" if node.logprob is None else log_prob(node.logprob)


def in_focus(running: Chat) -> ChatMessage | None:
    """The message in focus."""
    view = running.chat.focused
    if not isinstance(view, MessageView):
        return None
    return running.conversation.node(int(view.key))


async def settled(running: Chat) -> None:
    """Wait until nothing is made or read any more."""
    await running.until(
        lambda: (
            not (
                running.chat.session.is_busy
                or running.state.startswith(
                    ("reading", "answering", "scoring", "loading")
                )
            )
        )
    )
    # What is old stays bright for a while.
    lines = running.chat.query(StyledLines)
    await running.until(lambda: not any(widget._stale_timer for widget in lines))
    await running.until(lambda: not running.state.startswith(("reading", "scoring")))
    await running.pilot.pause()


def check(running: Chat) -> None:
    """Compare the screen with the table, while nothing is made or read."""
    screen, seen = running.chat, running.seen
    where = f"{running.state!r}\n{seen}"
    assert STALE_TITLE not in seen and READING[:20] not in seen, where
    if running.state == "ready":
        assert not screen.panel.stale, where
    if screen.tokens.is_shown:
        node, place = screen.tokens.message, screen.tokens.view.index
        assert title(running).startswith(f"Token {place + 1}"), where
        assert total(running) == numbers_of(node), where
    elif (node := in_focus(running)) is not None:
        assert total(running) == numbers_of(node), where
        last = f"Token {len(node.steps)}" if node.steps else "The message in focus"
        assert title(running).startswith(last), where
        if node.prompt is not None:
            used = len(node.prompt.ids) + len(node.steps)
            assert context(running) == str(used), where
    elif title(running) == "Next in your message":
        count = screen.view.strip.history.tokens
        assert count == len(running.prompt.text.encode()), where
    elif running.prompt.text == "":
        leaf = screen.session.conversation.leaf
        assert title(running).startswith(("Next token", "Token")), where
        assert total(running) == numbers_of(leaf), where


async def write(running: Chat) -> None:
    running.prompt.focus()
    await running.press("x")


async def send(running: Chat) -> None:
    running.prompt.focus()
    running.prompt.text = ""
    await running.ask("go on")


def key(*names: str) -> Callable[[Chat], object]:
    async def press(running: Chat) -> None:
        await running.press(*names)

    return press


ACTIONS = (
    write, send, key("ctrl+r"), key("alt+up"), key("alt+up"), key("alt+down"),
    key("left_square_bracket"), key("right_square_bracket"), key("f3"), key("f3"),
    key("right"), key("escape"), key("f4"), key("f2", "f2"), key("f6", "f6"),
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_screen_tells_the_truth_in_every_order(seed: int) -> None:
    order = random.Random(seed)
    async with chat(*ANSWERS * 9, asked="go") as running:
        for _ in range(14):
            action = order.choice(ACTIONS)
            if running.chat.focused is not running.prompt:
                action = order.choice(ACTIONS)
            await action(running)  # type: ignore[misc]
            await settled(running)
            check(running)


async def test_table_of_states_from_the_model_to_the_tokens() -> None:
    release, gate = Event(), Event()
    gate.set()
    engine = FakeEngine(answers=ANSWERS, on_token=lambda _: gate.wait(20) or None)

    def open_model(_: str) -> Any:
        def load(_: Any) -> FakeEngine:
            assert release.wait(20)
            return engine

        return load

    async with chat(open_model=open_model, ready=False) as running:
        await running.until(lambda: LOADING in running.seen)
        assert running.state.startswith("loading") and total(running) == ""
        release.set()
        await settled(running)
        assert title(running) == "Next in your message"
        gate.clear()
        await running.type("x")
        await running.until(lambda: running.state == "reading your message")
        assert title(running) == STALE_TITLE
        gate.set()
        await settled(running)
        check(running)
        gate.clear()
        await running.press("enter")
        await running.until(lambda: running.state.startswith("reading the prompt"))
        gate.set()
        await running.idle()
        await settled(running)
        assert (running.state, title(running)) == ("ready", "Next token, as drawn")
        check(running)
        for keys in (("alt+up",), ("f3",), ("escape",)):
            await running.press(*keys)
            await settled(running)
            check(running)


async def test_versions_are_compared_by_their_own_numbers() -> None:
    async with chat(*ANSWERS, asked="go") as running:
        await running.press("ctrl+r")
        await running.until(lambda: running.last_text == ANSWERS[1])
        await settled(running)
        nodes = running.conversation.siblings(running.leaf.id)
        assert len({numbers_of(node) for node in nodes}) == 2
        await running.press("alt+up")
        for name, node in (("left", nodes[0]), ("right", nodes[1]), ("left", nodes[0])):
            await running.press(f"{name}_square_bracket")
            await running.until(lambda node=node: running.last_text == node.content)
            await settled(running)
            assert total(running) == numbers_of(node)
            check(running)


async def test_taken_version_has_its_prompt_and_answer_in_the_context() -> None:
    async with chat(*ANSWERS) as running:
        await running.ask("/temp 1")
        await running.ask("/n 2 Name a fruit.")
        view = running.chat.reply.versions
        await running.until(lambda: "Enter takes the marked one" in running.seen)
        assert view.has_focus_within
        await running.press("right", "enter")
        await running.until(lambda: running.last_text == ANSWERS[1])
        await settled(running)
        node = running.leaf
        assert node.prompt is not None
        used = context(running)
        assert used == str(len(node.prompt.ids) + len(node.steps))
        await running.press("f3")
        await settled(running)
        assert context(running) == used


async def test_first_token_is_one_number_on_the_strip_in_tokens_and_on_the_page() -> (
    None
):
    now = [0.0]

    def tick() -> float:
        now[0] += 0.5
        return now[0]

    async with chat(*ANSWERS) as running:
        running.strip.clock = tick
        await running.say("go")
        (shown,) = re.findall(r"first token (\S+)", side(running))
        node = running.leaf
        assert node.finish is not None
        assert node.finish.first_token_seconds == float(shown) > 0.25  # the engine's
        await running.press("f3")
        await settled(running)
        assert f"first token {shown} s" in side(running)
        await running.press("escape", "alt+up", "t")
        await running.until(lambda: "The numbers of this message" in running.seen)
        assert f"first token {shown} s" in running.seen


@pytest.mark.parametrize(
    ("size", "drawn", "changed"),
    [
        ((120, 40), "Token 1, as drawn", "Token 1, with these settings"),
        ((80, 24), "Token 1", "Token 1, these settings"),
    ],
)
async def test_title_tells_as_drawn_from_with_these_settings(
    size: tuple[int, int], drawn: str, changed: str
) -> None:
    async with chat(*ANSWERS, size=size) as running:
        await running.ask("/temp 1")
        await running.say("go")
        await running.press("f3")
        await settled(running)
        assert title(running) == drawn
        before = side(running)
        await running.press("enter", "x")
        await running.until(lambda: title(running) == changed)
        assert side(running) != before
        await running.press("alt+up", "f3", "f3")
        await running.until(lambda: title(running) == drawn)


@pytest.mark.parametrize("word", ["yes", "/n 2 x"])
async def test_what_is_typed_on_a_message_and_is_no_command_goes_to_the_prompt(
    word: str,
) -> None:
    async with chat(*ANSWERS, asked="go") as running:
        await running.press("alt+up")
        assert "message: e edit · c copy · Del delete · Esc prompt" in running.seen
        await running.press(*("space" if c == " " else c for c in word))
        await running.until(lambda: running.prompt.text == word)
        assert running.chat.focused is running.prompt
        assert running.texts == ["go", ANSWERS[0]]


async def test_cut_head_of_an_answer_still_names_the_key_that_goes_on() -> None:
    long = "a-model-with-quite-a-long-name-of-its-own"
    engine = FakeEngine(answers=[" ".join(map(str, range(60)))], name=long)
    async with chat(engine=engine, size=(80, 24)) as running:
        await running.ask("go")
        await running.until(lambda: running.texts[1:])
        await settled(running)
        (head,) = (line for line in running.seen.splitlines() if "reached" in line)
        assert "Ctrl+G goes on" in head and "a-mo…" in head
