"""The chat in plain tmux at 80x24, and the shell after it: what only a terminal shows.

What a key does is read off the screen, as a person would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tests.tui.tmux import Tmux, needs_tmux, server

pytestmark = needs_tmux

Start = Callable[..., Tmux]


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts the chat over an engine with these fields; ready to be typed into."""
    with server(home) as tmux:

        def chat(*arguments: str, **engine: Any) -> Tmux:
            tmux.start("chat", *arguments, engine=engine)
            tmux.shows("ready")
            return tmux

        yield chat


def prompt_of(screen: str) -> list[str]:
    """The lines of the text field."""
    lines = [line for line in screen.splitlines() if line.startswith("│ ")]
    return [line.strip("│").strip() for line in lines]


def test_prompt_keys_write_send_recall_and_quit_to_a_clean_shell(start: Start) -> None:
    tmux = start(answers=["Paris", "Rome"])
    tmux.type("one")
    tmux.press("C-j")
    tmux.until(lambda screen: prompt_of(screen) == ["one", ""])
    tmux.type("two\\")
    tmux.press("Enter")
    tmux.type("three")
    tmux.until(lambda screen: prompt_of(screen) == ["one", "two", "three"])
    tmux.press("Enter")
    tmux.shows("You", "one", "three", " █ fake", "Paris")

    # A paste with newlines is not sent before Enter.
    tmux.paste("four\nfive")
    screen = tmux.until(lambda screen: prompt_of(screen) == ["four", "five"])
    assert screen.count(" █ fake") == 1
    tmux.press("Enter")
    tmux.shows(" █ Rome")

    tmux.type("draft")
    tmux.press("Up")
    tmux.until(lambda screen: prompt_of(screen) == ["four", "five"])
    tmux.press("Up", "Up")
    tmux.until(lambda screen: prompt_of(screen) == ["one", "two", "three"])
    tmux.press("Down", "Down", "Down")
    tmux.until(lambda screen: prompt_of(screen) == ["draft"])

    tmux.press("C-q")
    screen = tmux.shows("left with 0")
    assert "Paris" not in screen
    assert tmux.state("alternate_on") == "0"
    assert tmux.state("cursor_flag") == "1"
    assert tmux.state("mouse_any_flag") == "0"
    # The shell echoes what is typed and answers: the terminal's modes are restored.
    tmux.type("echo al''ive\n")
    tmux.shows("echo al''ive", "\nalive")


def test_help_palette_and_resizing_leave_the_chat_usable(start: Start) -> None:
    tmux = start()
    tmux.press("F1")
    tmux.shows("a backslash and then")
    tmux.press("F1")
    tmux.lacks("a backslash and then")
    tmux.press("C-p")
    tmux.shows("Search for commands")
    tmux.type("regenerate")
    tmux.shows("Another answer in place")
    tmux.press("Escape")
    tmux.lacks("🔎")

    tmux.run("resize-window", "-x", "120", "-y", "40")
    tmux.until(lambda screen: "ready" in "".join(screen.splitlines()[38:]))
    tmux.shows("flat ◄")
    tmux.run("resize-window", "-x", "60", "-y", "15")
    tmux.lacks("flat ◄")
    tmux.type("still here")
    tmux.until(lambda screen: prompt_of(screen) == ["still here"])


def test_ctrl_c_copies_the_selected_prompt(start: Start) -> None:
    tmux = start()
    tmux.run("set-option", "-s", "set-clipboard", "on")
    tmux.type("take this")
    tmux.shows("take this")
    before = tmux.run("capture-pane", "-p", "-e")
    tmux.press("F7")
    tmux.until(lambda _: tmux.run("capture-pane", "-p", "-e") != before)
    tmux.press("C-c")
    tmux.until(lambda _: "take this" in tmux.run("list-buffers"))
    assert tmux.run("show-buffer") == "take this"


def test_emoji_and_joiners_move_nothing_beside_them(start: Start) -> None:
    families = "👨‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ❤️ \u270c\ufe0f 1️⃣ 👩🏽‍🚀"
    text = f"{families} a\u200d 漢\u200d字 \u200b می\u200cشود"
    tmux = start(answers=[f"said {text} end"])
    tmux.paste(text + " typed")
    screen = tmux.shows("typed", "👨‿👩‿👧‿👦 👍▒ ⒹⒺⒻⓇ ❤˖")
    edges = [line for line in screen.splitlines() if line.startswith("│ ")]
    assert edges
    assert all(line.endswith(" │") and cell_len(line) == 80 for line in edges)
    assert tmux.state("cursor_x") == str(cell_len(edges[-1].rstrip("│").rstrip()))
    tmux.press("Enter")
    tmux.shows("said", " end")
    tmux.press("F3")
    tmux.shows("Token 1 ", "kept 1, 60.0% of mass", "log P −0.51", "end<end>")
    before = tmux.screen
    tmux.run("resize-window", "-x", "79")
    tmux.lacks("│" * 2)
    tmux.run("resize-window", "-x", "80")  # everything is drawn anew
    assert tmux.until(lambda screen: screen == before)


def test_ctrl_z_undoes_where_one_writes_and_suspends_elsewhere(start: Start) -> None:
    tmux = start(answers=["HELLO"])
    tmux.press("x")
    tmux.until(lambda screen: prompt_of(screen) == ["x"])
    tmux.press("C-z")  # there is something to undo
    tmux.shows("Write a message")
    tmux.press("C-z", "C-y", "Enter")  # the second does nothing
    tmux.shows("HELLO", "Write a message")
    tmux.press("F9")
    tmux.shows("see a language model think")
    tmux.press("C-z")
    tmux.shows("Stopped")
    tmux.type("fg\n")
    tmux.shows("see a language model think")
    tmux.type("c")
    tmux.shows("HELLO", "Write a message")
    tmux.press("C-p")
    tmux.shows("Search for commands")
    tmux.type("suspend")
    tmux.shows("Back to the shell")
    tmux.press("Enter")
    tmux.shows("Stopped")
    tmux.type("fg\n")
    tmux.shows("HELLO", "Write a message")
    tmux.type("more")
    tmux.until(lambda screen: prompt_of(screen) == ["more"])
