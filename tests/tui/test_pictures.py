"""What the screens look like: pictures that are compared with those kept.

After a change that is meant, look at the new ones and keep them:
`scripts/test tests/tui/test_pictures.py --snapshot-update`. Those of the editor are
in `test_editor_pictures`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event

import pytest

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.preferences import Preferences
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.worker.throttle import INTERVAL
from tests.fakes import FakeEngine
from tests.tui.pictures import Compare, Show, looks_as_kept
from tests.tui.programs import ROWS, Program

QUESTION = "What is rain?"
ANSWER = """\
**Rain** is water that falls from clouds:

- it begins as vapour,
- it *condenses* around dust,
- and it falls once a drop is heavy enough.

```python
def falls(drop: float) -> bool:
    return drop > 0.5  # millimetres
```

Most of it never reaches the ground you stand on.
"""
ENDED = "100.0 tok"


def app_of(load: Callable[[], FakeEngine], *, first: str, theme: str) -> LmtuiApp:
    """The program over what this loads."""
    return LmtuiApp(
        lambda _: lambda _: load(),
        AppOptions(
            sampling=SamplingSettings(seed=1, max_tokens=200),
            list_models=lambda: ROWS,
            recent_files=tuple,
            first=first,  # type: ignore[arg-type]
            preferences=Preferences(theme=theme),
        ),
    )


@pytest.fixture
def picture(snap_compare: Compare) -> Callable[..., bool]:
    """Whether the program, once it was brought somewhere, looks as it did."""

    def compare(
        show: Show,
        *,
        load: Callable[[], FakeEngine] = lambda: FakeEngine([ANSWER]),
        size: tuple[int, int] = (120, 40),
        first: str = "chat",
        theme: str = "dark",
    ) -> bool:
        app = app_of(load, first=first, theme=theme)
        return looks_as_kept(snap_compare, app, show, size=size)

    return compare


async def opened(running: Program) -> None:
    """The chat with its model, and a clock that stands."""
    await running.until(lambda: running.app.screen.query(LikelihoodStrip))
    running.app.screen.query_one(LikelihoodStrip).clock = lambda: 0.0
    await running.until(lambda: "kept " in running.seen)


async def answered(running: Program) -> None:
    """One answer, to its end."""
    await opened(running)
    await running.ask(QUESTION)
    await running.until(lambda: ENDED in running.seen)


class Held:
    """An answer that has come as far as a word, and is shown as far."""

    def __init__(self, word: str) -> None:
        before, _, _ = ANSWER.partition(word)
        self._last = len(before.split())
        self._word = word
        self._before, self.on = Event(), Event()
        self.engine = FakeEngine([ANSWER], on_token=self._hold)

    def _hold(self, index: int) -> None:
        if self.engine.calls[-1][0] == "generate":
            gates = {self._last: self._before, self._last + 1: self.on}
            assert index not in gates or gates[index].wait(20)

    async def shown(self, running: Program) -> None:
        """Ask, and wait for that word."""
        await opened(running)
        await running.ask(QUESTION)
        # What comes after a while without news is shown at once, with all before it.
        await running.until(lambda: "Esc stops" in running.seen)
        await running.pilot.pause(2 * INTERVAL)
        self._before.set()
        await running.until(lambda: self._word in running.seen)


def test_start(picture: Compare) -> None:
    async def show(running: Program) -> None:
        await running.ready()

    assert picture(show, first="start")


def test_empty(picture: Compare) -> None:
    assert picture(opened)


def test_draft(picture: Compare) -> None:
    async def show(running: Program) -> None:
        await opened(running)
        await running.pilot.press(*"the cat sat")
        await running.until(lambda: "mean –" not in running.seen)

    assert picture(show)


def test_loading(picture: Compare) -> None:
    go_on = Event()

    def load() -> FakeEngine:
        assert go_on.wait(20)
        return FakeEngine()

    async def show(running: Program) -> None:
        await running.until(lambda: "loading" in running.seen)

    assert picture(show, load=load)
    go_on.set()


def test_streaming(picture: Compare) -> None:
    answer = Held("enough")

    async def show(running: Program) -> None:
        await answer.shown(running)

    assert picture(show, load=lambda: answer.engine)
    answer.on.set()


def test_answered(picture: Compare) -> None:
    assert picture(answered)


def test_tokens(picture: Compare) -> None:
    async def show(running: Program) -> None:
        await answered(running)
        await running.pilot.press("f3")
        await running.until(lambda: "Token 1" in running.seen)
        await running.pilot.press("right", "right", "right")
        await running.until(lambda: "Token 4" in running.seen)

    assert picture(show)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_sampler(picture: Compare, size: tuple[int, int]) -> None:
    async def show(running: Program) -> None:
        await opened(running)
        await running.pilot.press("f4", *["right"] * 30)
        await running.until(lambda: "‹ T " in running.seen)

    assert picture(show, size=size)


def test_small_and_light(picture: Compare) -> None:
    assert picture(answered, size=(80, 24), theme="light")


def test_error(picture: Compare) -> None:
    def refuse() -> FakeEngine:
        raise LmtuiError(
            "no such model: pomelo",
            "neither a folder, a file nor a name in the catalogue",
            "Look at what there is: lmtui models list.",
        )

    async def show(running: Program) -> None:
        await running.until(lambda: "Close" in running.seen)

    assert picture(show, load=refuse)


def test_models(picture: Compare) -> None:
    async def show(running: Program) -> None:
        await opened(running)
        await running.pilot.press("f5")
        await running.until(lambda: "135M" in running.seen)

    assert picture(show)


def test_help(picture: Compare) -> None:
    async def show(running: Program) -> None:
        await opened(running)
        await running.pilot.press("f1")
        await running.until(lambda: "backslash" in running.seen)

    assert picture(show, size=(80, 24))


def inspected(
    snap_compare: Compare, show: Show, size: tuple[int, int], *, against: bool = False
) -> bool:
    """Whether the inspector, once it was brought somewhere, looks as it did."""
    engine = FakeEngine([" and the dog ran"], name="default")
    other = FakeEngine(name="other", seed=5)
    app = LmtuiApp(
        lambda wanted: lambda _: (engine, other) if against else engine,
        AppOptions(
            sampling=SamplingSettings(temperature=0, max_tokens=5),
            first="inspect",
            source=InspectSource("letter.txt", read=lambda: LETTER),
        ),
    )
    return looks_as_kept(snap_compare, app, show, size=size)


async def looked_into(running: Program) -> None:
    """The inspector, its cursor on a token that was looked at."""
    await running.until(lambda: isinstance(running.app.screen, InspectScreen))
    await running.until(lambda: "⌷" in running.seen)
    await running.pilot.press(*["right"] * 9, "shift+right", "shift+right")
    await running.until(lambda: "kept " in running.seen and "selec" in running.seen)


LETTER = """\
Dear Anna, we came to Paris by the night train.
The morning was grey, naïve 日本 🙂 [b]but[/b] bright.
"""
SIZES = [(120, 40), (80, 24)]


@pytest.mark.parametrize("size", SIZES)
def test_lens(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def show(running: Program) -> None:
        await running.until(lambda: isinstance(running.app.screen, InspectScreen))
        await running.until(lambda: "⌷" in running.seen)
        await running.pilot.press(*["right"] * 9, "L")
        await running.until(lambda: "layer" in running.seen)
        await running.until(
            lambda: "…" not in running.seen and "Arrows" in running.seen
        )
        await running.pilot.press("down")
        await running.until(lambda: running.app.screen.query("#cell"))

    assert inspected(snap_compare, show, size)


@pytest.mark.parametrize("size", SIZES)
def test_inspector(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def show(running: Program) -> None:
        await (looked_into if size[1] > 24 else small)(running)

    async def small(running: Program) -> None:
        await running.until(lambda: "⌷" in running.seen)
        await running.pilot.press("end", "g")
        await running.until(lambda: "branch 1 of 1" in running.seen)
        await running.pilot.press("enter")
        await running.until(lambda: "Enter continues" in running.seen)

    assert inspected(snap_compare, show, size)


def test_inspector_comparing(snap_compare: Compare) -> None:
    async def show(running: Program) -> None:
        await running.until(lambda: "compared with" in running.seen)
        await running.pilot.press(*["right"] * 3)
        await running.until(lambda: "token 4" in running.seen)
        await running.until(lambda: "kept " in running.seen)

    assert inspected(snap_compare, show, (80, 24), against=True)


def test_inspector_overview(snap_compare: Compare) -> None:
    async def show(running: Program) -> None:
        await running.until(lambda: "ready · letter" in running.seen)
        await running.pilot.press("o")
        await running.until(lambda: "Most surprising" in running.seen)

    assert inspected(snap_compare, show, (120, 40))


VERSIONS = (
    "The sea is **deep**, and so is the harbour of Genoa.",
    "1. Genoa\n2. Lisbon\n3. Marseille",
    "It rains.",
    "Three ports, one after the other: Genoa first, then Lisbon, and in the end "
    "Marseille, where the boats of the fishermen lie.",
)


def test_versions(picture: Compare) -> None:
    async def show(running: Program) -> None:
        await opened(running)
        warm = replace(running.chat.sampler.settings, temperature=1.0)
        running.chat.sampler.use(warm)
        await running.ask("/n 4 Name three ports.")
        await running.until(lambda: "Enter takes" in running.seen)
        await running.press("right")

    answers = [[f"{word} " for word in text.split(" ")] for text in VERSIONS]
    assert picture(show, load=lambda: FakeEngine(answers), size=(80, 24))
