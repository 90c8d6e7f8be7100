"""What the editor looks like: pictures that are compared with those kept.

After a change that is meant, look at the new ones and keep them:
`scripts/test tests/tui/editor/test_pictures.py --snapshot-update`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lmtui.editing.text_file import TextFile
from lmtui.engine.document.types import Correction, ProofreadPart
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import ScoredToken
from lmtui.notation import LN2
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.pickers import CorrectionsScreen
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.preferences import Preferences
from tests.fake_writing import FakeWriter
from tests.tui.editor.writer import ALL, NEVER
from tests.tui.pictures import Compare, Show, looks_as_kept
from tests.tui.programs import ROWS, Program

LETTER = """\
Dear Anna,

we came to Paris by the night train and slept badly. The morning was
grey, but the bread was warm and the coffee strong. We walked along the
river to the old bookshop, where the owner kept a parrot that could say
good morning in nine languages.

Tomorrow we want to see the museum, if it is not too crowded. As you
know, the capital of Fran
"""
CODE = '''\
"""Rain, counted in drops."""

from random import gauss

DROPS = 1_000  # a shower


def falls(size: float) -> bool:
    # Small ones stay in the cloud.
    return size > 0.5


def shower(drops: int = DROPS) -> int:
    """How many drops reach the ground."""
    return sum(falls(gauss(0.4, 0.2)) for _ in range(drops))


if __name__ == "__main__":
    print(f"{shower()} of {DROPS} drops")
'''
WIDE_TEXT = """\
今日はとても良い天気です。 ☀️
The family 👨‍👩‍👧 went to 東京 🗼 by train.
한국어도 잘 보여요。
"""
SURPRISES = {
    "Paris": 4.2, "night": 5.1, "slept": 7.4, "badly": 3.3, "grey": 6.5, "bread": 2.2,
    "coffee": 1.4, "strong": 4.8, "bookshop": 8.8, "parrot": 11.6, "nine": 10.3,
    "languages": 0.6, "museum": 5.7, "crowded": 1.2, "Fran": 2.6,
    "Rain": 9.1, "drops": 3.8, "gauss": 10.4, "1_000": 6.6, "shower": 12.2,
    "cloud": 4.1, "size": 1.9, "stay": 7.0, "reach": 2.4, "ground": 0.9, "falls": 5.2,
}  # fmt: skip
"""Bits of some words; of all others, next to none."""
SMALL = (80, 24)


class Reader(FakeWriter):
    """An engine with an opinion on words: all letters of a word surprise alike."""

    def _scores(
        self, ids: tuple[int, ...], prefix: tuple[int, ...], top: int
    ) -> Iterator[ScoredToken]:
        bits = [0.1] * len(ids)
        for word in re.finditer(r"\w+", bytes(ids).decode("latin-1")):
            size = len(word[0])
            bits[slice(*word.span())] = [SURPRISES.get(word[0], 0.2)] * size
        scores = super()._scores(ids, prefix, top)
        for token, surprisal in zip(scores, bits, strict=True):
            if token.logprob is not None:
                logprob, rank = -surprisal * LN2, round(2**surprisal)
                token = replace(token, logprob=logprob, rank=rank)
            yield token


@pytest.fixture
def picture(snap_compare: Compare, home: Path) -> Callable[..., bool]:
    """Whether the editor, once it was brought somewhere, looks as it did."""

    def compare(
        show: Show,
        *,
        text: str = LETTER,
        name: str = "letter.txt",
        before: str = "",
        engine: FakeWriter | None = None,
        size: tuple[int, int] = (120, 40),
        theme: str = "dark",
    ) -> bool:
        """The cursor stands behind `before`, which is in the text once; the file is on
        no disk."""
        assert not before or text.count(before) == 1
        model = engine or Reader()
        delay = 0.01 if model.answers else NEVER
        writing = Writing(
            TextFile(Path("/nowhere") / name, text),
            cursor=text.index(before) + len(before),
            rules=replace(ALL, delay=delay),
        )
        options = AppOptions(
            sampling=SamplingSettings(seed=1),
            list_models=lambda: ROWS,
            first="complete",
            writing=writing,
            preferences=Preferences(theme=theme),
        )
        app = LmtuiApp(lambda _: lambda _: model, options)
        return looks_as_kept(snap_compare, app, show, size=size)

    return compare


async def read(running: Program) -> EditorScreen:
    """Wait until the panel is the cursor's, all is scored, and the sums say so."""
    screen = running.app.installed("complete")
    assert isinstance(screen, EditorScreen)

    def is_read() -> bool:
        is_scored = not screen.editor.scored.stale()
        known = screen.predictions.prediction is not None and not screen.panel.stale
        is_here = known and not screen.predictions.is_asking
        return is_here and is_scored and screen.scores.is_shown

    await running.until(is_read)
    return screen


def ghost(text: str) -> Show:
    """Wait for this ghost, to its end."""

    async def show(running: Program) -> None:
        screen = await read(running)
        await running.until(lambda: screen.editor.ghost == text)
        await running.until(lambda: "\n ready" in running.seen)

    return show


async def hot(running: Program) -> None:
    """Everything shaded by its surprisal."""
    await read(running)
    await running.press("f3")
    await running.until(lambda: "heat: underlined" in running.seen)


# Ghosts.


MORE = (
    "ce is not where I would like to live for long, but for a week in spring there is"
    " no better place to walk about."
)


def test_ghost_over_rows(picture: Compare) -> None:
    assert picture(ghost(MORE), before="of Fran", engine=Reader([MORE]))


def test_ghost_of_several_lines(picture: Compare) -> None:
    more = "\n    if size > 2.0:\n        return True"
    engine = Reader([more])
    assert picture(
        ghost(more),
        text=CODE,
        name="rain.py",
        before="-> bool:",
        engine=engine,
    )


def test_ghost_in_wide_text(picture: Compare) -> None:
    more = " 明日も晴れるでしょう。👍🏽 See 🇯🇵"
    engine = Reader([more])
    assert picture(
        ghost(more), text=WIDE_TEXT, before="良い天気です。", engine=engine, size=SMALL
    )


# Heat.


@pytest.mark.parametrize("colours", [True, False], ids=["colours", "no-colours"])
def test_heat_over_a_program(
    picture: Compare, monkeypatch: pytest.MonkeyPatch, colours: bool
) -> None:
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    assert picture(hot, text=CODE, name="rain.py", before="def shower")


def test_ghost_in_heat(picture: Compare) -> None:
    async def show(running: Program) -> None:
        await ghost(" and the butter salty")(running)
        await hot(running)

    engine = Reader([" and the butter salty"])
    assert picture(show, before="bread was warm", engine=engine, theme="light")


# Less room.


def test_small(picture: Compare) -> None:
    engine = Reader([MORE])
    assert picture(ghost(MORE), before="of Fran", engine=engine, size=SMALL)


# A dialog.


def test_corrections(picture: Compare) -> None:
    spans = [(text, LETTER.index(text)) for text in ("Paris", "the coffee", "parrot")]
    found = [
        Correction(at, at + len(text), new, "similar word", gain)
        for (text, at), new, gain in zip(
            spans, ("paris", "", "博物館"), (12.6, 7.2, 99.0), strict=True
        )
    ]

    async def show(running: Program) -> None:
        await read(running)
        await running.press("alt+k")
        await running.on(CorrectionsScreen)
        await running.until(lambda: "3 corrections" in running.seen)

    engine = Reader(parts=[ProofreadPart(len(LETTER), tuple(found))])
    assert picture(show, engine=engine)
