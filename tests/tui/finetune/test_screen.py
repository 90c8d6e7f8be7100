"""The training screen over a scripted training: what keys do, what events say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmtui.editing.text_file import TextFile
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.train.events import (
    Doing,
    End,
    Event,
    Failed,
    Paused,
    Piece,
    Saved,
    Skip,
    Warned,
)
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.dialogs import ConfirmDialog, PageScreen
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.finetune import screen as screen_module
from lmtui.tui.finetune.run import Finetuning, TrainingRun
from lmtui.tui.finetune.screen import EVERY, FinetuneScreen
from lmtui.tui.help import HelpScreen
from lmtui.tui.start import StartScreen
from lmtui.tui.widgets.paragraphs import Pane
from tests.fake_training import (
    PLAN,
    FakeTraining,
    before_it,
    ended,
    scored,
    steps,
)
from tests.fake_writing import FakeWriter
from tests.tui.hosts import HOSTILE, safe
from tests.tui.programs import Program, assert_laid_out, program

RESUME = "lmtui finetune --resume --name walks"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen_module, "EVERY", 0.02)
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path / "home"))


class Watched:
    def __init__(
        self, running: Program, training: FakeTraining, opened: list[str]
    ) -> None:
        self.running, self.training, self.opened = running, training, opened
        self.press, self.until, self.on = running.press, running.until, running.on

    @property
    def screen(self) -> FinetuneScreen:
        screen = self.running.app.installed("finetune")
        assert isinstance(screen, FinetuneScreen)
        return screen

    @property
    def seen(self) -> str:
        return self.running.seen

    @property
    def left(self) -> bool:
        return self.running.app._exit

    async def tell(self, *events: Event) -> None:
        """Let the training tell these, and wait until it is seen."""
        self.training.feed(*events)
        polls = self.training.polls
        await self.until(lambda: self.training.polls > polls + 1 or self.left)
        await self.running.pilot.pause()

    async def planned(self) -> None:
        await self.tell(*before_it())

    async def trained(self, *, upto: int = 12) -> None:
        """Plan, start, and so many steps."""
        await self.planned()
        await self.press("enter")
        await self.tell(*steps(upto))

    async def done(self) -> None:
        await self.trained(upto=30)
        await self.tell(ended())


@asynccontextmanager
async def watching(
    *,
    earlier: Sequence[Event] = (),
    size: tuple[int, int] = (120, 40),
    adapters: Path = Path("/data/adapters"),
    **options: Any,
) -> AsyncIterator[Watched]:
    training, opened = FakeTraining(), list[str]()
    finetuning = Finetuning(training, TrainingRun(earlier), "walks", adapters)

    def open_model(name: str) -> Any:
        opened.append(name)
        return lambda _: FakeWriter(name=name)

    async with program(
        open_model=open_model,
        first="finetune",
        size=size,
        finetuning=finetuning,
        **options,
    ) as running:
        await running.on(FinetuneScreen)
        yield Watched(running, training, opened)


def writing() -> Writing:
    return Writing(
        TextFile(Path("/nowhere/walks.txt"), ""),
        rules=SuggestionRules(delay=3600.0),
    )


# The plan.


async def test_training_begins_only_when_enter_is_pressed() -> None:
    async with watching() as watched:
        assert "Nothing is trained before you press Enter." in " ".join(
            watched.seen.split()
        )
        await watched.tell(Doing("loading the model", 0.25))
        assert "loading the model" in watched.seen and "25%" in watched.seen
        await watched.press("enter", "p")
        await watched.planned()
        for words in ("30 steps at most", "maps/amper.png: binary", "Enter starts"):
            assert words in watched.seen
        assert watched.training.asked == []
        await watched.press("enter")
        assert watched.training.asked == ["go"]
        await watched.press("enter")
        assert watched.training.asked == ["go"]


async def test_every_skipped_file_can_be_scrolled_to() -> None:
    skips = [Skip(f"photo {number}.jpg", "binary") for number in range(3000)]
    async with watching(size=(80, 24)) as watched:
        await watched.tell(*before_it(skipped=skips))
        assert "Left out: 3,000" in watched.seen
        await watched.press("tab")
        assert "photo 5.jpg: binary" in watched.seen
        await watched.press("end")
        await watched.until(lambda: "photo 2999.jpg: binary" in watched.seen)


@pytest.mark.parametrize("key", ["escape", "ctrl+q", "ctrl+c"])
async def test_plan_is_left_without_a_question(key: str) -> None:
    async with watching() as watched:
        await watched.planned()
        await watched.press(key)
        assert watched.left and watched.training.asked == ["stop"]


# The run.


async def test_run_is_drawn_with_its_samples_and_the_end_of_its_log() -> None:
    async with watching() as watched:
        await watched.trained(upto=17)
        for words in (
            "step 17 of 30 · epoch 1.70 of 3 · 2 min left",
            "Samples after step 15",
            "step 15: held-out loss 2.626, the best",
            "2.626",
        ):
            assert words in watched.seen, words
        log = watched.screen.query_one("#log", Pane)
        assert log.scroll_offset.y == log.max_scroll_y > 0
        await watched.tell(Doing("scoring the held-out documents", 0.5))
        assert "scoring the held-out documents 50%" in watched.seen


async def test_hostile_text_is_only_drawn() -> None:
    text = "".join(part for part in HOSTILE.values() if len(part) < 100)
    async with watching() as watched:
        plan = replace(PLAN, base=text, sample=(Piece(text, False),))
        await watched.tell(Doing(text), *before_it(plan, [Skip(text, text)]))
        assert safe(watched.seen)
        await watched.press("enter")
        await watched.tell(*steps(3, plan=plan), Warned(text))
        await watched.tell(Failed(text, text, text), End("failed", 3))
        assert safe(watched.seen)


async def test_events_of_one_poll_are_drawn_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[int] = []
    draw = FinetuneScreen._draw_run

    def draw_run(screen: FinetuneScreen) -> None:
        drawn.append(len(screen.run.curve))
        draw(screen)

    monkeypatch.setattr(FinetuneScreen, "_draw_run", draw_run)
    many = replace(PLAN, steps=5000)
    assert EVERY >= 1 / 12
    async with watching() as watched:
        await watched.planned()
        await watched.press("enter")
        drawn.clear()
        await watched.tell(*steps(5000, plan=many, every=500))
        assert drawn == [5000]
        assert "step 5,000 of 5,000" in watched.seen


async def test_p_pauses_and_resumes_the_training() -> None:
    async with watching() as watched:
        await watched.trained()
        await watched.press("p")
        assert watched.training.asked == ["go", "pause"]
        assert "pausing before the next step" in watched.seen
        await watched.tell(Paused(True))
        assert "‖ paused" in watched.seen and "p goes on" in watched.seen
        await watched.press("p")
        assert watched.training.asked == ["go", "pause", "resume"]
        await watched.tell(Paused(False))
        assert "‖ paused" not in watched.seen


async def test_tab_moves_the_focus_and_enlarges_the_focused_pane() -> None:
    async with watching(size=(80, 24)) as watched:
        await watched.trained(upto=17)
        samples, log = (watched.screen.query_one(f"#{name}") for name in
                        ("samples", "log"))  # fmt: skip
        assert samples.has_focus and samples.size.height > log.size.height
        await watched.press("tab")
        await watched.until(lambda: log.size.height > samples.size.height)
        await watched.until(lambda: "step 12: saved" in watched.seen)
        assert log.has_focus
        await watched.press("tab")
        await watched.until(lambda: samples.size.height > log.size.height)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_every_phase_is_laid_out_in_every_size(size: tuple[int, int]) -> None:
    async with watching(size=size) as watched:
        assert_laid_out(watched.screen)
        await watched.planned()
        assert_laid_out(watched.screen)
        assert "Enter starts" in watched.seen
        await watched.press("enter")
        await watched.tell(*steps(17))
        assert_laid_out(watched.screen)
        assert "bits/byte" in watched.seen or "bits/B" in watched.seen
        await watched.tell(*scored(30), ended())
        assert_laid_out(watched.screen)
        assert "chat with it" in watched.seen and "report" in watched.seen


# Stopping.


async def test_q_asks_before_it_stops_the_training() -> None:
    async with watching() as watched:
        await watched.trained()
        for key in ("q", "ctrl+q"):
            await watched.press(key)
            await watched.on(ConfirmDialog)
            await watched.until(lambda: RESUME in watched.seen)
            assert "nothing is lost" in watched.seen
            await watched.press("escape")
            await watched.on(FinetuneScreen)
        assert watched.training.asked == ["go"] and not watched.left


async def stop(watched: Watched) -> None:
    await watched.press("q")
    await watched.on(ConfirmDialog)
    await watched.press("s")
    await watched.until(lambda: "stop" in watched.training.asked)


async def test_a_stop_waits_until_all_is_saved() -> None:
    async with watching() as watched:
        await watched.trained()
        await stop(watched)
        assert "finishing the step and saving" in watched.seen
        assert "q again leaves at once" in watched.seen
        await watched.tell(Saved(13))
        assert not watched.left
        await watched.tell(End("stopped", 13))
        assert watched.left
        assert watched.training.asked == ["go", "stop"]
        assert watched.screen.run.end == End("stopped", 13)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_second_stop_leaves_at_once(key: str) -> None:
    async with watching() as watched:
        await watched.trained()
        await stop(watched)
        await watched.press(key)
        assert watched.left and watched.training.asked == ["go", "stop", "stop"]


async def test_control_c_stops_without_a_question() -> None:
    async with watching() as watched:
        await watched.trained()
        await watched.press("ctrl+c")
        assert watched.training.asked == ["go", "stop"] and not watched.left
        await watched.tell(End("stopped", 13))
        assert watched.left


async def test_control_c_copies_a_selection_instead_of_stopping() -> None:
    async with watching() as watched:
        await watched.trained(upto=17)
        samples = watched.screen.query_one("#samples Paragraphs")
        await watched.running.pilot.mouse_down(samples, offset=(4, 0))
        await watched.running.pilot.hover(samples, offset=(12, 0))
        await watched.running.pilot.mouse_up(samples, offset=(12, 0))
        await watched.press("ctrl+c")
        assert watched.running.app.clipboard == "Amper ris"
        assert watched.training.asked == ["go"]


async def test_stop_question_closes_when_the_training_ends() -> None:
    async with watching() as watched:
        await watched.trained(upto=30)
        await watched.press("q")
        await watched.on(ConfirmDialog)
        await watched.tell(ended())
        await watched.on(FinetuneScreen)
        assert "Better on your notes" in watched.seen
        assert watched.training.asked == ["go"] and not watched.left


# What came of it.


async def test_c_opens_the_chat_with_the_trained_adapter() -> None:
    async with watching() as watched:
        await watched.trained()
        await watched.press("c", "e", "r", "f5", "f9")
        await watched.on(FinetuneScreen)
        await watched.tell(ended())
        assert watched.opened == []  # no model beside the training
        await watched.press("c")
        await watched.on(ChatScreen)
        await watched.until(lambda: watched.opened == ["default + walks"])
        # From now on everything is there, the training too.
        await watched.press("f9")
        await watched.on(StartScreen)
        assert "Back to the training" in watched.seen
        await watched.press("f")
        await watched.on(FinetuneScreen)
        assert "Better on your notes" in watched.seen


@pytest.mark.parametrize(
    "events",
    [
        (Saved(12), End("stopped", 12)),
        (Failed("no memory", "9 GB", "Lower --block."), End("failed", 12)),
    ],
)
async def test_unfinished_training_has_no_keys_for_an_adapter(
    events: Sequence[Event],
) -> None:
    async with watching() as watched:
        await watched.trained()
        await watched.tell(*events)
        assert RESUME in watched.seen
        await watched.press("c", "e", "r")
        await watched.on(FinetuneScreen)
        assert watched.opened == [] and not watched.left
        await watched.press("q")
        assert watched.left and watched.training.asked == ["go"]


async def test_failure_keeps_the_screen_open_after_a_stop() -> None:
    async with watching() as watched:
        await watched.trained()
        await stop(watched)
        await watched.tell(Failed("no memory", "", "Lower it."), End("failed", 12))
        assert "✗ no memory" in watched.seen and not watched.left


async def test_e_opens_the_editor_with_the_trained_adapter() -> None:
    async with watching(writing=writing()) as watched:
        await watched.done()
        assert "e write with it" in watched.seen
        await watched.press("e")
        await watched.on(EditorScreen)
        await watched.until(lambda: watched.opened == ["default + walks"])
        await watched.press(*"On")
        assert watched.running.app.screen.query_one("#editor").text == "On"  # type: ignore[attr-defined]


async def test_r_opens_the_report_or_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "walks").mkdir()
    report = tmp_path / "walks" / "report.md"
    report.write_text(
        "# Walks\n\n| | before | after |\n|-|-|-|\n| loss | 3.480 | 2.6 |\n"
    )
    async with watching(adapters=tmp_path) as watched:
        await watched.done()
        await watched.press("r")
        await watched.on(PageScreen)
        await watched.until(lambda: "3.480" in watched.seen and "Walks" in watched.seen)
        await watched.press("escape")
        await watched.on(FinetuneScreen)
        report.unlink()
        await watched.press("r")
        await watched.until(lambda: "The report can't be read: No such" in watched.seen)


async def test_help_explains_the_training_screen() -> None:
    async with watching() as watched:
        await watched.trained()
        await watched.press("f1")
        await watched.on(HelpScreen)
        for words in ("Loss chart", "held-out documents", "Pause before the next step"):
            assert words in watched.seen
        await watched.tell(ended())  # it goes on meanwhile
        await watched.press("escape")
        await watched.on(FinetuneScreen)
        assert "✓ done" in watched.seen
        await watched.until(lambda: watched.screen._timer._task is None)  # of polls
