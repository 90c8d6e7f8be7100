"""Every key of the chat's screen in plain tmux at 80x24, and the shell after it.

The program runs with a scripted engine in a tmux server of the test's own. What a key
does is read off the screen, as a person would.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import REPOSITORY, command

TMUX = shutil.which("tmux")
pytestmark = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")

ENDLESS = "la " * 20_000
"""An answer that no test waits for."""


class Tmux:
    """A server of its own with one window, in which a shell runs."""

    def __init__(self, socket: Path) -> None:
        self._server = [TMUX or "tmux", "-S", str(socket), "-f", os.devnull]
        self.run("new-session", "-d", "-x", "80", "-y", "24", "env PS1='$ ' sh")

    def run(self, *arguments: str) -> str:
        """A command of tmux; what it prints."""
        return subprocess.run(
            [*self._server, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=REPOSITORY,
            timeout=20,
        ).stdout

    def close(self) -> None:
        """End the server and what runs in it."""
        self.run("kill-server")

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names."""
        self.run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type letters."""
        self.run("send-keys", "-l", text)

    def paste(self, text: str) -> None:
        """Paste, in brackets where the program asked for them."""
        self.run("set-buffer", text)
        self.run("paste-buffer", "-p")

    @property
    def screen(self) -> str:
        """What stands on the screen."""
        return self.run("capture-pane", "-p")

    def state(self, name: str) -> str:
        """One of tmux's variables of the window."""
        return self.run("display-message", "-p", f"#{{{name}}}").strip()

    def until(self, seen: Callable[[str], object]) -> str:
        """Look until it is seen; the screen then."""
        deadline = time.monotonic() + 20
        while not seen(screen := self.screen):
            assert time.monotonic() < deadline, f"waited in vain:\n{screen}"
            time.sleep(0.02)
        return screen

    def shows(self, *words: str) -> str:
        """Wait until all of these stand on the screen."""
        return self.until(lambda screen: all(word in screen for word in words))

    def lacks(self, word: str) -> str:
        """Wait until this does not stand on the screen."""
        return self.until(lambda screen: word not in screen)


Start = Callable[..., Tmux]


@pytest.fixture
def start(tmp_path: Path, home: Path) -> Iterator[Start]:
    """Starts the chat over an engine with these fields; ready to be typed into."""
    folder = tempfile.TemporaryDirectory(prefix="lmtui-")  # a socket's path is short
    tmux = Tmux(Path(folder.name) / "tmux")

    def chat(*arguments: str, **engine: Any) -> Tmux:
        run = tmp_path / "run.sh"
        run.write_text(_script(arguments, {"engine": engine}, home), encoding="utf-8")
        tmux.type(f"sh {run}\n")
        tmux.shows("ready")
        return tmux

    yield chat
    tmux.close()
    folder.cleanup()


def _script(arguments: tuple[str, ...], script: Mapping[str, Any], home: Path) -> str:
    """Shell words: run the program, then say how it ended."""
    return (
        f"cd {shlex.quote(str(REPOSITORY))}\nunset COLUMNS LINES\n"
        f"export LMTUI_HOME={shlex.quote(str(home))} PYTHONUTF8=1 LC_ALL=C.UTF-8\n"
        f"{shlex.join(command(['chat', *arguments], script))}\n"
        "echo left with $?\n"
    )


def prompt_of(screen: str) -> list[str]:
    """The lines of the text field."""
    lines = [line for line in screen.splitlines() if line.startswith("│ ")]
    return [line.strip("│").strip() for line in lines]


def test_writing_sending_and_the_way_back_to_the_shell(start: Start) -> None:
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


def test_stopping_regenerating_and_going_on(start: Start) -> None:
    answers = [ENDLESS, "second", " and more", ENDLESS]
    tmux = start("--max-tokens", "30000", answers=answers)
    tmux.press("C-c")
    tmux.shows("Ctrl+Q quits")
    tmux.type("sing")
    tmux.press("Enter")
    tmux.shows("la la", "Esc stops")
    tmux.press("Escape")
    tmux.shows("stopped · Ctrl+G")
    tmux.press("C-r")
    tmux.until(lambda screen: "second" in screen and "la la" not in screen)
    tmux.shows("ready")
    tmux.press("C-g")
    tmux.shows("second and more", "ready")
    tmux.press("C-r")
    tmux.shows("la la", "Esc stops")
    tmux.press("C-c")
    tmux.shows("stopped · Ctrl+G")
    # The prompt has the keys all the time.
    tmux.type("still here")
    tmux.shows("still here")


def test_the_panel_the_sampler_and_the_pause(start: Start) -> None:
    tmux = start()
    tmux.shows("kept ")
    tmux.press("F2")
    tmux.lacks("kept ")
    tmux.press("F2")
    tmux.shows("kept ")

    tmux.press("F4")
    tmux.shows("‹ T 0.7 ›")
    tmux.press("Left")
    tmux.until(lambda screen: "‹ T " in screen and "‹ T 0.7 ›" not in screen)
    tmux.press("BSpace")
    tmux.shows("‹ T 0.7 ›")
    tmux.press("Down", "Enter")
    tmux.type("3")
    tmux.press("Enter")
    tmux.shows("‹ 3 ›", "kept 3")
    tmux.press("BSpace")
    tmux.shows("‹ 40 ›")
    tmux.press("F4")
    tmux.lacks("‹ 40 ›")

    tmux.press("F6")
    before = tmux.shows("‖")
    tmux.type("x")
    tmux.until(lambda screen: prompt_of(screen) == ["x"])
    assert _rows(tmux.screen) == _rows(before)
    tmux.press("F6")
    tmux.until(lambda screen: "‖" not in screen and _rows(screen) != _rows(before))


def _rows(screen: str) -> list[str]:
    """The rows of the panel, without its title."""
    lines = [line.partition("│")[2] for line in screen.splitlines()]
    return [line for line in lines[1:] if line.rstrip().endswith(tuple("0kpm"))]


def test_walking_the_tokens_and_the_panel(start: Start) -> None:
    # Every token has more than four bits: a surprise.
    tmux = start(answers=["one two three four"], likelihood=0.05)
    tmux.type("count")
    tmux.press("Enter")
    tmux.shows("four", "ready")
    tmux.press("F3")
    tmux.shows("1/5 “one”", "Token 1")
    for key, place in (
        ("Right", "2/5"), ("n", "3/5"), ("n", "4/5"), ("N", "3/5"), ("Left", "2/5"),
        ("End", "5/5"), ("Home", "1/5"),
    ):  # fmt: skip
        tmux.press(key)
        tmux.shows(place)
    tmux.press("Escape")
    tmux.until(lambda screen: "1/5" not in screen and "You" in screen)

    # The user's own words, and copying, once a message has the focus.
    tmux.press("BTab", "BTab")
    tmux.press("c")
    tmux.shows("Copied the message")


def test_help_the_palette_and_another_size(start: Start) -> None:
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
    tmux.until(lambda screen: "ready" in "".join(screen.splitlines()[39:]))
    tmux.shows("flat ◄")
    tmux.run("resize-window", "-x", "60", "-y", "15")
    tmux.lacks("flat ◄")
    tmux.type("still here")
    tmux.until(lambda screen: prompt_of(screen) == ["still here"])


def test_what_is_selected_is_copied(start: Start) -> None:
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
