"""What a model thinks, on the screen: folded to a line, and unfolded at will."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.store import Store
from lmtui.chat.thinking import thought_of
from lmtui.tui.chat.message import Entry, MessageView
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.chat.transcript import Transcript
from lmtui.tui.chat.tree import rows_of
from lmtui.tui.dialogs import PageScreen
from tests.chat.making import exchange
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.hosts import HOSTILE, Host, safe
from tests.tui.programs import holding

THOUGHT = "<think>\nso so\n</think>\n\nIt is Paris."
TOKENS = [
    "<think>",
    "\n",
    "so",
    " so",
    "\n",
    "</think>",
    "\n\n",
    "It",
    " is",
    " Paris.",
]


@asynccontextmanager
async def switched(**options: Any) -> AsyncIterator[tuple[Chat, FakeEngine]]:
    """A chat whose model can be told to think, and that model."""
    engine = FakeEngine(["a", "b", "c", "d"], switches_thinking=True)
    async with chat(engine=engine, **options) as running:
        yield running, engine


def unfolded(view: MessageView) -> bool:
    """Whether its thinking is shown."""
    return any(block.kind == "thought" for block in view._blocks)


def has_fold(view: MessageView) -> bool:
    return any(block.kind == "fold" for block in view._blocks)


async def test_thinking_is_folded_to_one_line_above_the_answer() -> None:
    async with chat(TOKENS, asked="capital?") as running:
        await running.until(lambda: "▸ thought 7 tokens, ≈ 0." in running.seen)
        assert "It is Paris." in running.seen and "so so" not in running.seen
        # The text is what the model wrote.
        assert running.views[1].text == THOUGHT
        assert running.leaf.content == THOUGHT
        assert len(running.leaf.steps) == len(TOKENS) + 1


async def test_thinking_is_folded_while_it_streams() -> None:
    slow, go_on = holding(TOKENS, at=4)  # type: ignore[arg-type]
    async with chat(engine=slow) as running:
        await running.ask("capital?")
        await running.until(lambda: "▸ thinking … " in running.seen)
        assert running.views[1].answer == ""
        go_on.set()
        await running.idle()
        await running.until(lambda: "▸ thought 7 tokens" in running.seen)


async def test_f_key_and_click_unfold_the_thinking() -> None:
    async with chat(TOKENS, TOKENS, asked="capital?") as running:
        await running.say("capital?")
        _, first, _, second = running.views
        await running.press("alt+up", "f")
        await running.until(lambda: "so so" in running.seen)
        assert unfolded(second) and not unfolded(first)
        await running.press("f")
        await running.until(lambda: "so so" not in running.seen)
        await running.press("F")
        await running.until(lambda: running.seen.count("so so") == 2)
        await running.press("F")
        await running.until(lambda: "so so" not in running.seen)
        await running.pilot.click(first, offset=(4, 1))
        await running.until(lambda: unfolded(first) and not unfolded(second))
        await running.pilot.click(first, offset=(4, 1))
        await running.until(lambda: not unfolded(first))


async def test_later_answer_keeps_the_fold_chosen_for_all() -> None:
    async with chat(TOKENS, TOKENS, asked="capital?") as running:
        await running.press("alt+up", "F", "escape")
        await running.press("ctrl+r")
        await running.until(lambda: "2/2" in running.seen)
        await running.idle()
        assert unfolded(running.views[1])
        assert running.seen.count("so so") == 1


async def test_copy_takes_the_answer_alone_or_with_its_thinking() -> None:
    async with chat(TOKENS, asked="capital?") as running:
        await running.press("alt+up", "c")
        assert running.app.clipboard == "It is Paris."
        await running.press("C")
        assert running.app.clipboard == THOUGHT
        await running.press("escape")
        await running.ask("/copy")
        await running.until(lambda: running.app.clipboard == "It is Paris.")
        await running.ask("/copy all")
        await running.until(lambda: running.app.clipboard == THOUGHT)


async def test_totals_count_thinking_and_answer_tokens_apart() -> None:
    async with chat(TOKENS, asked="capital?") as running:
        await running.press("alt+up", "t")
        await running.on(PageScreen)
        await running.until(lambda: "7 of them, the answer 4" in running.seen)
        await running.press("escape", "escape")
        await running.ask("/stats")
        await running.on(PageScreen)
        await running.until(
            lambda: "7 of 11 tokens by default, the answers 4" in running.seen
        )


def test_tree_rows_show_the_answer_without_its_thinking() -> None:
    chat = Conversation()
    exchange(chat, "capital?", "<think> so so </think> It is Paris.")
    lines = [line.plain for _, line in rows_of(chat)]
    assert re.search(r"Model  log P \S+ nats · 8 tokens  It is Paris\.", lines[1])


async def test_search_hit_in_the_thinking_unfolds_it() -> None:
    app = Host(Transcript(""))
    async with app.run_test() as pilot:
        transcript = app.query_one(Transcript)
        await transcript.show([_entry(THOUGHT)], at="2", matches=((8, 10),))
        await pilot.pause()
        view = app.query_one(MessageView)
        assert "so so" in app.text()
        assert not has_fold(view)


async def shown(app: Host, text: str) -> MessageView:
    """The view of a reply, in a transcript of its own."""
    await app.query_one(Transcript).show([_entry(text)])
    return app.query_one(MessageView)


def _entry(text: str) -> Entry:
    node = ChatMessage(2, 1, "assistant", text)
    return Entry("2", "assistant", text, thought=thought_of(node))


async def test_hostile_thinking_is_only_drawn() -> None:
    app = Host(Transcript(""))
    async with app.run_test() as pilot:
        for text in HOSTILE.values():
            view = await shown(app, f"<think>{text}</think>{text}")
            view.action_fold()
            await pilot.pause()
            assert unfolded(view)
            assert safe(app.text())


@pytest.mark.parametrize("size", [1, 3, 7])
async def test_thinking_grown_in_pieces_is_drawn_as_the_whole_at_once(
    size: int,
) -> None:
    text = f"{THOUGHT}\n\n- a\n- b </think>\n"
    app = Host(Transcript(""))
    async with app.run_test() as pilot:
        view = await shown(app, "")
        for start in range(0, len(text), size):
            piece = text[start : start + size]
            node = ChatMessage(2, 1, "assistant", text[: start + size])
            view.grow(piece, thought_of(node))
            await pilot.pause()
        view.complete()
        await pilot.pause()
        assert view.text == text
        assert view.answer == "It is Paris.\n\n- a\n- b </think>\n"
        grown = app.text()
        assert grown.count("▸ thought") == 1 and "so so" not in grown
        await shown(app, text)
        await pilot.pause()
        assert app.text() == grown


# The switch.


def sent(running: Chat) -> str:
    """What the last answer was made after."""
    prompt = running.leaf.prompt
    assert prompt is not None
    return prompt.text


async def test_think_command_switches_thinking_on_and_off() -> None:
    async with switched(chat=ChatOptions(thinking=False)) as (p, engine):
        await p.until(lambda: "cpu · thinking off" in p.seen)
        await p.say("one")
        assert sent(p).endswith("<think>\n\n</think>\n\n")
        for command, words, ending in (
            ("/think on", "thinking on", "assistant: "),
            ("/think off", "thinking off", "</think>\n\n"),
            ("/think", "", "assistant: "),
        ):
            await p.ask(command)
            await p.until(lambda words=words: p.chat.status.note == words)
            await p.say("more")
            assert sent(p).endswith(ending)
        assert [value for verb, value in engine.calls if verb == "trace"]
        await p.ask("/think maybe")
        await p.until(lambda: "one of: auto, on, off" in p.notices)


async def test_think_switch_is_stored_with_the_conversation(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"

    async def said(text: str, ending: str, *before: str, **options: Any) -> None:
        store = Store(file)
        opened = store.load(1) if store.count() else None
        store.close()
        chosen = ChatOptions(**options)
        async with switched(chats_file=file, opened=opened, chat=chosen) as (
            p,
            _,
        ):
            count = len(opened.conversation.path) - 1 if opened else 0
            await p.until(lambda: len(p.views) == count)
            for line in before:
                await p.ask(line)
            await p.say(text)
            assert sent(p).endswith(ending)
            await p.ask("/new")
            await p.say("another")
            assert sent(p).endswith(ending)  # as with the sampler

    off, auto = "<think>\n\n</think>\n\n", "assistant: "
    kept = []
    for step in (
        partial(said, "one", off, thinking=False),  # from the settings: kept nowhere
        partial(said, "three", off, thinking_override="off", thinking=False),
        partial(said, "four", off),
        partial(said, "five", auto, "/think on", thinking=False),
        partial(said, "six", auto, thinking=False),
    ):
        await step()
        store = Store(file)
        kept.append(store.load(1).about.thinking)
        store.close()
    assert kept == [None, "off", "off", "on", "on"]


async def test_think_switch_is_stored_without_a_later_message(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    async with switched(chats_file=file) as (p, _):
        await p.say("one")
        await p.ask("/think off")
        await p.ask("/fork")
    store = Store(file)
    assert [about.thinking for about in store.listed()] == ["off", "off"]
    store.close()


async def test_think_command_says_when_the_model_has_no_switch() -> None:
    async with chat("a") as running:
        await running.ask("/think off")
        await running.until(lambda: "has no such switch" in running.notices)
        assert running.chat.session.options.thinking is None
