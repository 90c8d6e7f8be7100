"""What training looks like: pictures that are compared with those kept.

After a change that is meant, look at the new ones and keep them:
`scripts/test tests/tui/test_finetune_pictures.py --snapshot-update`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lmtui.editing.text_file import TextFile
from lmtui.engine.types import SamplingSettings
from lmtui.train.events import Doing, End, Event, Failed, Paused, Skip
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.editor.options import Writing
from lmtui.tui.finetune.run import Finetuning, TrainingRun
from lmtui.tui.finetune.screen import FinetuneScreen
from lmtui.tui.preferences import Preferences
from tests.fake_training import FakeTraining, before_it, ended, steps
from tests.fake_writing import FakeWriter
from tests.tui.pictures import Compare, looks_as_kept
from tests.tui.programs import Program

SMALL = (80, 24)
SIZES = [(120, 40), SMALL]
ADAPTERS = Path("/data/lmtui/adapters")
FAILED = Failed(
    "the memory is full",
    "9.1 GB were needed, 7.6 GB are free",
    "Lower --block or --batch; what was saved is not lost.",
)
REPORT = """\
# walks

**Better on your notes, slightly worse elsewhere.**

| | before | after |
|---|---:|---:|
| held-out loss, nats a token | 3.480 | 2.596 |
| held-out perplexity | 32.46 | 13.41 |
| neutral text, bits a byte | 0.981 | 0.989 |

## The same beginnings

> The Amper rises in

before: the mountains of the Alps and flows into
after: the Ammersee, leaves it at Stegen and reaches the Isar
"""


@pytest.fixture
def picture(snap_compare: Compare, home: Path) -> Callable[..., bool]:
    """Whether the training screen looks as it did, after these rounds of news, each
    with the keys that are pressed then."""

    def compare(
        *rounds: tuple[Sequence[Event], str],
        size: tuple[int, int] = (120, 40),
        theme: str = "dark",
        adapters: Path = ADAPTERS,
        until: str = "",
    ) -> bool:
        training = FakeTraining()
        app = LmtuiApp(
            lambda _: lambda _: FakeWriter(),
            AppOptions(
                sampling=SamplingSettings(seed=1),
                first="finetune",
                writing=Writing(TextFile(Path("/nowhere/walks.txt"), "")),
                finetuning=Finetuning(training, TrainingRun(), "walks", adapters),
                preferences=Preferences(theme=theme),
            ),
        )

        async def show(running: Program) -> None:
            await running.on(FinetuneScreen)
            for events, keys in rounds:
                await told(running, training, events)
                await running.press(*keys.split())
            await running.until(lambda: until in running.seen)

        return looks_as_kept(snap_compare, app, show, size=size)

    return compare


async def told(
    running: Program, training: FakeTraining, events: Sequence[Event]
) -> None:
    """Let the training tell these, and wait until they were drawn."""
    training.feed(*events)
    polls = training.polls
    await running.until(lambda: training.polls > polls + 1)


PLANNED = (tuple(before_it()), "enter")
"""Planned, and begun."""


def trained(upto: int, keys: str = "") -> tuple[Sequence[Event], str]:
    """So many steps; warnings come as notices, which go away with the time."""
    told = steps(upto)
    return [event for event in told if event.name != "warning"], keys


def test_preparing(picture: Compare) -> None:
    doing = (Skip("maps/amper.png", "binary"), Doing("loading the model", 0.4))
    assert picture((doing, ""), until="40%")


@pytest.mark.parametrize("size", SIZES)
def test_plan(picture: Compare, size: tuple[int, int]) -> None:
    assert picture((PLANNED[0], ""), size=size, until="Enter starts")


def test_before_the_first_step(picture: Compare) -> None:
    assert picture(PLANNED, trained(0), size=SMALL, until="before the first")


@pytest.mark.parametrize("size", SIZES)
def test_running(picture: Compare, size: tuple[int, int]) -> None:
    assert picture(PLANNED, trained(17), size=size, until="step 17 of 30")


@pytest.mark.parametrize("theme", ["light", "high-contrast", "colour-blind-safe"])
def test_theme(picture: Compare, theme: str) -> None:
    assert picture(PLANNED, trained(17), theme=theme, until="step 17 of 30")


@pytest.mark.parametrize("size", SIZES)
def test_no_colour(
    picture: Compare, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture(PLANNED, trained(17), size=size, until="step 17 of 30")


def test_plan_without_colour(picture: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture((PLANNED[0], ""), until="Enter starts")


def test_log(picture: Compare) -> None:
    news = trained(17, "tab")
    assert picture(PLANNED, news, size=SMALL, until="step 12: saved")


def test_paused(picture: Compare) -> None:
    news = (PLANNED, trained(17, "p"), ((Paused(True),), ""))
    assert picture(*news, until="‖ paused")


def test_asked_to_stop(picture: Compare) -> None:
    assert picture(PLANNED, trained(17, "q"), size=SMALL, until="Stop the training?")


def test_stopping(picture: Compare) -> None:
    news = (PLANNED, trained(17, "ctrl+c"))
    assert picture(*news, size=SMALL, until="q again leaves")


@pytest.mark.parametrize("size", SIZES)
def test_finished(picture: Compare, size: tuple[int, int]) -> None:
    news = (PLANNED, trained(30), ((ended(),), ""))
    assert picture(*news, size=size, until="✓ done")


def test_stopped(picture: Compare) -> None:
    news = (PLANNED, trained(18), ((End("stopped", 18),), ""))
    assert picture(*news, size=SMALL, until="is saved.")


@pytest.mark.parametrize("size", SIZES)
def test_failed(picture: Compare, size: tuple[int, int]) -> None:
    news = (PLANNED, trained(17), ((FAILED, End("failed", 17)), ""))
    assert picture(*news, size=size, until="failed")


def test_nothing_to_learn_from(picture: Compare) -> None:
    nothing = Failed("there is nothing to learn from", "walks", "Name other notes.")
    news = [Skip("maps/amper.png", "binary"), nothing, End("failed", 0)]
    assert picture((news, ""), until="not started")


def test_report(
    picture: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "walks").mkdir()
    (tmp_path / "walks" / "report.md").write_text(REPORT)
    monkeypatch.chdir(tmp_path)
    news = (PLANNED, trained(30), ((ended(),), "r"))
    assert picture(*news, adapters=Path(), until="The same beginnings")
