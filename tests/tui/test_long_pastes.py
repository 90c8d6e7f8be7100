"""A long paste in the prompt: one line, whole when it is sent; no key costs more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Event
from types import FrameType

from textual.events import Paste

from lmtui.engine.types import BosRule, Encoding
from lmtui.tui.chat.prompt import FOLDED, PromptField
from lmtui.tui.widgets.status import Status
from tests.fakes import FakeEngine
from tests.tui.programs import Program, chatting

LINE = "/one @two three four five six seven eight nine\n"
LONG = (LINE * (100_000 // len(LINE) + 1))[:99_999] + "!"
WORDS = "⟦pasted text, 102.1 kB, 2,128 lines⟧"


def prompt(p: Program) -> PromptField:
    """Where the user writes."""
    return p.chat.query_one(PromptField)


async def paste(p: Program, text: str) -> None:
    """Paste, as a terminal does."""
    p.app.post_message(Paste(text.replace("\n", "\r")))
    await p.until(lambda: prompt(p).folded)


async def test_a_long_paste_is_one_line_and_is_sent_in_full() -> None:
    engine = FakeEngine(["answer"], context=10**9)
    async with chatting({"default": engine}) as p:
        await p.press(*"see ")
        await paste(p, LONG)
        assert prompt(p).text == f"see {WORDS}"
        assert WORDS in p.seen
        await p.press("!")
        await p.press("enter")
        await p.until(lambda: any(call[0] == "prompt" for call in engine.calls))
        messages, _ = next(asked for verb, asked in engine.calls if verb == "prompt")
        assert messages[-1].content == f"see {LONG}!"


async def test_paste_beyond_the_context_is_refused_with_its_size() -> None:
    engine = FakeEngine(["answer"], context=4096)
    async with chatting({"default": engine}) as p:
        await paste(p, LONG)
        await p.until(lambda: prompt(p).refusal)
        await p.press("enter")
        assert "100,000 tokens; the context holds 4,096" in p.notices
        assert prompt(p).text == WORDS and not p.views
        await p.press("backspace")
        assert prompt(p).text == "" and not prompt(p).refusal
        await p.press("ctrl+z")
        assert prompt(p).draft.count("two") == LONG.count("two")


class WordEngine(FakeEngine):
    """A model that never counts a long text."""

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        assert len(text) < FOLDED
        return super().encode(text, bos=bos)


async def test_paste_that_no_tokens_can_spell_is_refused_by_its_bytes() -> None:
    engine = WordEngine(["answer"], name="default", context=8192, longest_token=12)
    async with chatting({"default": engine}) as p:
        await paste(p, LONG)
        await p.until(lambda: prompt(p).refusal)
        await p.press(*" x!")
        assert f"{WORDS} x!" in p.seen
        await p.press("enter")
        assert "100.0 kB, more than the 8,192 tokens" in p.notices
        assert prompt(p).text == f"{WORDS} x!" and not p.views
        await p.press(*["backspace"] * 4, *"hi", "enter")
        await p.until(lambda: p.last_text == "answer")


async def test_paste_sent_before_it_is_counted_returns_where_it_is_refused() -> None:
    go_on = Event()

    class Counting(FakeEngine):
        def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
            assert len(text) < FOLDED or go_on.wait(20)
            return super().encode(text, bos=bos)

    engine = Counting(["answer"], name="default", context=4096)
    async with chatting({"default": engine}) as p:
        await paste(p, LONG)
        draft = prompt(p).draft
        await p.press("!", "enter")
        assert prompt(p).text == "" and not prompt(p).refusal
        go_on.set()
        await p.until(lambda: "does not fit the context" in p.notices)
        await p.until(lambda: prompt(p).text == f"{WORDS}!")
        assert prompt(p).draft == f"{draft}!"
        await p.until(lambda: not p.views)


async def test_status_reads_no_message_while_it_holds_a_long_paste() -> None:
    go_on = Event()
    engine = FakeEngine(name="default", on_token=lambda _: go_on.wait(20))
    async with chatting({"default": engine}) as p:
        state = p.chat.query_one(Status)
        await p.press("a")
        await p.until(lambda: state.state == "reading your message")
        await paste(p, LONG)
        await p.until(lambda: "nothing is computed" in p.seen)
        assert state.state == "ready"
        go_on.set()


async def test_text_given_back_to_the_prompt_is_folded() -> None:
    async with chatting() as p:
        await p.press(*"see ")
        await paste(p, LONG)
        await p.press("!")
        draft = prompt(p).draft
        await p.press("ctrl+u")
        prompt(p).give_back(draft)  # as it was
        assert prompt(p).text == f"see {WORDS}!"
        assert prompt(p).draft == draft
        prompt(p).text = "after"
        prompt(p).give_back(LONG)
        assert prompt(p).text.endswith(", 2,128 lines⟧\nafter")
        assert prompt(p).draft == f"{LONG}\nafter"


async def test_folded_paste_is_deleted_as_a_whole_or_stays() -> None:
    async with chatting() as p:
        for keys, left in (
            ("home delete", ""),
            ("left x", f"{WORDS}x"),
            ("home right right x", f"{WORDS}x"),
            ("left left shift+left backspace", ""),
            ("home x", f"x{WORDS}"),
        ):
            prompt(p).clear()
            await paste(p, LONG)
            await p.press(*keys.split())
            assert prompt(p).text == left, keys


async def test_keystroke_cost_does_not_grow_with_the_paste() -> None:
    """Counted in calls, of Python's own functions too, while the field edits and draws;
    and in what an engine reads after keys that were pressed."""
    engine = FakeEngine()
    costs = []
    async with chatting({"default": engine}) as p:
        field = prompt(p)
        for size in (FOLDED, len(LONG)):
            await paste(p, LONG[:size])
            await p.until(lambda: field.refusal)
            await p.press("x")  # what is done once is done
            asked = len(engine.calls)
            await p.press("x", "left", "right", "y")
            assert engine.calls[asked:] == []
            costs.append(calls(lambda: edit_and_draw(field)))
            await p.press(*["backspace"] * 4)
            assert field.text == ""
    small, large = costs
    assert large < 1.5 * small


def edit_and_draw(field: PromptField) -> None:
    """A letter, a step to the left, and the lines that are seen."""
    field.insert("z")
    field.action_cursor_left()
    field.action_delete_right()
    field.render_lines(field.size.region)


def calls(work: Callable[[], object]) -> int:
    """How many functions are called in this thread while something is done."""
    count = 0

    def called(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
