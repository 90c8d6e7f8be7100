"""The page that says what made a token likely, over each of its screens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.widgets import Static

from lmtui.analysis.attribution import (
    LISTED,
    NOTHING,
    Attribution,
    Effect,
    pieces_of,
)
from lmtui.chat.attachments import quoted
from lmtui.engine.document.types import ContextFile
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Capabilities,
    ChatTurn,
    Prompt,
)
from lmtui.errors import LmtuiError
from lmtui.notation import chance, difference, surprisal
from lmtui.surprisal_scale import SIGNED
from lmtui.tui.chat.message import MessageView
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.why import NOTHING_BEFORE, NOTHING_LEFT, PartsText, WhyScreen
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
    return [*page._effects]


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
def test_pieces_are_the_text_with_the_bits_of_the_part(
    data: st.DataObject, text: str
) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    first = data.draw(st.integers(0, at))
    cuts = data.draw(st.sets(st.integers(first, at), max_size=6))
    bits: dict[tuple[int, int], float | None] = {}
    for start, end in pairwise(sorted(cuts)):
        if data.draw(st.booleans()):
            shared = data.draw(st.integers(0, 1)) and end < at  # white space
            bits[start, end + shared] = float(len(bits))
    pieces = pieces_of(text, first, at, bits)
    assert "".join(piece for piece, _ in pieces) == text[first:]
    starts = [first + n for n in accumulate((len(p) for p, _ in pieces), initial=0)]
    assert at in starts
    for start, (piece, value) in zip(starts, pieces, strict=False):
        for offset in range(start, start + len(piece)):
            over = [s for s in bits if s[0] <= offset < s[1] and offset < at]
            assert value == (bits[max(over)] if over else None)


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
        best, _ = subject.listed(expected)
        assert [row.split()[0] for row in rows(page)] == [
            difference(effect.bits) for effect in best
        ]
        assert of(page, "title").startswith("Why “t”? · ")
        assert page._text.at == best[0].start
        assert [row.split()[1] for row in rows(page)] == [
            f"1:{effect.words[0] + 1}" for effect in best
        ]
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


async def test_arrows_move_over_the_text_both_ways_and_select_nothing() -> None:
    async with inspecting(TEXT) as inspector:
        page = await asked(inspector, len(TEXT) - 1)
        text = page.query_one(PartsText)
        text.focus()
        await inspector.press("home", "right")
        assert text.index == 1
        await inspector.press("left")
        assert text.index == 0
        await inspector.press("shift+right")
        assert text.selection is None


async def test_selection_is_the_target() -> None:
    async with inspecting(TEXT) as inspector:
        await inspector.to(len(TEXT) - 3)
        keys = ("shift+right", "shift+right")
        page = await done(inspector.running, *keys, "w")
        assert of(page, "title").startswith("Why “the”?")


class Rounding(FakeEngine):
    """An engine whose passes round otherwise, each as it was asked for."""

    def target_logprob(self, context: Sequence[int], target: Sequence[int]) -> float:
        self.passes = getattr(self, "passes", 0) + 1
        return super().target_logprob(context, target) - 0.01 * self.passes


async def test_page_has_one_probability_of_one_token() -> None:
    async with inspecting(TEXT, Rounding(name="default")) as inspector:
        page = await asked(inspector, len(TEXT) - 3)
        await inspector.until(lambda: page._panels[1].distribution)
        subject, effect = page._subject, page._current
        assert subject and effect and subject.logprob is not None
        bits, likely = surprisal(subject.logprob), chance(math.exp(subject.logprob))
        assert of(page, "title") == f"Why “t”? · {bits} bits · p {likely}"
        without = surprisal(effect.logprob_without)
        assert page._panels[1].title == f"{without} bits without “{effect.shown}”"
        for panel, listed in zip(
            page._panels, (subject.logprob, effect.logprob_without), strict=True
        ):
            assert panel._chosen_row and panel._chosen_row.logprob == listed
            assert panel.distribution
            of_token = [r for r in panel.distribution.candidates if r.id == ord("t")]
            assert {row.logprob for row in of_token} <= {listed}


async def test_improbable_token_has_words_for_its_probability() -> None:
    async with inspecting(TEXT) as inspector:
        page = await asked(inspector, len(TEXT) - 3)
        title = of(page, "title")
        assert "e−" not in title and "<0.1%" not in title
        assert page._subject and page._subject.logprob is not None
        assert f"p {chance(math.exp(page._subject.logprob))}" in title


async def test_rows_that_change_nothing_are_counted() -> None:
    async with inspecting(f"{'a ' * 40}{TEXT}", size=(120, 40)) as inspector:
        page = await asked(inspector, len(TEXT) + 79)
        await inspector.press("t", "t")  # words
        await inspector.until(lambda: page._is_done)
        assert page._subject
        listed, hidden = page._subject.listed(shown(page))
        assert len(rows(page)) == len(listed) <= LISTED
        assert f"The strongest parts · {hidden}" == of(page, "heading")
        assert str(len(shown(page)) - len(listed)) in hidden
        assert all(abs(effect.bits or 0) >= NOTHING for effect in listed)


async def test_part_without_which_nothing_is_left_is_told_and_not_listed() -> None:
    async with inspecting("cat sat") as inspector:
        page = await asked(inspector, 2)
        assert rows(page) == []
        assert of(page, "notes") == NOTHING_LEFT
        await inspector.press("left")
        await inspector.until(lambda: page._panels[0].distribution)
        await inspector.until(lambda: NOTHING_LEFT[:20] in inspector.running.seen)
        assert page._panels[1].distribution is None


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
        for words in ("Why “", "The strongest parts", "bits without “", "Esc closes"):
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


class Introduced(FakeEngine):
    """An engine whose template writes a system text of its own where there is none."""

    def prompt(self, messages: Sequence[ChatTurn], **options: Any) -> Prompt:
        if not messages or messages[0].role != "system":
            own = ChatTurn("system", "You are a helpful assistant. Name it.")
            messages = (own, *messages)
        return super().prompt(messages, **options)


async def test_parts_are_the_messages_that_were_sent_once_the_oldest_are_dropped() -> (
    None
):
    """Whatever the template writes around them stays."""
    engine = Introduced([["ok "] * 3] * 4, name="default", context=200)
    options = ChatOptions(drop_oldest=True)
    async with chat(engine=engine, chat=options) as running:
        for question in ("Name a fruit.", "Name a desert.", "Name it", "Name a sea."):
            await running.say(question)
        left_out = running.leaf.left_out
        assert left_out
        await opened(running)
        page = await done(running, "w")
        assert page._subject
        said = ["Name a fruit.", "Name a desert.", "Name it", "Name a sea."]
        texts = [text for asked in said for text in (asked, "ok ok ok")][:-1]
        sources = page._subject.sources
        assert [source.turn for source in sources] == [*range(left_out, len(texts))]
        read = [page._subject.text[source.start : source.end] for source in sources]
        assert read == texts[left_out:]
        for by in ("turn", "word"):
            effects = shown(page)
            assert {effect.by for effect in effects} == {by}
            words = " ".join(effect.text for effect in effects)
            assert "assistant" not in words and "helpful" not in words
            await running.press("t", "t", "t")
            await running.until(lambda: page._is_done)


async def test_answer_so_far_is_the_last_row() -> None:
    engine = FakeEngine(["one two", "three four five"], name="default")
    async with chat(engine=engine, asked="first question") as running:
        await running.say("second question")
        await opened(running)
        await running.press("right", "right")
        page = await done(running, "w")
        assert [row.split()[1] for row in rows(page)[:-1]] == ["turn"] * (
            len(rows(page)) - 1
        )
        assert page._subject and page._current == page._rows[0]
        assert rows(page)[-1].split()[1] == "text"
        sizes = [abs(effect.bits or 0) for effect in page._rows if effect.source != 3]
        assert sizes == sorted(sizes, reverse=True)


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


async def test_attached_file_is_listed_beside_its_message() -> None:
    engine = FakeEngine(["one two"], name="default")
    async with chat(engine=engine, asked=f"read\n\n{quoted('a.md', 'x')}") as running:
        await running.on_message(1)
        page = await done(running, "w")
        kinds = {row.split()[1]: row.split(maxsplit=2)[2] for row in rows(page)}
        assert kinds["turn"] == "user 1: read"
        assert kinds["file"].startswith("a.md: ```md a.md")


# In the editor.


async def test_editor_asks_about_the_suggestion_and_the_word(tmp_path: Path) -> None:
    text = "So the cat sat on the mat"
    async with writing(tmp_path, text=text, cursor=9) as writer:
        await writer.expected()
        page = await done(writer.running, "alt+w", "t", "t")  # words
        await writer.until(lambda: page._is_done)
        assert of(page, "title").startswith("Why “cat”?")
        strongest = page._rows[0].text.strip()
        assert strongest in ("So", "the")
        await writer.press("enter")
        await writer.until(lambda: writer.screen.is_current)
        assert writer.editor.selected_text == strongest
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
