"""The inspector: the whole vocabulary at a place, and the branches from it."""

from __future__ import annotations

from dataclasses import replace
from threading import Event, Semaphore
from typing import Any

import pytest

from lmtui.analysis.branches import ROOT
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Prompt,
    Step,
)
from lmtui.models.source import ModelRef
from lmtui.tui.dialogs import ConfirmDialog
from lmtui.tui.inspect_source import InspectSource, KnownTokens
from lmtui.tui.inspector.branches import AHEAD, LONGEST
from lmtui.tui.inspector.overview import OverviewScreen
from lmtui.tui.inspector.pickers import AlternativesScreen, BranchesScreen, ahead
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.start import StartScreen
from lmtui.tui.widgets.text_totals import TextTotals
from lmtui.worker.generation import run_continuations
from tests.fake_numbers import state_after
from tests.fakes import FakeEngine
from tests.tui.inspecting import Inspecting, inspecting
from tests.tui.programs import assert_laid_out, program

TEXT = "the cat sat"
PLAIN = SamplingSettings(temperature=0, max_tokens=50)


# The vocabulary.


async def test_panel_shows_kept_rows_at_once_and_the_vocabulary_later() -> None:
    go_on = Event()
    engine = FakeEngine(name="default")
    look = engine.next_distribution

    def slow(*args: Any, **how: Any) -> Any:
        assert go_on.wait(20)
        return look(*args, **how)

    engine.next_distribution = slow  # type: ignore[method-assign]
    async with inspecting(TEXT, engine) as page:
        page.view.select(4)
        await page.until(lambda: page.panel.title == "Expected at token 5")
        kept = page.panel.distribution
        assert kept is not None and kept.handle < 0
        assert page.panel.chosen == ord("c")
        await page.press("tab", "down", "down")
        go_on.set()
        await page.until(lambda: page.looked)
        shown = page.panel.distribution
        assert shown is not None
        assert [r.id for r in shown.candidates] == [r.id for r in kept.candidates]
        assert page.panel._cursor == 2  # the same place in more words


async def test_token_finder_finds_a_token_with_its_rank() -> None:
    async with inspecting(TEXT) as page:
        await page.to(4)
        await page.press("f", "z")
        finder = page.screen.query_one(TokenFinder)
        await page.until(lambda: finder.rows and finder.text == "z")
        position = FakeEngine()._position(state_after(TEXT[:4].encode()))
        rank = position.rank(ord("z"))
        assert finder.rows[0].rank == rank
        assert f"{rank}" in page.running.seen
        await page.press("escape")
        assert not finder.is_open and not page.screen.has_class("-finding")
        await page.press("f", "enter")
        await page.until(lambda: page.text == "the z")
        assert page.view.tokens[4].rank == rank


async def test_inspector_panel_follows_the_sampler_and_pages() -> None:
    async with inspecting(TEXT) as page:
        await page.to(4)
        before = page.panel.distribution
        await page.press("f4", "left")
        await page.until(lambda: page.panel.distribution is not before)
        shown = page.panel.distribution
        assert shown is not None and before is not None
        assert shown.handle == before.handle and page.panel.chosen == ord("c")
        page.panel.focus()
        await page.press("end")
        await page.until(lambda: page.panel.distribution.start)  # type: ignore[union-attr]


# Roads.


async def test_alternative_becomes_a_branch_and_the_text_stays() -> None:
    engine = FakeEngine([" dog ran"], name="default")
    async with inspecting(TEXT, engine) as page:
        given = page.branches.path(ROOT)
        await page.to(3)
        await page.press("enter")
        listed = await page.running.on(AlternativesScreen)
        await page.until(lambda: "leads to" in page.running.seen)
        ids = tuple(TEXT[:3].encode())
        starts = [row.id for row in listed.items]
        assert ("look_ahead", (ids, tuple(starts))) in engine.calls
        ways = run_continuations(engine, ids, starts, AHEAD)
        lines = page.running.seen.splitlines()
        heads = next(place for place, line in enumerate(lines) if "leads to" in line)
        for place, way in enumerate(ways, heads + 1):
            assert ahead(way) in lines[place]
        second = listed.items[1]
        await page.press("down", "enter")
        await page.until(lambda: page.text.endswith("ran<end>"))
        await page.idle()
        prompt, _ = next(q for verb, q in engine.calls if verb == "generate")  # type: ignore[misc]
        assert prompt.ids == (*ids, second.id)
        assert page.view.tokens[3].id == second.id
        assert page.branches.path(ROOT) == given
        assert len(page.branches) == 2
        await page.press("left_square_bracket")
        await page.until(lambda: page.text == TEXT)
        assert page.view.index == 3
        await page.press("right_square_bracket")
        await page.until(lambda: page.text != TEXT)
        # The same alternative again is the same branch, and nothing is written anew.
        made = [verb for verb, _ in engine.calls].count("generate")
        await page.press("left_square_bracket")
        await page.until(lambda: page.text == TEXT)
        await page.idle()
        await page.press("enter")
        await page.running.on(AlternativesScreen)
        await page.press("down", "enter")
        await page.until(lambda: page.text != TEXT)
        assert [verb for verb, _ in engine.calls].count("generate") == made
        assert len(page.branches) == 2


async def test_branch_ends_after_sixty_tokens_and_enter_goes_on() -> None:
    engine = FakeEngine(["la " * 100] * 5, name="default")
    async with inspecting(TEXT, engine) as page:
        page.screen.sampler.use(replace(PLAIN, max_tokens=500))
        await page.to(3)
        await page.press("enter")
        await page.running.on(AlternativesScreen)
        await page.press("enter")
        for written in (LONGEST, 2 * LONGEST):
            end = 4 + written
            await page.until(lambda end=end: len(page.view.tokens) == end)
            await page.idle()
            await page.until(lambda end=end: page.view.index == end)
            assert page.state.startswith(f"{LONGEST} tokens written; Enter goes on")
            await page.press("enter")
        assert len(page.branches) == 2
        await page.press("s")  # a token of its own is no stretch to go on with
        await page.idle()
        await page.until(lambda: page.view.index == len(page.view.tokens))
        await page.press("s", "enter")
        await page.running.on(AlternativesScreen)


@pytest.mark.parametrize("place", [0, 1, 5])
async def test_alternatives_begin_at_the_token_of_the_text(place: int) -> None:
    """And stay within the list: Up at the first row does not lead to the last."""
    engine = FakeEngine([" dog"], name="default")
    async with inspecting(TEXT, engine) as page:
        await page.to(3)
        shown = page.panel.distribution
        assert shown is not None
        # Put the row of this place into the text, on a branch.
        page.screen.branches.insert_row(shown.candidates[place])
        await page.to(3)
        await page.press("enter")
        listed = await page.running.on(AlternativesScreen)
        await page.until(lambda: "leads to" in page.running.seen)
        assert listed.marked == listed.items[place]
        for _ in range(place + 1):
            await page.press("up")
        assert listed.marked == listed.items[0]
        for _ in listed.items:
            await page.press("down")
        assert listed.marked == listed.items[-1]


async def test_sampler_is_opened_by_its_key_once_a_model_is_there() -> None:
    engine = FakeEngine(name="default")
    async with inspecting(TEXT, engine, size=(120, 40)) as page:
        assert "top-p" not in page.running.seen
        await page.press("f4")
        await page.until(lambda: "top-p" in page.running.seen)
        await page.press("f4")
        await page.until(lambda: "top-p" not in page.running.seen)


async def test_sampler_stays_closed_until_its_settings_are_known() -> None:
    """The model's makers may recommend others than those of the start."""
    release = Event()

    def load(_: Any) -> FakeEngine:
        assert release.wait(20)
        return FakeEngine(name="default")

    source = InspectSource("notes.txt", read=lambda: TEXT)
    options: dict[str, Any] = {"open_model": lambda _: load, "source": source}
    async with program(first="inspect", size=(120, 40), **options) as running:
        await running.on(InspectScreen)
        await running.press("f4")
        await running.until(lambda: "No model is loaded yet" in running.notices)
        assert "top-p" not in running.seen
        release.set()
        await running.ready()
        await running.press("f4")
        await running.until(lambda: "top-p" in running.seen)


async def test_keys_append_argmax_sampled_or_picked_tokens_and_take_back() -> None:
    engine = FakeEngine([["x"], ["y"]], name="default")
    async with inspecting(TEXT, engine) as page:
        await page.press("end")
        await page.until(lambda: page.panel.title == "Expected next" and page.looked)
        await page.press("a")
        await page.until(lambda: page.text == TEXT + "x")
        await page.idle()
        _, settings = [q for verb, q in engine.calls if verb == "generate"][-1]  # type: ignore[misc]
        assert (settings.max_tokens, settings.temperature) == (1, 0)
        await page.press("s")
        await page.until(lambda: page.text == TEXT + "xy")
        await page.idle()
        first = page.panel.distribution.candidates[0]  # type: ignore[union-attr]
        await page.press("tab", "enter")
        await page.until(lambda: len(page.view.tokens) == len(TEXT) + 3)
        assert page.view.tokens[-1].id == first.id
        assert page.view.tokens[-1].logprob == first.logprob
        assert page.view.tokens[-1].rank == 1
        assert len(page.branches) == 2  # one branch, which grew
        page.screen.focus_text()
        await page.press("u", "u", "u")
        await page.until(lambda: len(page.view.tokens) == len(TEXT))
        assert page.text == TEXT and len(page.branches) == 1
        await page.press("u")
        assert page.view.index == len(TEXT) - 1 and page.text == TEXT


async def test_parts_of_a_character_can_be_alternatives() -> None:
    engine = FakeEngine([[b"\xa9", b"\xe6", b"\xbc"]], name="default")
    async with inspecting("caf\u00e9 au lait", engine) as page:
        await page.to(4)  # the second byte of é
        await page.press("enter")
        await page.running.on(AlternativesScreen)
        await page.until(lambda: "leads to" in page.running.seen)
        assert "\ufffd" not in page.running.seen
        await page.press("escape")
        await page.running.on(InspectScreen)
        await page.press("g")
        await page.until(lambda: len(page.branches) == 2)
        await page.idle()
        data = b"".join(token.bytes for token in page.view.tokens)
        assert data == "café".encode() + b"\xe6\xbc<end>"
        assert page.screen.document.written.whole_text().startswith("café")


async def test_stopped_branch_keeps_its_words() -> None:
    held, go_on = Event(), Event()

    def hold(index: int) -> None:
        if engine.calls[-1][0] == "generate" and index == 2:
            held.set()
            assert go_on.wait(20)

    engine = FakeEngine(["one two three four"], name="default", on_token=hold)
    async with inspecting(TEXT, engine) as page:
        await page.press("end", "g")
        await page.until(held.is_set)  # what it wrote may be shown later
        await page.press("g")  # it is writing already
        await page.press("escape")
        go_on.set()
        await page.until(lambda: not page.screen.branches.is_writing)
        assert page.text == TEXT + "one two"
        assert page.state.startswith("stopped; Enter goes on")
        assert page.running.app.screen is page.screen


async def test_failure_while_writing_a_branch_keeps_the_text() -> None:
    engine = FakeEngine(["one"], name="default")
    async with inspecting(TEXT, engine) as page:
        await page.to(3)
        engine.error = RuntimeError("boom")
        await page.press("g")
        await page.until(lambda: not page.screen.branches.is_writing)
        assert page.text == TEXT and len(page.branches) == 1
        await page.press("enter")
        await page.running.on(AlternativesScreen)
        await page.until(lambda: "bug" in page.running.seen)
        engine.error = None
        await page.press("enter")  # the token is known without its way
        await page.until(lambda: len(page.branches) == 2)


async def test_a_branch_goes_on_in_a_later_window() -> None:
    """Where the text fills the context, the first tokens make room for new ones."""
    engine = FakeEngine(["xyz"], name="default", context=len(TEXT))
    async with inspecting(TEXT, engine) as page:
        await page.press("end", "g")
        await page.until(lambda: len(page.branches) == 2)
        await page.idle()
        prompt, _ = next(q for verb, q in engine.calls if verb == "generate")  # type: ignore[misc]
        assert page.screen.document.scored.windows is not None
        start = page.screen.document.scored.windows.start_of(len(TEXT))
        assert start > 0 and prompt.ids == tuple(TEXT[start:].encode())
        assert page.text == TEXT + "xyz<end>"


@pytest.mark.parametrize("room", [1, 2])
async def test_going_on_says_when_the_context_has_no_room(room: int) -> None:
    tokens = tuple(FakeEngine().score(b"hello", prefix=b"x" * 10, top_n=5))
    subject = InspectSource("answer", known=KnownTokens(tokens, (120,) * 10, "default"))
    engine = FakeEngine(["y"], name="default", context=10 + room)
    async with inspecting("", engine, subject=subject, asked=False) as page:
        await page.until(lambda: page.text == "hello")
        await page.press("end", "g")
        assert ("no room" in page.screen.document.why_not) == (room < 2)
        if room >= 2:
            await page.until(lambda: len(page.branches) == 2)
            await page.idle()
        assert page.branches.path(ROOT) == tokens


# The tree.


async def branch_at(page: Inspecting, place: int) -> None:
    """A branch that the model writes from there."""
    count = len(page.branches)
    await page.to(place)
    await page.press("g")
    await page.until(lambda: len(page.branches) > count)
    await page.idle()


async def test_branches_screen_shows_and_deletes_branches() -> None:
    engine = FakeEngine([" dog ran", " xyz"], name="default")
    async with inspecting(TEXT, engine) as page:
        await branch_at(page, 3)
        await branch_at(page, 5)
        assert len(page.branches) == 3
        await page.press("b")
        await page.running.on(BranchesScreen)
        lines = page.running.seen.splitlines()
        # Each below the one that it leaves.
        first, second = (line.index("└") for line in lines if "└" in line)
        assert first < second
        await page.press("home", "d")
        assert isinstance(page.running.app.screen, BranchesScreen)  # the text stays
        await page.press("down", "d")
        await page.running.on(ConfirmDialog)
        assert "2 branches" in page.running.seen
        await page.answer("d")
        await page.until(lambda: len(page.branches) == 1)
        assert page.text == TEXT
        await page.press("b")
        await page.running.on(BranchesScreen)
        await page.press("enter")
        await page.running.on(InspectScreen)


async def test_leaving_the_inspector_asks_while_there_are_branches() -> None:
    engine = FakeEngine([" dog ran"], name="default")
    async with inspecting(TEXT, engine) as page:
        await branch_at(page, 3)
        for way in ("escape", "f9", "ctrl+q"):
            await page.press(way)
            await page.running.on(ConfirmDialog)
            await page.press("escape")
            await page.running.on(InspectScreen)
        assert len(page.branches) == 2
        await page.press("ctrl+q")
        await page.answer("l")
        await page.until(lambda: page.running.app._exit)


async def test_branches_return_when_their_model_is_loaded_again() -> None:
    engine = FakeEngine([" dog ran"], name="default")
    async with inspecting(TEXT, engine) as page:
        await branch_at(page, 3)
        app, given = page.running.app, page.text
        for name, known in (("other", 1), ("default", 2)):
            engine.name = name
            app.load_model(ModelRef(name))
            await page.running.ready(name)
            await page.until(lambda: not page.screen.document.why_not)
            assert len(page.branches) == known
            assert page.screen.has_branches
        assert page.text == given


# Selection, search, other models, bad input.


async def test_the_selection_is_summed_and_copied() -> None:
    async with inspecting("ab cd 漢字") as page:
        await page.press("home", "shift+right", "shift+right", "shift+right")
        totals = page.screen.query_one(TextTotals)
        await page.until(lambda: len(totals.parts) == 2)
        scored = list(FakeEngine().score(b"ab cd", top_n=0))[1:4]
        assert totals.parts[1].logprob == pytest.approx(
            sum(t.logprob or 0.0 for t in scored)
        )
        assert (totals.parts[1].tokens, totals.parts[1].scored) == (4, 3)
        await page.press("ctrl+c")
        assert page.running.app.clipboard == "ab c"
        await page.press("end", "left", "ctrl+c")
        assert len(totals.parts) == 1
        assert page.running.app.clipboard


async def test_find_bar_selects_words_in_the_inspected_text() -> None:
    async with inspecting("one two one") as page:
        await page.press("slash", *"one")
        await page.until(lambda: page.view.selection == (0, 3))
        await page.press("enter")
        await page.until(lambda: page.view.selection == (8, 11))
        await page.press("escape")
        assert page.screen.focused is not None
        await page.press("ctrl+f", *"zzz")
        await page.until(lambda: "nothing found" in page.running.seen)


async def test_panel_predicts_anew_for_steps_without_candidates() -> None:
    engine = FakeEngine(["one two"], name="default")
    steps = [
        s for s in engine.generate(Prompt((120,), "x"), PLAIN) if isinstance(s, Step)
    ]
    bare = tuple(
        replace(s, distribution=replace(s.distribution, candidates=(), handle=-1))
        for s in steps
    )
    subject = InspectSource("answer", known=KnownTokens(bare, (120,), "default"))
    async with inspecting("", engine, subject=subject) as page:
        await page.until(lambda: page.text == "one two<end>")
        await page.to(1)
        await page.until(lambda: page.panel.chosen == steps[1].id)
        shown = page.panel.distribution
        assert shown is not None
        ids = [row.id for row in steps[1].distribution.candidates]
        assert [row.id for row in shown.candidates] == ids
        await page.press("o")
        await page.running.on(OverviewScreen)


async def test_tokens_of_another_model_can_only_be_read() -> None:
    tokens = tuple(FakeEngine().score(b"hello", prefix=b"x", top_n=5))
    subject = InspectSource("answer", known=KnownTokens(tokens, (120,), "other"))
    async with inspecting("", subject=subject, asked=False) as page:
        await page.until(lambda: "these tokens are of other" in page.state)
        await page.press("g", "s", "enter")
        assert page.running.app.screen is page.screen
        assert page.text == "hello"


@pytest.mark.parametrize("text", ["", "long " * 200], ids=["none", "huge"])
async def test_inspector_handles_empty_and_huge_texts(text: str) -> None:
    async with inspecting(text) as page:
        assert page.text == text
        for key in (
            "end",
            "n",
            "N",
            "pageup",
            "full_stop",
            "m",
            "ctrl+right",
            "shift+left",
        ):
            await page.press(key)
        if not text:
            await page.press("enter", "g", "a", "u", "f", "escape", "b", "escape")
            assert "empty" in page.state or page.text == ""
        assert_laid_out(page.screen)
        await page.press("escape")
        await page.running.on(StartScreen)


async def test_time_left_is_told_once_tokens_have_been_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmtui.tui.inspector.document._SPEED_KNOWN", 0)
    allowed = Semaphore(1)
    engine = FakeEngine(
        name="default",
        context=64,
        on_token=lambda index: allowed.acquire(timeout=20),
    )
    async with inspecting("ab " * 40, engine, asked=False) as page:
        await page.until(lambda: "· 1/120 tokens" in page.state)
        assert " left" not in page.state  # the first token has nothing to compute

        def goes_on() -> bool:
            allowed.release()
            return " left" in page.state

        await page.until(goes_on)
        allowed.release(1_000)
