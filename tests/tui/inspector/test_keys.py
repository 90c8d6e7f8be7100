"""Every key of the inspector in plain tmux at 80x24.

What a key does is read off the screen, as a person would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lmtui.tui.inspector.lens import LensPane, LensScreen
from lmtui.tui.inspector.overview import OverviewScreen
from lmtui.tui.inspector.pickers import AlternativesScreen, BranchesScreen
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.keys import all_bound
from lmtui.tui.widgets.token_cursor import TokenText
from tests.tui.tmux import Seen, Tmux, needs_tmux, server, without

KEYS = {
    "alternatives.close": "Escape",
    "branches.close": "Escape",
    "branches.delete": "d",
    "branches.export": "x",
    "branches.name": "r",
    "finder.ban": "M-x",
    "finder.close": "Escape",
    "finder.down": "Down",
    "finder.lower": "M-Left",
    "finder.raise": "M-Right",
    "finder.up": "Up",
    "inspect.alternatives": "Enter",
    "inspect.argmax": "a",
    "inspect.back": "u",
    "inspect.branch-after": "]",
    "inspect.branch-before": "[",
    "inspect.branches": "b",
    "inspect.close": "Escape",
    "inspect.find": "/",
    "inspect.find-anywhere": "C-f",
    "inspect.find-token": "f",
    "inspect.go-on": "g",
    "inspect.lens": "L",
    "inspect.overview": "o",
    "inspect.read-on": "r",
    "inspect.sample": "s",
    "lens.close": "Escape",
    "lens.column": "c",
    "lens.down": "Down",
    "lens.end": "End",
    "lens.home": "Home",
    "lens.left": "Left",
    "lens.page-back": "PPage",
    "lens.page-on": "NPage",
    "lens.right": "Right",
    "lens.take": "Enter",
    "lens.up": "Up",
    "overview.close": "Escape",
    "tokens.down": "Down",
    "tokens.end": "C-End",
    "tokens.home": "C-Home",
    "tokens.left": "Left",
    "tokens.line-end": "End",
    "tokens.line-start": "Home",
    "tokens.measure": "m",
    "tokens.next-surprise": "n",
    "tokens.page-down": "NPage",
    "tokens.page-up": "PPage",
    "tokens.previous-surprise": "N",
    "tokens.right": "Right",
    "tokens.select-down": "S-Down",
    "tokens.select-left": "S-Left",
    "tokens.select-right": "S-Right",
    "tokens.select-up": "S-Up",
    "tokens.spaces": "w",
    "tokens.up": "Up",
    "tokens.word-left": "C-Left",
    "tokens.word-right": "C-Right",
}
"""What each thing that can be done is pressed by, as tmux names keys."""

OWNERS = (
    AlternativesScreen,
    BranchesScreen,
    LensPane,
    LensScreen,
    OverviewScreen,
    TokenFinder,
    TokenText,
    *(kind for kind in InspectScreen.__mro__ if kind.__name__.endswith("Screen")),
)
TEXT = "the cat sat on the mat\n" + "and looked at the sea\n" * 29
COUNT = len(TEXT)


@pytest.fixture
def tmux(home: Path, tmp_path: Path) -> Iterator[Tmux]:
    """A text in the inspector."""
    file = tmp_path / "letter.txt"
    file.write_text(TEXT, encoding="utf-8")
    fields: dict[str, Any] = {"answers": [["X"], ["Y"], [" dog", " ran"], ["Z"]]}
    with server(home) as running:
        running.start("inspect", str(file), engine=fields)
        running.shows("ready · letter.txt", f"1/{COUNT} ")
        yield running


def press(tmux: Tmux, what: str, seen: str | Seen) -> str:
    """Do something by its key, and see that it is this that did it."""
    return tmux.press_for(KEYS[what], seen)


def at(position: int, count: int = COUNT) -> str:
    """Where the cursor is, as the screen says it."""
    return f" {position}/{count} "


@needs_tmux
def test_token_keys_walk_select_and_change_the_measure(tmux: Tmux) -> None:
    press(tmux, "tokens.right", at(2))
    press(tmux, "tokens.left", at(1))
    press(tmux, "tokens.word-right", at(5))
    press(tmux, "tokens.word-left", at(1))
    press(tmux, "tokens.down", at(24))
    press(tmux, "tokens.up", at(1))
    press(tmux, "tokens.page-down", lambda screen: at(1) not in screen)
    press(tmux, "tokens.page-up", at(1))
    press(tmux, "tokens.line-end", at(23))
    press(tmux, "tokens.line-start", at(1))
    press(tmux, "tokens.end", f"{COUNT} tokens")
    press(tmux, "tokens.home", at(1))
    press(tmux, "tokens.next-surprise", at(2))
    press(tmux, "tokens.next-surprise", at(3))
    press(tmux, "tokens.previous-surprise", at(2))
    press(tmux, "tokens.measure", "rank  1")
    press(tmux, "tokens.spaces", "the·cat")
    press(tmux, "tokens.select-right", at(3))
    press(tmux, "tokens.select-left", at(2))
    press(tmux, "tokens.select-down", at(25))
    press(tmux, "tokens.select-up", at(2))


@needs_tmux
def test_inspector_keys_find_words_and_tokens(tmux: Tmux) -> None:
    press(tmux, "inspect.find", "Find ")
    tmux.type("looked")
    tmux.shows(at(28))
    tmux.press("Escape")
    tmux.lacks("Find ")
    press(tmux, "inspect.find-anywhere", "Find ")
    tmux.press("Escape")
    tmux.lacks("Find ")
    tmux.shows("kept ")
    press(tmux, "inspect.find-token", "Find a token")
    tmux.type("e")
    tmux.shows("tokens have this")
    press(tmux, "finder.close", without("Find a token"))
    press(tmux, "inspect.find-token", "Find a token")
    tmux.shows("tokens have this")
    tmux.press(KEYS["finder.down"])
    tmux.press(KEYS["finder.up"])
    press(tmux, "finder.ban", "% b")
    press(tmux, "finder.raise", without("% b"))
    press(tmux, "finder.ban", "% b")
    press(tmux, "finder.lower", without("% b"))
    tmux.press("Enter")
    tmux.shows("branch 1 of 1")
    press(tmux, "inspect.overview", "Overview of letter.txt")
    press(tmux, "overview.close", without("Overview of"))


@needs_tmux
def test_branch_keys_write_name_export_and_leave_branches(
    tmux: Tmux, tmp_path: Path
) -> None:
    press(tmux, "tokens.end", "here the text ends")
    tmux.shows("kept ")
    press(tmux, "inspect.read-on", "All of the text is scored")
    press(tmux, "inspect.argmax", f"{COUNT + 1} tokens")
    press(tmux, "inspect.sample", f"{COUNT + 2} tokens")
    press(tmux, "inspect.back", f"{COUNT + 1} tokens")
    press(tmux, "inspect.go-on", "the model ended here")
    press(tmux, "inspect.branch-before", "the text itself")
    press(tmux, "inspect.branch-after", "branch 1 of 1")
    press(tmux, "inspect.alternatives", "What could stand here")
    press(tmux, "alternatives.close", without("What could stand here"))
    press(tmux, "inspect.branches", "Enter shows it")
    press(tmux, "branches.close", without("Enter shows it"))
    press(tmux, "inspect.branches", "Enter shows it")
    press(tmux, "branches.name", "a few words")
    tmux.type("the dog")
    tmux.press("Enter")
    tmux.shows("Enter shows it", "the dog")
    press(tmux, "branches.export", "Save as")
    tmux.press("C-u")
    tmux.type(f"{tmp_path}/branch.txt")
    tmux.press("Enter")
    tmux.shows("exported to")
    assert (tmp_path / "branch.txt").read_text().endswith("sea\nX dog ran")
    press(tmux, "inspect.branches", "Enter shows it")
    press(tmux, "branches.delete", "Delete this branch")
    tmux.press("Escape")
    tmux.lacks("Delete this branch")
    press(tmux, "inspect.close", "Leave the branches behind?")


@needs_tmux
def test_lens_keys_walk_tokens_and_layers(tmux: Tmux) -> None:
    press(tmux, "tokens.right", at(2))
    press(tmux, "tokens.right", at(3))
    press(tmux, "inspect.lens", "Logit lens of letter.txt")
    tmux.shows("layer 4 ·", "next “e”")
    press(tmux, "lens.right", "next “·”")
    press(tmux, "lens.left", "next “e”")
    press(tmux, "lens.down", "layer 3 ·")
    press(tmux, "lens.up", "layer 4 ·")
    press(tmux, "lens.page-on", "next “a”")
    press(tmux, "lens.page-back", "next “e”")
    press(tmux, "lens.column", "token 3: “e” · after “h”")
    press(tmux, "lens.column", "next “e”")
    press(tmux, "lens.end", "the end of the text")
    press(tmux, "lens.home", "A first token without context")
    press(tmux, "lens.close", at(3))
    press(tmux, "inspect.lens", "Logit lens of letter.txt")
    press(tmux, "lens.right", "next “·”")
    press(tmux, "lens.take", at(4))


def test_key_table_matches_the_bindings_of_the_inspector() -> None:
    there = {
        item.id: set(item.keys) for item in all_bound()
        if item.owner in OWNERS and not item.id.startswith("live.")
    }  # fmt: skip
    assert set(there) == set(KEYS)
    used = re.findall(
        r'(?:press\(tmux, |KEYS\[)"([\w.-]+)"', Path(__file__).read_text()
    )
    assert set(used) == set(KEYS)
