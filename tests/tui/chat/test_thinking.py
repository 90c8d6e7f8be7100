"""What a model thinks, on the screen: folded to a line, and unfolded at will."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lmtui.chat.conversation import Conversation
from lmtui.chat.json_format import from_json
from lmtui.chat.message import ChatMessage
from lmtui.chat.store import Store
from lmtui.chat.thinking import ReasoningInfo, thought_of
from lmtui.engine.types import ChatTurn
from lmtui.tui.chat.message import Entry, MessageView
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.transcript import Transcript
from lmtui.tui.chat.tree import rows_of
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.widgets.status import Status
from tests.chat.making import exchange
from tests.fakes import FakeEngine
from tests.tui.hosts import HOSTILE, Host, safe
from tests.tui.programs import Program, holding, program

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


def engine(*answers: object, **fields: object) -> FakeEngine:
    given = answers or (TOKENS,)
    return FakeEngine(list(given), name="default", **fields)  # type: ignore[arg-type]


async def answered(running: Program, count: int = 2) -> None:
    await running.until(
        lambda: (
            len(running.views) == count
            and running.chat.query_one(Status).state == "ready"
            and not running.chat.session.is_busy
        )
    )


def unfolded(view: MessageView) -> bool:
    """Whether its thinking is shown."""
    return any(block.kind == "thought" for block in view._blocks)


def has_fold(view: MessageView) -> bool:
    return any(block.kind == "fold" for block in view._blocks)


async def test_thinking_is_folded_to_one_line_above_the_answer() -> None:
    async with program({"default": engine()}, first="chat") as running:
        await running.ready()
        await running.ask("capital?")
        await answered(running)
        await running.until(lambda: "▸ thought 7 tokens, ≈ 0." in running.seen)
        assert "It is Paris." in running.seen and "so so" not in running.seen
        # The text is what the model wrote.
        assert running.views[1].text == THOUGHT
        assert running.chat.session.conversation.leaf.content == THOUGHT
        assert len(running.chat.session.conversation.leaf.steps) == len(TOKENS) + 1


async def test_thinking_is_folded_while_it_streams() -> None:
    slow, go_on = holding(TOKENS, at=4, name="default")  # type: ignore[arg-type]
    async with program({"default": slow}, first="chat") as running:
        await running.ready()
        await running.ask("capital?")
        await running.until(lambda: "▸ thinking … " in running.seen)
        assert running.views[1].answer == ""
        go_on.set()
        await answered(running)
        await running.until(lambda: "▸ thought 7 tokens" in running.seen)


async def test_thinking_opened_by_the_prompt_is_folded() -> None:
    opened = engine([*TOKENS[2:]], opens_thinking=True)
    async with program({"default": opened}, first="chat") as running:
        await running.ready()
        await running.ask("capital?")
        await answered(running)
        await running.until(lambda: "▸ thought 5 tokens" in running.seen)
        assert "It is Paris." in running.seen


async def test_f_key_and_click_unfold_the_thinking() -> None:
    async with program({"default": engine(TOKENS, TOKENS)}, first="chat") as running:
        await running.ready()
        for count in (2, 4):
            await running.ask("capital?")
            await answered(running, count)
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
    async with program({"default": engine(TOKENS, TOKENS)}, first="chat") as running:
        await running.ready()
        await running.ask("capital?")
        await answered(running)
        await running.press("alt+up", "F", "escape")
        await running.press("ctrl+r")
        await running.until(lambda: "2/2" in running.seen)
        await answered(running)
        assert unfolded(running.views[1])
        assert running.seen.count("so so") == 1


async def test_copy_takes_the_answer_alone_or_with_its_thinking() -> None:
    async with program({"default": engine()}, first="chat") as running:
        await running.ready()
        await running.ask("capital?")
        await answered(running)
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
    async with program({"default": engine()}, first="chat") as running:
        await running.ready()
        await running.ask("capital?")
        await answered(running)
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


async def test_user_message_with_think_tags_is_never_folded() -> None:
    async with program({"default": engine(["a"])}, first="chat") as running:
        await running.ready()
        await running.ask("<think>mine</think>")
        await answered(running)
        assert "<think>mine</think>" in running.seen
        assert not any(map(has_fold, running.views))


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


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_thinking_is_only_drawn(name: str) -> None:
    app = Host(Transcript(""))
    async with app.run_test() as pilot:
        view = await shown(app, f"<think>{HOSTILE[name]}</think>{HOSTILE[name]}")
        view.action_fold()
        await pilot.pause()
        assert unfolded(view)
        assert safe(app.text())


@pytest.mark.parametrize("size", [1, 2, 3, 7])
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


async def test_stray_closing_think_tag_leaves_the_answer_unfolded() -> None:
    app = Host(Transcript(""))
    async with app.run_test() as pilot:
        view = await shown(app, "")
        for text in ("a </think>", "a </think> ends it"):
            piece = text[len(view.text) :]
            view.grow(piece, thought_of(ChatMessage(2, 1, "assistant", text)))
            await pilot.pause()
        assert not has_fold(view)
        assert view.answer == "a </think> ends it"
        assert "a </think> ends it" in app.text()


def test_fold_line_says_token_count_and_seconds() -> None:
    whole = thought_of(ChatMessage(2, 1, "assistant", THOUGHT))
    assert whole is not None
    assert (
        ReasoningInfo(whole.span, 1_312, 4.24).words == "thought 1,312 tokens, ≈ 4.2 s"
    )


# The switch.


def sent(running: Program) -> str:
    """What the last answer was made after."""
    prompt = running.chat.session.conversation.leaf.prompt
    assert prompt is not None
    return prompt.text


async def test_think_command_switches_thinking_on_and_off() -> None:
    able = engine(["a"], ["b"], ["c"], ["d"], switches_thinking=True)
    options = ChatOptions(thinking=False)
    async with program({"default": able}, first="chat", chat=options) as p:
        await p.ready()
        await p.until(lambda: "cpu · thinking off" in p.seen)
        await p.ask("one")
        await answered(p)
        assert sent(p).endswith("<think>\n\n</think>\n\n")
        for count, (command, ending) in enumerate(
            {"/think on": "assistant: ", "/think off": "</think>\n\n",
             "/think": "assistant: "}.items(), 2
        ):  # fmt: skip
            await p.ask(command)
            told = {"on": "thinking on", "off": "thinking off"}
            words = told.get(command.removeprefix("/think").strip(), "")
            await p.until(lambda words=words: p.chat.query_one(Status).note == words)
            await p.ask("more")
            await answered(p, 2 * count)
            assert sent(p).endswith(ending)
        looked = [value for verb, value in able.calls if verb == "trace"]
        assert looked
        await p.ask("/think maybe")
        await p.until(lambda: "one of: auto, on, off" in p.notices)


async def test_think_switch_is_stored_with_the_conversation(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"

    async def said(text: str, ending: str, *before: str, **options: Any) -> None:
        able = engine(["a"], ["b"], switches_thinking=True)
        store = Store(file)
        opened = store.load(1) if store.count() else None
        store.close()
        async with program(
            {"default": able}, first="chat", chats_file=file, opened=opened,
            chat=ChatOptions(is_here=lambda _: True, **options),
        ) as p:  # fmt: skip
            await p.ready()
            count = len(opened.conversation.path) - 1 if opened else 0
            await p.until(lambda: len(p.views) == count)
            for line in before:
                await p.ask(line)
            await p.ask(text)
            await answered(p, count + 2)
            assert sent(p).endswith(ending)
            await p.ask("/new")
            await p.ask("another")
            await answered(p)
            assert sent(p).endswith(ending)  # as with the sampler
            await p.ask("/export " + str(tmp_path / f"{text}.json"))
            await p.until(lambda: "Written to" in p.notices)

    off, auto = "<think>\n\n</think>\n\n", "assistant: "
    await said("one", off, thinking=False)  # from the settings: kept nowhere
    await said("two", auto)
    await said("three", off, thinking_override="off", thinking=False)
    await said("four", off)
    await said("five", auto, "/think on", thinking=False)
    await said("six", auto, thinking=False)
    texts = [(tmp_path / f"{n}.json").read_text() for n in ("one", "four", "six")]
    assert [from_json(text).meta.thinking for text in texts] == [None, "off", "on"]


async def test_think_switch_is_stored_without_a_later_message(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    able = engine(["a"], switches_thinking=True)
    async with program({"default": able}, first="chat", chats_file=file) as p:
        await p.ready()
        await p.ask("one")
        await answered(p)
        await p.ask("/think off")
        await p.ask("/fork")
    store = Store(file)
    assert [about.thinking for about in store.listed()] == ["off", "off"]
    store.close()


async def test_think_command_says_when_the_model_has_no_switch() -> None:
    async with program({"default": engine(["a"])}, first="chat") as running:
        await running.ready()
        await running.ask("/think off")
        await running.until(lambda: "has no such switch" in running.notices)
        assert running.chat.session.options.thinking is None


async def test_prompt_page_shows_the_thinking_tags_that_are_sent() -> None:
    able = engine(["a"], switches_thinking=True)
    options = ChatOptions(thinking=False)
    async with program({"default": able}, first="chat", chat=options) as p:
        await p.ready()
        await p.ask("one")
        await answered(p)
        await p.ask("/prompt")
        await p.on(PageScreen)
        await p.until(lambda: "assistant: <think>" in p.seen and "</think>" in p.seen)


async def test_editing_an_answer_includes_its_thinking() -> None:
    async with program({"default": engine()}, first="chat") as running:
        await running.ready()
        await running.ask("capital?")
        await answered(running)
        await running.press("alt+up", "e")
        await running.until(lambda: running.chat.query_one(PromptField).text == THOUGHT)


def test_chat_message_keeps_its_thinking_for_the_engine() -> None:
    node = ChatMessage(2, 1, "assistant", THOUGHT)
    assert node.message == ChatTurn("assistant", THOUGHT)
