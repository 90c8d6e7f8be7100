"""The page that says what made a token likely, over each of its screens."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.widgets import Static

from lmtui.analysis.attribution import (
    LISTED,
    Attribution,
    Effect,
    pieces_of,
    strength,
)
from lmtui.chat.attachments import quoted
from lmtui.engine.document.types import ContextFile
from lmtui.engine.types import Capabilities, ChatTurn, SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.notation import difference
from lmtui.surprisal_scale import SIGNED
from lmtui.tui.chat.message import MessageView
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.why import NOTHING_BEFORE, WhyScreen
from lmtui.worker.requests import Slot
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.editor.writer import writing
from tests.tui.hosts import HOSTILE, drawn, safe
from tests.tui.inspecting import Inspecting, inspecting
from tests.tui.programs import Program, assert_laid_out

TEXT = "The cat was hungry. It rained. The cat ate the"


def of(page: WhyScreen, id_: str) -> str:
    """What stands in a line of the page."""
    return str(page.query_one(f"#{id_}", Static).content)


def shown(page: WhyScreen) -> list[Effect]:
    """The effects that it knows."""
    return [*page._effects.values()]


def rows(page: WhyScreen) -> list[str]:
    """The rows of the list."""
    return [str(option.prompt) for option in page._list.options]


async def done(running: Program, *keys: str) -> WhyScreen:
    """Press keys that open the page, and wait until all is left out."""
    await running.press(*keys)
    page = await running.on(WhyScreen)
    await running.until(lambda: page._is_done and page._text.size)
    return page


async def asked(inspector: Inspecting, index: int) -> WhyScreen:
    await inspector.to(index)
    return await done(inspector.running, "w")


# The drawing.


@given(data=st.data(), text=st.text(min_size=1, max_size=40))
def test_pieces_are_the_text_with_the_bits_of_the_smallest_part(
    data: st.DataObject, text: str
) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    first = data.draw(st.integers(0, at))
    bits: dict[tuple[int, int], float | None] = {}
    spans = [(first, at)]
    while spans:  # parts of parts
        start, end = spans.pop()
        if start < end and data.draw(st.booleans()):
            bits[start, end] = float(len(bits))
        if end - start > 1:
            cut = data.draw(st.integers(start + 1, end - 1))
            spans += [(start, cut), (cut, end)]
    pieces = pieces_of(text, first, at, bits)
    assert "".join(piece for piece, _ in pieces) == text[first:]
    starts = [first + n for n in accumulate((len(p) for p, _ in pieces), initial=0)]
    assert at in starts
    for start, (piece, value) in zip(starts, pieces, strict=False):
        for offset in range(start, start + len(piece)):
            over = [s for s in bits if s[0] <= offset < s[1] and offset < at]
            least = min(over, key=lambda span: span[1] - span[0], default=None)
            assert value == (bits[least] if least else None)


# In the inspector.


async def test_inspector_leaves_out_what_is_before_the_token() -> None:
    engine = FakeEngine(name="default")
    async with inspecting(TEXT, engine) as inspector:
        index = TEXT.rindex("the")
        page = await asked(inspector, index)
        encoding = engine.encode(TEXT)
        subject = Attribution(engine, TEXT, encoding, index, index + 1)
        expected = list(subject.effects("sentence"))
        assert set(shown(page)) == set(expected)
        best = sorted(expected, key=strength)[:LISTED]
        assert [row.split()[0] for row in rows(page)] == [
            difference(effect.bits) for effect in best
        ]
        assert of(page, "title").startswith("Why “t”? · ")
        first = difference(best[0].bits)
        assert f"{first} bits: " in of(page, "part")
        assert page._text.at == best[0].start
        assert_laid_out(page)


async def test_panels_have_the_distribution_with_and_without_the_part() -> None:
    engine = FakeEngine(name="default")
    async with inspecting(TEXT, engine) as inspector:
        page = await asked(inspector, len(TEXT) - 3)
        await inspector.press("tab", "down")
        chosen = page._rows[1]
        assert page._current == chosen
        encoding = engine.encode(TEXT)
        subject = Attribution(engine, TEXT, encoding, len(TEXT) - 3, len(TEXT) - 2)
        contexts = subject.ids, subject.ids_without(chosen)
        drawn = SamplingSettings()
        expected = [engine.next_distribution(ids, drawn) for ids in contexts]
        await inspector.until(
            lambda: (
                [
                    panel.distribution and panel.distribution.candidates[0].logprob
                    for panel in page._panels
                ]
                == [distribution.candidates[0].logprob for distribution in expected]
            )
        )
        for panel in page._panels:
            assert panel.chosen == ord("t")
            assert panel.distribution
            rows_ = panel.distribution.candidates
            assert {row.sampled_prob for row in rows_} == {None}  # nothing is drawn


async def test_other_parts_and_back_to_the_text() -> None:
    async with inspecting(TEXT) as inspector:
        page = await asked(inspector, len(TEXT) - 1)
        kinds = []
        for _ in range(4):
            kinds.append({effect.by for effect in shown(page)})
            await inspector.press("t")
            await inspector.until(lambda: page._is_done)
        assert kinds == [{"sentence"}, {"line"}, {"word"}, {"token"}]
        assert {effect.by for effect in shown(page)} == kinds[0]
        chosen = page._current
        assert chosen
        await inspector.press("enter")
        await inspector.until(lambda: inspector.view.index == chosen.start)
        page = await done(inspector.running, "w")
        await inspector.press("escape")
        await inspector.until(lambda: inspector.screen.is_current)
        assert inspector.view.index == chosen.start


async def test_selection_is_the_target() -> None:
    async with inspecting(TEXT) as inspector:
        await inspector.to(len(TEXT) - 3)
        keys = ("shift+right", "shift+right")
        page = await done(inspector.running, *keys, "w")
        assert of(page, "title").startswith("Why “the”?")


@pytest.mark.parametrize(
    ("index", "said"), [(0, NOTHING_BEFORE), (len(TEXT), "There is no token here.")]
)
async def test_place_without_anything_to_leave_out_says_so(
    index: int, said: str
) -> None:
    async with inspecting(TEXT) as inspector:
        inspector.view.select(index)
        await inspector.until(lambda: inspector.view.index == index)
        await inspector.press("w")
        if index:
            assert said in inspector.running.notices
            return
        page = await inspector.running.on(WhyScreen)
        await inspector.until(lambda: said in of(page, "notes"))


async def test_branch_and_the_prompt_before_a_message_are_asked_about() -> None:
    engine = FakeEngine(name="default")
    source = InspectSource(
        "answer", read=lambda: "blue sea", after=(ChatTurn("user", "sky"),)
    )
    async with inspecting("", engine, subject=source) as inspector:
        page = await asked(inspector, 5)
        assert page._subject
        assert [s.name for s in page._subject.sources] == ["user 1", ""]
        await inspector.press("tab", "end", "home")
        await inspector.until(lambda: page._current in page._rows)
        while page._subject.sources[page._current.source].name == "":  # type: ignore[union-attr]
            await inspector.press("down")
        await inspector.press("enter")
        await inspector.until(
            lambda: "It is in user 1, before this text." in inspector.running.notices
        )


async def test_error_is_shown_and_the_page_can_be_closed() -> None:
    engine = FakeEngine(name="default")
    async with inspecting(TEXT, engine) as inspector:
        await inspector.to(9)
        engine.error = LmtuiError("the server is gone", "", "Start it.")
        await inspector.press("w")
        page = await inspector.running.on(WhyScreen)
        await inspector.until(lambda: "Start it." in of(page, "notes"))
        assert of(page, "notes").startswith("the server is gone")
        await inspector.press("escape")
        await inspector.until(lambda: inspector.screen.is_current)


async def test_server_of_texts_alone_is_refused_in_a_sentence() -> None:
    engine = FakeEngine(["one"], name="default")
    engine.capabilities = Capabilities(scores=False, why_not="It sends texts only.")  # type: ignore[misc]
    async with chat(engine=engine, asked="go") as running:
        await running.on_message(1, "w")
        assert "It sends texts only." in running.notices


async def test_closing_the_page_ends_what_is_computed() -> None:
    reached, go_on = Event(), Event()
    engine = FakeEngine(name="default")

    def hold(_: int) -> None:
        reached.set()
        assert go_on.wait(20)

    async with inspecting(TEXT, engine) as inspector:
        await inspector.to(len(TEXT) - 1)
        before = len(engine.calls)
        engine.on_token = hold
        await inspector.press("w")
        page = await inspector.running.on(WhyScreen)
        await inspector.until(reached.is_set)
        assert page._client.is_pending(Slot.REPLACE)
        await inspector.press("escape")
        await inspector.until(lambda: inspector.screen.is_current)
        assert not page._client.is_pending(Slot.REPLACE)
        go_on.set()
        await inspector.idle()
        left_out = [name for name, _ in engine.calls[before:] if name == "target"]
        assert len(left_out) <= 1  # with none left out: the token's own probability


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_drawn_safely(text: str) -> None:
    async with inspecting(f"{text} x. {text} y") as inspector:
        await inspector.press("ctrl+end", "left")
        page = await done(inspector.running, "w")
        assert safe(inspector.running.seen)
        assert_laid_out(page)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 20)])
async def test_page_fits(size: tuple[int, int]) -> None:
    async with inspecting(TEXT, size=size) as inspector:
        page = await asked(inspector, len(TEXT) - 1)
        assert_laid_out(page)
        seen = inspector.running.seen
        for words in ("Why “", "The strongest parts", "Without the part", "Esc closes"):
            assert words in seen


async def test_signs_stand_beside_parts_without_colours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with inspecting(TEXT) as inspector:
        page = await asked(inspector, len(TEXT) - 1)
        for _ in range(2):
            await inspector.press("t")
        await inspector.until(lambda: page._is_done)
        signs = [
            "⁺" if effect.bits > 0 else "⁻"
            for effect in sorted(shown(page), key=lambda effect: effect.start)
            if effect.bits is not None and abs(effect.bits) >= SIGNED
        ]
        assert signs
        seen = "\n".join(strip.text for strip in drawn(page))
        assert [letter for letter in seen if letter in "⁺⁻"] == signs


# In the chat.


async def opened(running: Chat) -> None:
    """The last message as tokens."""
    await running.press("f3")
    await running.until(lambda: running.panel.title == "Token 1")


async def test_chat_leaves_out_turns_and_goes_to_one() -> None:
    engine = FakeEngine(["one two", "three four five"], name="default")
    async with chat(engine=engine, asked="first question") as running:
        await running.say("second question")
        await opened(running)
        await running.press("right", "right")
        page = await done(running, "w")
        assert page._subject
        names = [source.name for source in page._subject.sources]
        assert names == ["user 1", "assistant 2", "user 3", ""]
        texts = [page._subject.text[s.start : s.end] for s in page._subject.sources]
        assert texts[:3] == ["first question", "one two", "second question"]
        assert [effect.by for effect in shown(page)] == ["turn"] * 4
        row = next(n for n, effect in enumerate(page._rows) if effect.source == 1)
        await running.press("tab", "home", *["down"] * row)
        await running.until(lambda: page._current == page._rows[row])
        await running.press("enter")
        await running.until(lambda: isinstance(running.app.focused, MessageView))
        assert isinstance(running.app.focused, MessageView)
        assert running.app.focused.text == "one two"
        assert running.app.focused.matches == ((0, 7),)


async def test_chat_goes_to_a_token_of_the_answer() -> None:
    engine = FakeEngine(["one two three"], name="default")
    async with chat(engine=engine, asked="go") as running:
        await opened(running)
        await running.press("ctrl+end", "left")
        page = await done(running, "w", "t", "t", "t")  # words
        await running.until(lambda: page._is_done)
        row = next(n for n, e in enumerate(page._rows) if e.text.strip() == "one")
        await running.press("tab", "home", *["down"] * row)
        await running.until(lambda: page._current == page._rows[row])
        await running.press("enter")
        await running.until(lambda: running.chat.is_current)
        await running.until(lambda: running.tokens.index == 0)


async def test_panel_that_the_page_displaced_is_asked_for_again() -> None:
    engine = FakeEngine(["one two three"], name="default")
    async with chat(engine=engine, asked="go") as running:
        await opened(running)
        running.panel.outdate(0)
        await running.until(lambda: running.panel.stale)
        await done(running, "w")
        await running.press("escape")
        await running.until(lambda: not running.panel.stale)


async def test_message_in_focus_is_asked_about_as_a_whole() -> None:
    engine = FakeEngine(["one two three"], name="default")
    async with chat(engine=engine, asked="go there") as running:
        await running.on_message(1)
        page = await done(running, "w")
        assert of(page, "title").startswith("Why “one two three")
        assert page._subject
        assert [source.name for source in page._subject.sources] == ["user 1"]
        await running.press("escape")
        await running.on_message(0)
        page = await done(running, "w")
        assert of(page, "title").startswith("Why “go there”?")
        assert NOTHING_BEFORE in of(page, "notes")


async def test_key_is_a_letter_in_the_prompt() -> None:
    async with chat(asked="go") as running:
        await running.press("w")
        assert running.prompt.text == "w"


async def test_attached_file_without_effect_is_named() -> None:
    engine = FakeEngine(["one two"], name="default")
    async with chat(engine=engine, asked=f"read\n\n{quoted('a.md', 'x')}") as running:
        await running.on_message(1)
        page = await done(running, "w")
        assert page._subject
        names = [source.name for source in page._subject.sources]
        assert names == ["user 1", "a.md"]
        page._effects = {
            span: Effect(
                e.start, e.end, e.text, e.logprob_without, 0.0, e.by, e.source,
                e.token, e.as_tokens,
            )
            for span, e in page._effects.items()
        }  # fmt: skip
        assert page._notes() == "Nothing changed without user 1, a.md."


# In the editor.


async def test_editor_asks_about_the_suggestion_and_the_word(tmp_path: Path) -> None:
    text = "the cat sat on the mat"
    async with writing(tmp_path, text=text, cursor=6) as writer:
        await writer.expected()
        page = await done(writer.running, "alt+w", "t", "t")  # words
        await writer.until(lambda: page._is_done)
        assert of(page, "title").startswith("Why “cat”?")
        await writer.press("enter")
        await writer.until(lambda: writer.screen.is_current)
        assert writer.editor.selected_text == "the"
        writer.editor.go_to(len(text), len(text))
        writer.editor.show_ghost(
            " and", revision=writer.editor.revision, cursor=len(text)
        )
        page = await done(writer.running, "alt+w")
        assert of(page, "title").startswith("Why “and”?")


async def test_editor_leaves_out_the_files_that_are_read_first(tmp_path: Path) -> None:
    files = (ContextFile("notes.md", "the dog sat. "), ContextFile("b.md", "a log. "))
    async with writing(tmp_path, text="the cat", cursor=7, context=files) as writer:
        await writer.until(lambda: writer.screen.context.parts)
        page = await done(writer.running, "alt+w")
        assert page._subject
        sources = page._subject.sources
        names = [(source.name, source.is_file) for source in sources]
        assert names == [("notes.md", True), ("b.md", True), ("", False)]
        texts = [page._subject.text[s.start : s.end] for s in sources]
        assert texts == ["the dog sat. ", "a log. ", "the "]
        row = next(n for n, e in enumerate(page._rows) if e.source == 0)
        await writer.press("tab", "home", *["down"] * row)
        await writer.until(lambda: page._current == page._rows[row])
        await writer.press("enter")
        await writer.until(
            lambda: "It is in notes.md, which is read" in writer.running.notices
        )


async def test_nothing_under_the_cursor_is_said(tmp_path: Path) -> None:
    async with writing(tmp_path, text="") as writer:
        await writer.press("alt+w")
        assert "There is no suggestion, and no word" in writer.running.notices
