"""What training looks like: pictures that are compared with those kept.

After a change that is meant, look at the new ones and keep them:
`scripts/test tests/tui/finetune/test_pictures.py --snapshot-update`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lmtui.editing.text_file import TextFile
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.train.events import Doing, End, Event, Failed, Skip, Warned
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

SMALL = {"size": (80, 24)}
ADAPTERS = Path("/data/lmtui/adapters")
Round = tuple[Sequence[Event], str]
"""What the training tells, and the keys that are pressed then."""
FAILED = Failed(
    "the memory is full",
    "9.1 GB were needed, 7.6 GB are free",
    "Lower --block or --batch; what was saved is not lost.",
)


@pytest.fixture
def picture(snap_compare: Compare, home: Path) -> Callable[..., bool]:
    """Whether the training screen looks as it did, after these rounds."""

    def compare(
        *rounds: Round,
        size: tuple[int, int] = (120, 40),
        theme: str = "dark",
        until: str = "",
    ) -> bool:
        training = FakeTraining()
        app = LmtuiApp(
            lambda _: lambda _: FakeWriter(),
            AppOptions(
                sampling=SamplingSettings(seed=1),
                first="finetune",
                writing=Writing(TextFile(Path("/nowhere/walks.txt"), "")),
                finetuning=Finetuning(training, TrainingRun(), "walks", ADAPTERS),
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


PLANNED: Round = (tuple(before_it()), "enter")
"""Planned, and begun."""


def trained(upto: int, keys: str = "") -> Round:
    """So many steps; warnings come as notices, which go away with the time."""
    told = steps(upto)
    return [event for event in told if not isinstance(event, Warned)], keys


STATES: dict[str, tuple[Sequence[Round], str, dict[str, Any]]] = {
    "preparing": (
        [((Skip("maps/amper.png", "binary"), Doing("loading the model", 0.4)), "")],
        "40%",
        {},
    ),
    "plan": ([(PLANNED[0], "")], "Enter starts", {}),
    "plan-small": ([(PLANNED[0], "")], "Enter starts", SMALL),
    "running": ([PLANNED, trained(17)], "step 17 of 30", {}),
    "running-small": ([PLANNED, trained(17)], "step 17 of 30", SMALL),
    "running-light": ([PLANNED, trained(17)], "step 17 of 30", {"theme": "light"}),
    "log": ([PLANNED, trained(17, "tab")], "step 12: saved", SMALL),
    "asked-to-stop": ([PLANNED, trained(17, "q")], "Stop the training?", SMALL),
    "finished": ([PLANNED, trained(30), ((ended(),), "")], "✓ done", {}),
    "failed": (
        [PLANNED, trained(17), ((FAILED, End("failed", 17)), "")],
        "failed",
        SMALL,
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_state(picture: Compare, state: str) -> None:
    rounds, until, options = STATES[state]
    assert picture(*rounds, until=until, **options)


def test_no_colour(picture: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture(PLANNED, trained(17), until="step 17 of 30", **SMALL)
