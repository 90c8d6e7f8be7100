"""Every key of the chat's screen in plain tmux at 80x24, and the shell after it.

What a key does is read off the screen, as a person would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from lmtui import paths
from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.config.settings import names
from lmtui.engine.types import SamplingSettings
from tests.chat.test_message import answer
from tests.tui.tmux import Tmux, needs_tmux, server

pytestmark = needs_tmux

ENDLESS = "la " * 20_000
"""An answer that no test waits for."""


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


def test_answer_keys_stop_regenerate_and_continue(start: Start) -> None:
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


def test_live_keys_toggle_panel_sampler_and_pause(start: Start) -> None:
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
    tmux.press(*["Down"] * 6)  # the penalties have further settings
    tmux.shows("frequency")
    tmux.press(*["Down"] * 9)
    tmux.shows("After top-k")
    tmux.press("Enter")
    tmux.type("3")
    tmux.press("Enter")
    tmux.until(lambda screen: "top-k 3 −" in " ".join(screen.split()))
    tmux.press("BSpace")
    tmux.until(lambda screen: "top-k 40 −" in " ".join(screen.split()))
    tmux.press("F4")
    tmux.lacks("After top-k")

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


def test_token_keys_walk_the_answer_and_c_copies_a_message(start: Start) -> None:
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


def test_settings_keys_find_change_and_reset_a_setting(
    start: Start, home: Path
) -> None:
    file = home / "config.toml"
    file.write_text("# mine\n[sampling]\ntop_k = 30  # few\n")
    tmux = start()
    tmux.press("F10")
    tmux.shows("Type to search", f"{len(names())} settings")
    tmux.type("top_k")
    tmux.shows("In config.toml: 30")
    tmux.press("Enter")
    tmux.shows("Enter takes it")
    tmux.press("BSpace", "BSpace")
    tmux.type("7")
    tmux.press("Enter")
    tmux.shows("In config.toml: 7")
    assert file.read_text() == "# mine\n[sampling]\ntop_k = 7  # few\n"
    tmux.press("F8")
    tmux.shows("In config.toml: nothing")
    assert file.read_text() == "# mine\n[sampling]\n"
    tmux.press("Escape", "Escape")
    tmux.shows("ready")
    tmux.press("F4")
    tmux.shows("‹ T ")
    tmux.press(*["Down"] * 16)  # the penalties and DRY have further settings
    tmux.until(lambda screen: "top-k 40" in " ".join(screen.split()))


def test_thinking_is_folded_and_unfolded_by_keys(start: Start) -> None:
    tokens = ["<think>", "\n", "so", " so", "\n", "</think>", "\n\n", "It", " is."]
    tmux = start(answers=[tokens, tokens])
    tmux.type("/think off")
    tmux.press("Enter")
    tmux.shows("has no such")
    tmux.press("C-u")  # what was refused stays, to be corrected
    for count in (1, 2):
        tmux.type("why")
        tmux.press("Enter")
        tmux.until(lambda screen, n=count: screen.count("▸ thought 7 tokens") == n)
    tmux.lacks("so so")
    tmux.until(lambda screen: screen.count("It is.") == 2)
    tmux.press("BTab", "BTab")
    tmux.press("f")
    tmux.shows("▾ thought 7 tokens", "so so", "It is.")
    tmux.press("F")
    tmux.until(lambda screen: screen.count("so so") == 2)
    tmux.press("F")
    tmux.lacks("so so")


def test_conversation_of_a_missing_model_is_read_and_continued(home: Path) -> None:
    chat = Conversation()
    asked = chat.say("question")
    reply = chat.reply(asked.id, model="lost", settings=SamplingSettings())
    prompt, steps, finish = answer("old", " answer")
    chat.lay_out(reply.id, prompt)
    chat.grow(reply.id, steps)
    chat.finish(reply.id, finish)
    store = Store(paths.chats_file())
    store.save({"a": chat.take_changes()})
    store.close()
    with server(home) as tmux:
        tmux.start(
            "chat", "--resume", "last", engine={"answers": ["new"]}, gone=["lost"]
        )
        tmux.shows("lost wrote this and is not", "no model", "old answer")
        tmux.press("F3")
        tmux.shows("1/3 “old”")
        tmux.press("Escape")
        tmux.lacks("1/3 “old”")
        tmux.type("more")
        tmux.press("Enter")
        tmux.shows("Which model should continue", "Another model")
        tmux.press("Escape")
        tmux.until(lambda screen: prompt_of(screen) == ["more"])
        tmux.press("C-u")
        tmux.until(lambda screen: prompt_of(screen) != ["more"])
        tmux.type("/model other")
        tmux.press("Enter")
        tmux.shows("ready")
        tmux.lacks("lost wrote this")
        tmux.type("more")
        tmux.press("Enter")
        tmux.shows(" █ fake", " █ new", "ready")


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


def test_ctrl_z_undoes_a_draft_or_suspends_to_the_shell(start: Start) -> None:
    tmux = start(answers=["HELLO"])
    tmux.press("x")
    tmux.until(lambda screen: prompt_of(screen) == ["x"])
    tmux.press("C-z")  # there is something to undo
    tmux.shows("Write a message")
    tmux.press("C-y", "Enter")
    tmux.shows("HELLO", "Write a message")
    tmux.press("C-z")  # what was sent is not undone
    tmux.shows("Stopped")
    tmux.type("fg\n")
    tmux.shows("HELLO", "Write a message")
    tmux.type("more")
    tmux.until(lambda screen: prompt_of(screen) == ["more"])
