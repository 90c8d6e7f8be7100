"""Every key of the editor's screen in plain tmux at 80x24.

What a key does is read off the screen, as a person would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lmtui.editing.text_file import load
from lmtui.tui.dialogs import ConfirmDialog
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.pickers import (
    CorrectionsScreen,
    ReplacementsScreen,
    SurprisesScreen,
)
from lmtui.tui.editor.rewrite import RewriteScreen
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.help import HelpScreen, sections
from lmtui.tui.keys import all_bound
from tests.fake_writing import FakeWriter
from tests.tui.programs import program
from tests.tui.tmux import Seen, Tmux, needs_tmux, server, without

KEYS = {
    "app.help": "F1",
    "app.models": "F5",
    "app.palette": "C-p",
    "app.quit": "C-q",
    "app.settings": "F10",
    "app.start": "F9",
    "ask.leave": "Escape",
    "ask-line.close": "Escape",
    "ask-line.complete": "Tab",
    "ask-line.earlier": "Up",
    "ask-line.later": "Down",
    "complete.context": "M-i",
    "complete.find": "C-f",
    "complete.inspect": "C-t",
    "complete.line": "C-g",
    "complete.numbers": "M-l",
    "complete.passage": "M-g",
    "complete.replace": "F7",
    "complete.rewrite": "M-r",
    "complete.rows": "M-e",
    "complete.stop": "Escape",
    "complete.wrap": "M-z",
    "editor.bracket": "M-m",
    "editor.comment": "C-/ C-_",
    "editor.dedent": "BTab",
    "editor.dismiss": "Escape",
    "editor.duplicate": "M-d",
    "editor.join": "M-j",
    "editor.line-down": "M-Down",
    "editor.line-up": "M-Up",
    "editor.next-ghost": "M-n",
    "editor.previous-ghost": "M-p",
    "editor.select-all": "M-a",
    "editor.select-end": "C-S-End",
    "editor.select-start": "C-S-Home",
    "editor.suggest": "C-Space",
    "editor.take-all": "Tab",
    "editor.take-line": "M-Right",
    "editor.take-word": "C-Right",
    "editor.text-end": "C-End",
    "editor.text-start": "C-Home",
    "file.open": "M-o",
    "file.save": "C-s",
    "file.save-as": "C-o",
    "complete.proofread": "M-k",
    "corrections.apply": "a",
    "corrections.apply-all": "A",
    "corrections.close": "Escape",
    "corrections.ignore": "i",
    "corrections.next": "n",
    "find.all": "M-a",
    "find.case": "M-c",
    "find.close": "Escape",
    "find.earlier": "Up",
    "find.later": "Down",
    "find.next": "M-n",
    "find.other": "Tab BTab",
    "find.previous": "M-p",
    "find.regex": "M-r",
    "find.words": "M-w",
    "ghost.mode": "F4",
    "help.close": "Escape q",
    "help.find": "/",
    "live.interrupt": "C-c",
    "live.panel": "F2",
    "live.pause": "F6",
    "panel.down": "Down",
    "panel.page-down": "NPage",
    "panel.page-up": "PPage",
    "panel.pick": "Enter",
    "panel.top": "Home",
    "panel.up": "Up",
    "replacements.close": "Escape",
    "rewrite.again": "r",
    "rewrite.leave": "Escape",
    "rewrite.take": "Enter",
    "rewrite.version": "v",
    "surprises.close": "Escape",
    "surprises.ignore": "i",
    "watch.heat": "F3",
    "watch.list": "C-l",
    "watch.next": "F8",
    "watch.page": "M-h",
    "watch.previous": "S-F8",
}
"""What each thing that can be done is pressed by, as tmux names keys."""

UNHEARD = {"panel.bottom", "app.suspend"}
"""Keys that this screen has no answer to, or that are pressed in other tests."""

TEXT = "the cat sat on the mat\nand looked at the sea\n"
GHOST = [" by", " the", " fire.", "\n", "and", " more"]
READY = "fake ·"

Start = Callable[..., Tmux]


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Iterator[Start]:
    """Opens a text in the editor, over an engine with these fields."""
    with server(home) as tmux:

        def edit(
            text: str = TEXT, at: str = "1:1", name: str = "draft.txt", **engine: Any
        ) -> Tmux:
            file = tmp_path / name
            file.write_text(text, encoding="utf-8")
            fields = {"answers": [GHOST] * 200, "likelihood": 0.9, **engine}
            env = {
                "LMTUI_GHOST_DELAY": "0.01",
                "LMTUI_GHOST_SECONDS": "600",
                "LMTUI_SURPRISE_BITS": "6",
            }
            tmux.start("complete", str(file), "--at", at, engine=fields, env=env)
            tmux.shows(READY, "Σ log P −")
            return tmux

        yield edit


def press(tmux: Tmux, what: str, seen: str | Seen, *, key: int = 0) -> str:
    """Do something by a key of its own, and see that it is this that did it."""
    return tmux.press_for(KEYS[what].split()[key], seen)


def place(line: int, column: int) -> str:
    """Where the cursor is, as the screen says it."""
    return f"line {line}, column {column} "


def line_of(screen: str, number: int) -> str:
    """A line of the text, where it is no longer than a row."""
    found = re.search(rf"^ *{number}  (.*?) *(│|$)", screen, re.MULTILINE)
    return found[1] if found else ""


@needs_tmux
def test_ghost_keys_take_cycle_and_dismiss_suggestions(start: Start) -> None:
    tmux = start(at="1:23", others=[" one", " two", " three"])
    press(tmux, "ghost.mode", "ghost: off")
    press(tmux, "ghost.mode", "F4 ghost: line ·")
    tmux.shows("mat by the fire.", "ghost: newline")
    press(tmux, "editor.take-word", place(1, 26))
    tmux.until(
        lambda screen: line_of(screen, 1) == "the cat sat on the mat by the fire."
    )
    press(tmux, "editor.dismiss", without("the fire."))
    tmux.shows("dismissed")
    press(tmux, "editor.suggest", "mat by by the fire.")
    press(tmux, "editor.next-ghost", "alternative 1 of 3")
    press(tmux, "editor.next-ghost", "alternative 2 of 3")
    tmux.until(lambda screen: line_of(screen, 1) == "the cat sat on the mat by two")
    press(tmux, "editor.previous-ghost", "alternative 1 of 3")
    tmux.until(lambda screen: line_of(screen, 1) == "the cat sat on the mat by one")

    press(tmux, "ghost.mode", "F4 ghost: lines")
    tmux.until(lambda screen: line_of(screen, 1).endswith("by by the fire."))
    press(tmux, "editor.take-line", place(1, 39))
    tmux.shows("and more")
    press(tmux, "editor.take-all", place(2, 9))
    tmux.until(lambda screen: line_of(screen, 2).startswith("and more"))
    press(tmux, "ghost.mode", "ghost: off")
    tmux.until(lambda screen: line_of(screen, 2) == "and more")
    press(tmux, "ghost.mode", "F4 ghost: line ·")


@needs_tmux
def test_editor_keys_wrap_move_select_and_copy(start: Start) -> None:
    tmux = start(TEXT + "word " * 20 + "end\n")
    press(tmux, "complete.wrap", without("end"))
    press(tmux, "complete.wrap", "word end")
    press(tmux, "complete.numbers", without(" 1  the"))
    press(tmux, "complete.numbers", " 1  the")
    press(tmux, "editor.text-end", place(4, 1))
    press(tmux, "editor.text-start", place(1, 1))
    press(tmux, "editor.select-end", "149 selected")
    press(tmux, "editor.text-end", without("selected"))
    press(tmux, "editor.select-start", "149 selected")
    press(tmux, "editor.text-start", without("selected"))
    press(tmux, "editor.select-all", "149 selected")
    tmux.run("set-option", "-s", "set-clipboard", "on")
    tmux.press(KEYS["live.interrupt"])
    tmux.until(lambda _: "the cat sat" in tmux.run("list-buffers"))
    press(tmux, "editor.text-start", without("selected"))
    press(tmux, "live.interrupt", "Ctrl+Q quits.")


@needs_tmux
def test_line_keys_change_the_lines_of_the_selection(start: Start) -> None:
    tmux = start("    one\ntwo\n", at="1:6")
    tmux.press(KEYS["ghost.mode"])
    tmux.shows("ghost: off")
    press(tmux, "editor.dedent", lambda screen: line_of(screen, 1) == "one")
    press(tmux, "editor.line-down", lambda screen: line_of(screen, 2) == "one")
    press(tmux, "editor.line-up", lambda screen: line_of(screen, 1) == "one")
    press(tmux, "editor.duplicate", lambda screen: line_of(screen, 2) == "one")
    press(tmux, "editor.join", "one two")
    press(tmux, "editor.comment", "no comments in this kind of file")
    tmux.press("Enter", "(", "[", "]", ")")
    tmux.shows("([])", place(3, 5))
    press(tmux, "editor.bracket", place(3, 1))


@needs_tmux
@pytest.mark.parametrize("key", [0, 1])
def test_comment_key_adds_and_takes_off_the_sign(start: Start, key: int) -> None:
    tmux = start("    one\ntwo\n", name="draft.py")
    press(tmux, "editor.comment", "    # one", key=key)
    press(tmux, "editor.comment", without("# one"), key=key)


@needs_tmux
def test_find_and_line_keys_find_replace_and_go_to_a_line(start: Start) -> None:
    tmux = start()
    press(tmux, "complete.line", "LINE or LINE:COL")
    press(tmux, "ask-line.close", without("Go to line"))
    press(tmux, "complete.line", "LINE or LINE:COL")
    tmux.type("2:5")
    tmux.press("Enter")
    tmux.shows(place(2, 5))

    press(tmux, "complete.find", "Find ")
    tmux.type("the")
    tmux.shows("3 of 3", "3 selected", "2:18")
    press(tmux, "find.previous", "2 of 3")
    tmux.shows("1:19")
    press(tmux, "find.next", "3 of 3")
    press(tmux, "find.case", "case: exact")
    press(tmux, "find.words", "words: whole only")
    press(tmux, "find.regex", "regex: on")
    press(tmux, "find.regex", "regex: off")
    tmux.press("C-u")
    tmux.lacks("3 of 3")
    press(tmux, "find.earlier", "3 of 3")
    press(tmux, "find.later", without("3 of 3"))
    press(tmux, "find.earlier", "3 of 3")
    press(tmux, "find.other", lambda _: cursor_row(tmux) == 19)
    tmux.type("a")
    press(tmux, "find.all", "3 replaced")
    tmux.shows("a cat sat on a mat", "looked at a sea")
    press(tmux, "find.other", lambda _: cursor_row(tmux) == 18, key=1)
    press(tmux, "find.close", without("Replace"))
    tmux.type("still")
    tmux.shows("still")


def cursor_row(tmux: Tmux) -> int:
    """The row in which the terminal's cursor is, from 0."""
    return int(tmux.state("cursor_y"))


@needs_tmux
def test_surprise_keys_shade_visit_ignore_and_replace(start: Start) -> None:
    words = [["dog", -1.0, " sat", -9.5], ["cat", -2.0, "", -9.0]]
    tmux = start(words=words)
    for name in ("surprisal", "rank", "entropy", "off"):
        press(tmux, "watch.heat", f"heat: {name}")
    press(tmux, "watch.next", without(place(1, 1)))
    first = where(tmux)
    press(tmux, "watch.next", without(first))
    tmux.shows(" bits, token rank ")
    press(tmux, "watch.previous", first)

    press(tmux, "watch.list", "Enter goes there")
    worst = rows_of(tmux.until(rows_of))[0]
    press(
        tmux,
        "surprises.ignore",
        lambda screen: rows_of(screen)[:1] not in ([], [worst]),
    )
    press(tmux, "surprises.close", without("Enter goes there"))
    press(tmux, "watch.list", "Enter goes there")
    line, column = rows_of(tmux.until(rows_of))[0].split(":")
    tmux.press("Enter")
    tmux.shows(place(int(line), int(column)))

    press(tmux, "watch.page", "Heat as a page")
    tmux.press("Escape")
    tmux.press("C-Home", "C-Right", "Right")
    tmux.shows(place(1, 5))
    press(tmux, "complete.replace", "Enter replaces the word")
    press(tmux, "replacements.close", without("Enter replaces the word"))
    press(tmux, "complete.replace", "Enter replaces the word")
    tmux.press("Enter")
    tmux.shows("the dog sat")


@needs_tmux
def test_proofreading_keys_list_apply_and_go_to_corrections(start: Start) -> None:
    found = [[4, 7, "dog", "misspelt", 9.0], [34, 36, "on", "function word", 5.0]]
    tmux = start(parts=[[len(TEXT), 12, found]])
    press(tmux, "complete.proofread", "2 corrections")
    tmux.press(KEYS["corrections.next"])
    press(tmux, "corrections.close", "3 selected")
    press(tmux, "complete.proofread", "2 corrections")
    press(tmux, "corrections.apply", "1 correction ")
    press(tmux, "corrections.close", without("1 correction "))
    tmux.shows("the dog sat")
    press(tmux, "complete.proofread", "at → on")
    tmux.press("Enter")
    tmux.shows("2 selected")
    press(tmux, "complete.proofread", "at → on")
    press(tmux, "corrections.ignore", "1 ignored")
    press(tmux, "corrections.close", without("1 ignored"))
    tmux.press("C-z")
    tmux.shows("the cat sat")
    press(tmux, "complete.proofread", "1 correction ")
    press(tmux, "corrections.apply-all", "1 applied")
    press(tmux, "corrections.close", without("1 applied"))
    tmux.shows("the dog sat")


def where(tmux: Tmux) -> str:
    """Where the cursor is, as `place` says it."""
    found = re.search(r"line \d+, column \d+ ", tmux.screen)
    assert found is not None
    return found[0]


def rows_of(screen: str) -> list[str]:
    """Where the surprises in the list stand; a row may be half drawn."""
    return re.findall(r"(\d+:\d+) +[\d.]+ bits", screen)


@needs_tmux
def test_file_keys_save_save_as_and_quit(start: Start, tmp_path: Path) -> None:
    tmux = start()
    tmux.type("No, ")
    tmux.shows("● draft.txt")
    press(tmux, "app.quit", "Leave without saving?")
    press(tmux, "ask.leave", without("Leave without saving?"))
    press(tmux, "file.save", without("● draft.txt"))
    assert (tmp_path / "draft.txt").read_text() == "No, " + TEXT

    (tmp_path / "other.txt").write_text("keep me")
    press(tmux, "file.save-as", "Save as")
    tmux.press(*["BSpace"] * len("draft.txt"))
    tmux.type("oth")
    press(tmux, "ask-line.complete", "other.txt")
    tmux.press("Enter")
    tmux.shows("The file already exists")
    press(tmux, "ask.leave", without("The file already exists"))
    assert (tmp_path / "other.txt").read_text() == "keep me"
    press(tmux, "file.save-as", "Save as")
    tmux.press(*["BSpace"] * len("draft.txt"))
    tmux.type("third.txt")
    tmux.press("Enter")
    tmux.shows("third.txt · ")
    assert (tmp_path / "third.txt").read_text() == "No, " + TEXT

    tmux.lacks("draft.txt")
    press(tmux, "file.open", "↑ recent files")
    press(tmux, "ask-line.earlier", "/draft.txt")
    press(tmux, "ask-line.later", "↑ recent files")
    press(tmux, "ask-line.earlier", "/draft.txt")
    tmux.press("Enter")
    tmux.shows("draft.txt · ")

    press(tmux, "app.quit", "left with 0")
    assert tmux.state("alternate_on") == "0"
    assert tmux.state("cursor_flag") == "1"


@needs_tmux
def test_panel_keys_hide_pause_and_walk_the_panel(start: Start) -> None:
    tmux = start(at="2:4")
    tmux.shows("entropy ")
    press(tmux, "live.panel", "bits/byte")  # wider, with all totals
    press(tmux, "live.panel", without("entropy "))
    press(tmux, "live.panel", "entropy ")
    before = rows_in_panel(press(tmux, "live.pause", "‖"))
    tmux.type("x")
    tmux.shows("andx")
    assert rows_in_panel(tmux.screen) == before
    press(tmux, "live.pause", lambda screen: rows_in_panel(screen) != before)

    press(tmux, "complete.rows", lambda _: marked(tmux))
    top = marked(tmux)
    press(tmux, "panel.down", lambda _: marked(tmux) != top)
    press(tmux, "panel.up", lambda _: marked(tmux) == top)
    press(tmux, "panel.page-down", lambda _: marked(tmux) != top)
    press(tmux, "panel.page-up", lambda _: marked(tmux) == top)
    tmux.press(KEYS["panel.page-down"])
    tmux.until(lambda _: marked(tmux) != top)
    press(tmux, "panel.top", lambda _: marked(tmux) == top)
    press(tmux, "complete.stop", lambda _: not marked(tmux))
    tmux.type("yz")
    tmux.shows("andxyz", place(2, 7))
    press(tmux, "complete.rows", lambda _: marked(tmux))
    press(tmux, "panel.pick", without(place(2, 7)))
    tmux.press("Escape")
    press(tmux, "complete.context", "No other file is read")
    tmux.press("Escape")


@needs_tmux
def test_writing_keys_ask_for_passages_and_versions(start: Start) -> None:
    tmux = start(at="1:4")
    press(tmux, "complete.passage", "Write a passage (Enter starts)")
    tmux.press("Enter")
    tmux.shows("passage: 7 tokens", "by the fire.")
    tmux.press("Escape")
    tmux.lacks("by the fire.")
    for take in (False, True):
        press(tmux, "complete.rewrite", "Rewrite ")
        tmux.type("plainer")
        tmux.press("Enter")
        tmux.shows("surprisal, bits", "Enter takes it")
        if take:
            press(tmux, "rewrite.take", without("Rewritten:"))
            tmux.until(lambda screen: "by the" in line_of(screen, 1))
        else:
            press(tmux, "rewrite.version", "v with marks")
            tmux.press(KEYS["rewrite.again"])
            press(tmux, "rewrite.leave", without("Rewritten:"))
            tmux.until(lambda screen: "the cat sat" in line_of(screen, 1))


def marked(tmux: Tmux) -> str:
    """What stands in the panel on a ground of its own."""
    for line in tmux.run("capture-pane", "-p", "-e").splitlines():
        panel = line.partition("│")[2]
        if found := re.search(r"\x1b\[(?:4[1-7]|10[0-7]|48;[\d;]+)m([^\x1b]+)", panel):
            return found[1].strip()
    return ""


def rows_in_panel(screen: str) -> list[str]:
    """The rows of the panel, without its title."""
    lines = [line.partition("│")[2] for line in screen.splitlines()]
    return [line for line in lines[1:] if line.rstrip().endswith("%")]


@needs_tmux
def test_keys_open_help_palette_and_other_screens(start: Start) -> None:
    tmux = start()
    press(tmux, "app.help", "Dismiss the suggestion")
    press(tmux, "app.help", without("Dismiss the suggestion"))
    for key in (0, 1):
        press(tmux, "app.help", "Dismiss the suggestion")
        press(tmux, "help.close", without("Dismiss the suggestion"), key=key)
    press(tmux, "app.help", "Dismiss the suggestion")
    tmux.press(KEYS["help.find"])
    tmux.type("go to line")
    tmux.lacks("Dismiss the suggestion")
    tmux.shows("To a line, or to LINE:COL.")
    tmux.press("Escape")
    tmux.shows("Dismiss the suggestion")
    tmux.press("Escape")
    tmux.lacks("Dismiss the suggestion")
    press(tmux, "app.palette", "Search for commands")
    tmux.type("wrap")
    tmux.shows("Break long lines at the edge")
    tmux.press("Escape")
    tmux.lacks("🔎")
    press(tmux, "app.models", "NAME")
    tmux.press("Escape")
    tmux.lacks("NAME")
    press(tmux, "app.settings", "Type to search the settings")
    tmux.press("Escape")
    tmux.lacks("Type to search the settings")
    tmux.type("kept ")
    tmux.shows("kept the cat")
    press(tmux, "complete.inspect", "surprisal  <")
    tmux.press("Escape")
    tmux.lacks("surprisal  <")
    press(tmux, "app.start", "see a language model think")
    tmux.type("e")
    tmux.shows("kept the cat")


# Whether that is all.


async def test_key_table_matches_the_bindings_of_the_editor(
    home: Path, tmp_path: Path
) -> None:
    dialogs = (
        ConfirmDialog,
        CorrectionsScreen,
        HelpScreen,
        ReplacementsScreen,
        RewriteScreen,
        SurprisesScreen,
    )
    writing = Writing(load(tmp_path / "new.txt"))
    engines = {"default": FakeWriter()}
    async with program(engines, first="complete", writing=writing) as running:
        await running.on(EditorScreen)
        bound = [
            item for section in sections(running.app.screen) for item in section.bound
        ]
    bound += [item for item in all_bound() if item.owner in dialogs]
    there = {item.id: set(item.keys) for item in bound if item.id not in UNHEARD}
    assert there == {
        what: {_as_textual(key) for key in keys.split()} for what, keys in KEYS.items()
    }
    written = Path(__file__).read_text("utf-8")
    used = re.findall(r'press\(\s*tmux,\s*"([\w.-]+)"', written)
    used += re.findall(r'tmux\.press\(KEYS\["([\w.-]+)"\]', written)
    assert set(used) == set(KEYS)


def _as_textual(key: str) -> str:
    """Textual's name of a key that tmux calls so."""
    names = {"C-Space": "ctrl+@", "BTab": "shift+tab", "NPage": "pagedown"}
    names |= {
        "/": "slash",
        "PPage": "pageup",
        "C-_": "ctrl+underscore",
        "C-/": "ctrl+slash",
    }
    if key in names:
        return names[key]
    *modifiers, name = key.split("-")
    words = {"C": "ctrl", "M": "alt", "S": "shift"}
    name = name if len(name) == 1 and not modifiers else name.lower()
    return "+".join([*(words[modifier] for modifier in modifiers), name])
