"""The whole course, walked in plain tmux at 80x24 on the real default model.

Whoever walks does only what the printed words say, and nothing before they stand on the
screen.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lmtui import paths
from lmtui.models.download import default_model
from tests.tui.tmux import Tmux, needs_tmux, server

pytestmark = [needs_tmux, pytest.mark.real, pytest.mark.timeout(600)]

CLEAR = "C-u"
"""Key that empties the field."""
PATIENCE = 90
"""Seconds for one exercise, on a machine that does other things as well."""
SHORT = """\
from lmtui.learn.instruments.scratch import ScratchInstrument
ScratchInstrument.OPTIONS["seconds"] = 2.0
"""
"""Makes the training of page 9 one of two seconds."""

Steps = Sequence[tuple[str, Sequence[str]]]
"""The words of an exercise, and what they say to do: keys by tmux's names, and texts
after a `=`."""

PAGES: Sequence[Steps] = (
    (
        ("Write one more word in the field", ["= mat"]),
        (
            "Make “banana” the last word and press Enter",
            [CLEAR, "=The cat sat on the banana", "Enter"],
        ),
        (
            "Find a text with one token above 90%",
            [CLEAR, "=To be or not to"],
        ),
    ),
    (
        ("Type the word that you expect next and press Enter", ["=time", "Enter"]),
        (
            "Play five words, with at least one guess at each",
            ["=there", "Enter", "=was", "Enter", "=a", "Enter", "=poor", "Enter"],
        ),
    ),
    (
        (
            "Write a sentence of your own in the field and press Enter",
            [CLEAR, "=I drink my coffee with milk.", "Enter"],
        ),
        (
            "Change a word of it and press Enter",
            [CLEAR, "=I drink my coffee with mud.", "Enter"],
        ),
        ("Press F2 to swap two neighbouring words", ["F2"]),
    ),
    (
        (
            "Change a word in the middle of the text and press Enter",
            [CLEAR, "=The sun rises in the north and sets in the west.", "Enter"],
        ),
        ("Press F2: now as many tokens are generated", ["F2"]),
    ),
    (
        (
            "Press ↑ or ↓ until T is below 0.5, then until it is above 2",
            [*["Down"] * 12, *["Up"] * 24],
        ),
        ("Press F2: 1,000 tokens are drawn", ["F2"]),
        ("Draw at least 3,000 at one T", ["F2", "F2", "F2"]),
    ),
    (
        ("Change the text in the field", ["= Indeed."]),
        ("Press F2 for two texts", ["F2", "F3"]),
        (
            "Enter a text with a perplexity below 10: count in digits",
            [CLEAR, "=1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", "Enter"],
        ),
        (
            "Enter five words or more that no one would write",
            [CLEAR, "=purple gravity eats seven quiet trumpets", "Enter"],
        ),
    ),
    (
        ("Press ↑ or ↓ and look at all five models", ["Up"] * 2 + ["Down"] * 4),
        (
            "Write other words, of which the last two",
            [CLEAR, "=It was in the", "Enter"],
        ),
    ),
    (
        (
            "Write a beginning of your own and press Enter",
            [CLEAR, "=The king said that", "Enter"],
        ),
        ("Press F2 for another sample", ["F2"]),
        ("Press F3: greedy decoding goes on", ["F3"]),
        ("Press ↑ or ↓ until top-p cuts tokens", ["Down"] * 12),
    ),
    (
        ("Press F2 and watch for a minute", ["F2"]),
        ("Press ↑ or ↓ until you see step 0 again", ["Down"] * 9),
    ),
    (
        (
            "Write a text of your own, one with a clear next word, and press Enter",
            [CLEAR, "=Two plus two equals", "Enter"],
        ),
        ("Press ↑ or ↓ to look at another token", ["Down"]),
    ),
    (
        ("Which word does most for “mat”? Press ↑ or ↓ to mark", ["Down", "F2"]),
        (
            "Put it back by F2. Then leave out, alone, a word",
            ["F2", "Down", "Down", "F2"],
        ),
        (
            "Put that back. Leave out one “cat”, then the other one",
            ["F2", "Up", "Up", "F2", *["Down"] * 4, "F2"],
        ),
        (
            "Write a text of your own that ends in a clear word, and press Enter",
            [CLEAR, "=Two plus two equals four", "Enter"],
        ),
    ),
)


def words_of(screen: str) -> str:
    """What is printed, without regard to where lines end."""
    return " ".join(screen.split())


def obey(tmux: Tmux, keys: Sequence[str]) -> None:
    """Press keys, and type what stands after a `=`."""
    for key in keys:
        if key.startswith("="):
            tmux.type(key[1:])
        else:
            tmux.press(key)
            settled(tmux)


def settled(tmux: Tmux) -> None:
    """Wait until the model is not at work, as the last line says."""
    busy = "computing", "counting", "looking into", "leaving out", "loading", "guessing"
    tmux.until(
        lambda screen: not any(word in screen.splitlines()[-1] for word in busy),
        PATIENCE,
    )


@pytest.fixture
def tmux(
    home: Path, default_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tmux]:
    """A terminal whose programs have the default model, and a state of their own."""
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    model, cache = default_model.default_file(), paths.cache_folder()
    monkeypatch.setenv("LMTUI_HOME", str(home))
    default_model.default_file().parent.mkdir(parents=True)
    default_model.default_file().symlink_to(model)
    if cache.exists():
        shutil.copytree(cache, paths.cache_folder(), symlinks=True)
    with server(home) as terminal:
        yield terminal


def test_printed_words_complete_every_page(tmux: Tmux) -> None:
    assert len(PAGES) == 11
    tmux.start("learn", real=True, first=SHORT)
    for number, steps in enumerate(PAGES, 1):
        tmux.until(lambda screen, n=number: f" {n} of 11 " in screen, PATIENCE)
        for words, keys in steps:
            # On a page that is done, all exercises may stand in its text, ticked.
            words = f"☐ {words}"
            tmux.until(lambda screen, w=words: w in words_of(screen), PATIENCE)
            settled(tmux)
            obey(tmux, keys)
            tmux.until(lambda screen, w=words: w not in words_of(screen), PATIENCE)
        tmux.until(lambda screen: "This page is done." in screen, PATIENCE)
        tmux.press("F8")
    tmux.shows("☑" * 11)
    tmux.press("C-q")
    tmux.shows("left with 0")
