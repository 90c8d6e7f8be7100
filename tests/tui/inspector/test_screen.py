"""A file as tokens: how it fills, what stands beside it, and how it ends."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import pytest

from lmtui.models.source import ModelRef
from lmtui.partial import EntropyRange, RankAbove
from lmtui.tui.dialogs import ErrorScreen
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.inspector.compare import expected
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.start import StartScreen, shown_path
from lmtui.tui.widgets.panel_lines import summary_forms
from lmtui.tui.widgets.text_totals import TextTotals
from tests.fakes import FakeEngine
from tests.tui.inspecting import Inspecting
from tests.tui.programs import assert_laid_out, program

TEXT = "naïve [b]x\x1b[0m\n"


@asynccontextmanager
async def reading(
    path: Path, engine: FakeEngine | None = None, **options: Any
) -> AsyncIterator[Inspecting]:
    engines = {"default": engine or FakeEngine(name="default")}
    async with program(engines, recent_files=lambda: [path], **options) as running:
        await running.ready()
        start = await running.on(StartScreen)
        await running.until(lambda: start._recent)
        await running.press("up", "enter")
        yield Inspecting(running, await running.on(InspectScreen))


async def test_inspector_shows_the_text_while_the_model_loads() -> None:
    go_on = Event()

    def open_model(_: str) -> Any:
        def load(_: Any) -> FakeEngine:
            assert go_on.wait(20)
            return FakeEngine(name="default")

        return load

    subject = InspectSource(
        "notes.txt", read=lambda: "one two\n  three\u200d " + "x " * 999
    )
    async with program(
        first="inspect", open_model=open_model, source=subject
    ) as running:
        screen = await running.on(InspectScreen)
        await running.until(lambda: "  three⟨U+200D⟩" in running.seen)
        assert "one two⏎" in running.seen and not screen.document.view.tokens
        await running.press("right", "n", "end", "ctrl+end", "up")
        go_on.set()
        await running.until(lambda: screen.document.view.tokens)
        await running.until(lambda: "  three⟨U+200D⟩" in running.seen)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


async def test_inspector_shows_every_token_with_its_scores(file: Path) -> None:
    engine = FakeEngine(name="default")
    async with reading(file, engine) as page:
        await page.until(lambda: page.state.startswith("ready"))
        data = TEXT.encode()
        scored = list(engine.score(data, top_n=20))
        assert page.view.tokens == tuple(scored)
        assert "notes.txt" in page.running.seen
        totals = page.screen.query_one(TextTotals)
        total = sum(token.logprob or 0.0 for token in scored)
        assert totals.parts[0].logprob == pytest.approx(total)
        assert totals.parts[0].bytes == len(data) - 1
        assert "first token without context" in page.running.seen
        await page.press("right", "right")
        await page.until(lambda: page.panel.title == "Expected at token 3")
        shown = page.panel.distribution
        assert shown is not None
        ids = [row.id for row in shown.candidates]
        assert ids == [row.id for row in scored[2].top]
        assert page.panel.chosen == data[2]
        assert "\x1b" not in page.running.seen


async def test_scoring_fills_the_inspector_and_can_be_stopped_and_resumed(
    file: Path,
) -> None:
    go_on = Event()

    def hold(index: int) -> None:
        if index == 5:
            assert go_on.wait(20)

    async with reading(file, FakeEngine(name="default", on_token=hold)) as page:
        whole = len(TEXT.encode())
        await page.until(lambda: re.match("scoring [1-9]", page.state))
        assert f"/{whole} tokens" in page.state
        assert page.text == TEXT
        await page.press("escape")
        go_on.set()
        await page.until(lambda: page.state.startswith("stopped at"))
        scored = [token for token in page.view.tokens if token.logprob is not None]
        assert 0 < len(scored) <= 5 and page.text == TEXT
        assert page.screen.query_one(TextTotals).parts[0].scored == len(scored)
        assert page.running.app.screen is page.screen
        await page.press("r")
        await page.until(lambda: page.state.startswith("ready"))
        assert all(token.logprob is not None for token in page.view.tokens[1:])
        await page.press("r", "escape")
        await page.running.on(StartScreen)


async def test_text_stopped_before_its_tokens_are_known_is_read_on(file: Path) -> None:
    reached, go_on = Event(), Event()
    engine = FakeEngine(name="default")
    encode = engine.encode

    def slowly(text: str, **options: Any) -> Any:
        reached.set()
        assert go_on.wait(20)
        return encode(text, **options)

    engine.encode = slowly  # type: ignore[method-assign]
    async with reading(file, engine) as page:
        await page.until(reached.is_set)
        await page.press("escape")
        go_on.set()
        await page.until(lambda: page.state.startswith("stopped · r reads on"))
        assert page.view.tokens == ()
        await page.press("r")
        await page.until(lambda: page.state.startswith("ready"))
        assert page.view.tokens == tuple(FakeEngine().score(TEXT.encode(), top_n=20))


async def test_long_text_is_scored_from_where_the_cursor_is(tmp_path: Path) -> None:
    path = tmp_path / "long"
    text = "".join(f"line {number}\n" for number in range(2000))
    path.write_text(text)
    asked, gate = Event(), Semaphore(0)
    engine = FakeEngine(name="default", context=64)
    score = engine.score

    def slow(*args: Any, **how: Any) -> Any:
        asked.set()
        assert gate.acquire(timeout=20)
        return score(*args, **how)

    engine.score = slow  # type: ignore[method-assign]
    async with reading(path, engine) as page:
        await page.until(lambda: page.view.tokens)
        assert page.text == text and "░" in page.state
        assert page.view.tokens[-1].logprob is None
        await page.press("ctrl+end")
        await page.until(lambda: "line 1999" in page.running.seen)

        def end_is_read() -> bool:
            """Let one part after the other be read."""
            if asked.is_set():
                asked.clear()
                gate.release()
            return page.view.tokens[-1].logprob is not None

        await page.until(end_is_read)
        assert any(token.logprob is None for token in page.view.tokens[1:-2000])
        await page.press("escape")
        gate.release()
        await page.until(lambda: page.state.startswith("stopped at"))
        sums = page.screen.query_one(TextTotals).parts[0]
        scored = [token for token in page.view.tokens if token.logprob is not None]
        assert sums.scored == len(scored) < sums.tokens == len(text)
        assert sums.bytes == sum(len(token.bytes) for token in scored)
        place = page.view.index - 1
        await page.to(place)  # the whole vocabulary, also where nothing is read


async def test_leaving_the_inspector_ends_the_scoring(file: Path) -> None:
    go_on = Event()
    begun = Event()

    def hold(index: int) -> None:
        begun.set()
        assert go_on.wait(20)

    engine = FakeEngine(["hello"], name="default", on_token=hold)
    async with reading(file, engine) as page:
        await page.until(begun.is_set)
        await page.press("f9")
        await page.running.on(StartScreen)
        await page.until(lambda: not page.screen.is_running)
        go_on.set()
        await page.press("c")
        await page.running.ask("hi")
        await page.until(lambda: page.running.views[-1].text == "hello")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"x" * 2_000_001, "the text is too long"), (None, "there is no such file")],
    ids=["long", "missing"],
)
async def test_file_that_cannot_be_shown_is_explained(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    async with reading(path) as page:
        await page.until(lambda: words in page.state)
        page.running.app.load_model(ModelRef("default"))
        await page.until(lambda: page.running.app.model.loading)
        await page.running.ready()
        await page.until(lambda: words in page.state)
        await page.press("escape")
        await page.running.on(StartScreen)


async def test_failing_engine_is_told_in_the_status(file: Path) -> None:
    engine = FakeEngine(name="default", error=RuntimeError("boom"))
    async with reading(file, engine) as page:
        await page.until(lambda: "this is a bug" in page.state)
        assert not isinstance(page.running.app.screen, ErrorScreen)


async def test_inspector_is_laid_out_at_every_size(file: Path) -> None:
    async with reading(file) as page:
        await page.until(lambda: page.state.startswith("ready"))
        for size in ((80, 24), (120, 40), (40, 12)):
            await page.running.pilot.resize_terminal(*size)
            await page.until(lambda size=size: page.screen.size == size)
            for key in ("f2", "f2", "f6", "f1", "f1"):
                await page.press(key)
            assert_laid_out(page.screen)


async def test_recent_files_stay_inside_the_screen(tmp_path: Path) -> None:
    paths = [tmp_path / f"[b]file {number}\x1b.txt" for number in range(20)]
    async with program(recent_files=lambda: paths, size=(80, 24)) as running:
        start = await running.on(StartScreen)
        await running.until(lambda: "[b]file 0␛.txt" in running.seen)
        assert_laid_out(start)
        await running.press("up")
        await running.until(lambda: "[b]file 19␛.txt" in running.seen)


def test_shown_path_puts_the_name_before_its_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert shown_path(Path("/home/me/notes/a.txt")) == "a.txt  ~/notes"
    assert shown_path(Path("/tmp/a.txt")) == "a.txt  /tmp"


def test_expected_distribution_sums_to_one() -> None:
    token = list(FakeEngine().score(b"abc", top_n=5))[2]
    shown = expected(token, vocabulary=258)
    assert shown.entropy == token.entropy is not None
    listed = sum(candidate.prob for candidate in shown.candidates)
    assert listed + shown.rest_prob == pytest.approx(1)


def test_rows_of_a_token_do_not_count_as_all_that_a_server_lists() -> None:
    token = list(FakeEngine().score(b"abc", top_n=5))[2]
    among = replace(token, entropy=EntropyRange(1.0, 2.0))
    assert "listed" not in str(summary_forms(expected(among, vocabulary=258)))
    beyond = replace(among, rank=RankAbove(500))
    assert "500 listed" in summary_forms(expected(beyond, vocabulary=900))[0]
