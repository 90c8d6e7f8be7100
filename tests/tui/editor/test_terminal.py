"""The editor on a pseudo-terminal: what was typed is in the file, or is found again.

Keys come in bursts that cut characters apart, while suggestions come and go. What must
be in the file is told by a model of the keys that is as plain as can be.
"""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lmtui.editing import recovery
from tests.tui.terminal import Terminal, running
from tests.tui.test_hostile_screen import HOSTILE, assert_harmless

ENTER, BACKSPACE, TAB, ESC = b"\r", b"\x7f", b"\t", b"\x1b"
FIND, LINE, SAVE, QUIT, LIST = b"\x06", b"\x07", b"\x13", b"\x11", b"\x0c"
HOME, UP, F3, F7 = b"\x1b[H", b"\x1b[A", b"\x1bOR", b"\x1b[18~"
READY = "fake ·"
BOM = b"\xef\xbb\xbf"
GHOST = " then GHOST"


@contextmanager
def editing(file: Path, at: str = "1:1", **engine: Any) -> Iterator[Terminal]:
    """A file in the editor, with a suggestion at every key."""
    fields = {"answers": [GHOST] * 500, "likelihood": 0.9, **engine}
    env = {"LMTUI_GHOST_DELAY": "0", "LMTUI_GHOST_SECONDS": "600"}
    with running("complete", str(file), "--at", at, engine=fields, env=env) as terminal:
        terminal.until(READY)
        yield terminal


def save(terminal: Terminal) -> None:
    """Save, and wait until the text is told from the file no more."""
    terminal.ask(SAVE, re.compile(r"(?<!● )draft\.txt · line").search)


class Paper:
    """A text before and after a cursor, sign by sign, as a person sees signs."""

    def __init__(self, before: str, after: str) -> None:
        self._before, self._after = list(before), after

    def write(self, *signs: str) -> None:
        self._before += signs

    def begin_line(self) -> None:
        """Begin a line with the white space of the one above."""
        line = "".join(self._before).rpartition("\n")[2]
        self.write("\n", *line[: len(line) - len(line.lstrip(" \t"))])

    def rub_out(self) -> None:
        self._before.pop()

    @property
    def text(self) -> str:
        return "".join(self._before) + self._after


class Typist:
    """Types the same on a terminal, in bursts of a few bytes, and on paper."""

    def __init__(self, terminal: Terminal, paper: Paper, seed: int) -> None:
        self._terminal, self._paper = terminal, paper
        self._chance = random.Random(seed)

    def write(self, text: str) -> None:
        """A text whose signs are a code point each."""
        for sign in text:
            if sign == "\n":
                self._paper.begin_line()
            else:
                self._paper.write(sign)
        self._send(text)

    def sign(self, sign: str) -> None:
        """A sign of several code points."""
        self._paper.write(sign)
        self._send(sign)

    def rub_out(self, signs: int) -> None:
        for _ in range(signs):
            self._paper.rub_out()
        self._terminal.type(BACKSPACE * signs)

    def paste(self, text: str) -> None:
        self._paper.write(*text)
        self._terminal.paste(text.replace("\n", "\r"))

    def take_ghost(self, after: str) -> None:
        """Once the ghost stands behind these words."""
        since = len(self._terminal.written)
        self.write(after)
        self._terminal.until(after + GHOST, since=since)
        self._terminal.type(TAB)
        self._paper.write(*GHOST)

    def dismiss_ghost(self, after: str) -> None:
        since = len(self._terminal.written)
        self.write(after)
        self._terminal.until(after + GHOST, since=since)
        self._terminal.ask(ESC, "dismissed")

    def _send(self, text: str) -> None:
        data = text.encode().replace(b"\n", ENTER)
        while data:
            size = self._chance.randint(1, 9)
            self._terminal.type(data[:size])
            data = data[size:]


def write_much(typist: Typist) -> None:
    """Some three hundred characters, in a hurry."""
    typist.write("The river was slow that evenning")
    typist.rub_out(4)
    typist.write("ing, and nobody spoke. 川はゆっくり流れてた。")
    typist.rub_out(2)
    typist.write("いた。\u3000向こう岸に灯。\n")
    typist.sign("👩\u200d👩\u200d👧")
    typist.sign("🇯🇵")
    typist.write("🙂")
    typist.rub_out(2)
    typist.sign("🇿🇼")
    typist.write(" x²\u00a0≤ 4, ")
    typist.sign("e\u0301")
    typist.sign("o\u0302")
    typist.rub_out(1)
    typist.write("\n\nThen the boats")
    typist.dismiss_ghost(" came")
    typist.write(": one, two, three")
    typist.paste(" – pasted\n\tfour, 五, 🚣\n")
    typist.take_ghost("and more")
    typist.write(" was gone.\n \u3000was gone.\nwas gone.\n")
    typist.rub_out(1)
    typist.write("x" * 40 + " end")


def test_typing_in_bursts_saves_every_byte(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "draft.txt"
    file.write_bytes(BOM + b"First line.\r\nLast line.")
    with editing(file, "2:5") as terminal:
        paper = Paper("First line.\nLast", " line.")
        write_much(Typist(terminal, paper, seed=2))
        save(terminal)
        assert terminal.leave() == 0
    assert file.read_bytes() == BOM + paper.text.encode().replace(b"\n", b"\r\n")
    assert not copies(home)
    assert_harmless(terminal.written)


# Keys that come faster than they are answered.


def test_save_and_quit_keys_do_not_overtake_typed_text(
    home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "draft.txt"
    file.write_text("one\n")
    with editing(file) as terminal:
        terminal.type(b"to the last letter" + SAVE + QUIT)
        assert terminal.end() == 0
    assert file.read_text() == "to the last letterone\n"
    with editing(file) as terminal:
        terminal.ask(b"and " + QUIT, "Leave without saving?")
        terminal.type(UP + ENTER)
        assert terminal.end() == 0
    assert file.read_text() == "to the last letterone\n"
    assert not copies(home)


# A text from a pipe.


def test_piped_text_is_edited_on_the_terminal_and_saved_under_a_name(
    home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "new.txt"
    with running("complete", "-", piped=BOM + b"one\r\ntwo", engine={}) as terminal:
        terminal.until(READY)
        terminal.ask(b"Not ", "● text from stdin")
        terminal.ask(QUIT, "text from stdin has unsaved changes")
        terminal.ask(HOME + ENTER, "Save as")
        terminal.type(str(file).encode() + ENTER)
        assert terminal.end() == 0
    assert file.read_bytes() == BOM + b"Not one\r\ntwo"
    assert not copies(home)


def test_piped_text_is_offered_again_after_a_signal(home: Path) -> None:
    with running("complete", "-", piped=b"one") as terminal:
        terminal.until(READY)
        assert terminal.end(signal.SIGTERM) == 143
    note = "note: the unsaved text is kept; `lmtui complete - < /dev/null` offers it"
    assert note in terminal.text()
    with running("complete", "-", piped=b"") as terminal:
        terminal.until("There is unsaved text")
        terminal.ask(HOME + ENTER, "● text from stdin")
        terminal.ask(QUIT, "Leave without saving?")
        terminal.type(UP + ENTER)
        assert terminal.end() == 0
    assert not copies(home)


# The end comes without a question.


def copies(home: Path) -> list[Path]:
    return list((home / "state" / "recovery").glob("*.txt"))


def kept(home: Path, words: str) -> Callable[[], bool]:
    """Whether a recovery copy holds these words."""
    return lambda: any(words.encode() in copy.read_bytes() for copy in copies(home))


def test_killed_editor_offers_all_but_the_last_words(
    home: Path, tmp_path: Path
) -> None:
    was = BOM + b"First line.\r\nLast line."
    file = tmp_path / "draft.txt"
    file.write_bytes(was)
    with editing(file) as terminal:
        terminal.ask("Kept 漢字. ".encode(), "Kept 漢字. ")
        terminal.wait(kept(home, "Kept 漢字. "))
        terminal.ask(b"Perhaps.", "Perhaps.")
        assert terminal.end(signal.SIGKILL) == -signal.SIGKILL
    assert file.read_bytes() == was
    found = recovery.find(file)
    assert found is not None
    assert found.text in {
        f"Kept 漢字. {'Perhaps.'[:size]}First line.\nLast line." for size in range(9)
    }
    with editing(file) as terminal:
        terminal.until("There is unsaved text")
        terminal.ask(HOME + ENTER, "● draft.txt")
        assert file.read_bytes() == was
        save(terminal)
        assert terminal.leave() == 0
    assert file.read_bytes() == BOM + found.text.encode().replace(b"\n", b"\r\n")
    assert not copies(home)


ENDS: dict[str, tuple[Callable[[Terminal], int], int]] = {
    "SIGTERM": (lambda terminal: terminal.end(signal.SIGTERM), 143),
    "SIGINT": (lambda terminal: terminal.end(signal.SIGINT), 130),
    "SIGHUP": (lambda terminal: terminal.end(signal.SIGHUP), 129),
    "the terminal went away": (Terminal.hang_up, 129),
}


@pytest.mark.parametrize(("end", "code"), ENDS.values(), ids=ENDS)
def test_signal_or_hang_up_keeps_the_unsaved_text(
    home: Path, tmp_path: Path, end: Callable[[Terminal], int], code: int
) -> None:
    file = tmp_path / "draft.txt"
    file.write_bytes(b"one\r\ntwo")
    with editing(file) as terminal:
        terminal.ask("To the last 字".encode(), "To the last 字")
        assert end(terminal) == code
    assert file.read_bytes() == b"one\r\ntwo"
    found = recovery.find(file)
    assert found is not None
    assert found.text == "To the last 字one\ntwo"
    if end is not Terminal.hang_up:
        assert f"note: the unsaved text is kept; `lmtui complete {file}`" in (
            terminal.text()
        )


# Files and models that try to break the screen.


def test_hostile_text_does_not_reach_the_terminal(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "a\x1b]0;owned\x07\u202eb.txt"
    line = HOSTILE.replace("\0", "")  # with it, a file is no text
    hostile = f"{line}\r\n\n{line}word"
    file.write_bytes(hostile.encode())
    words = [["HOST" + HOSTILE, -1.0, HOSTILE, 0.5]]
    with editing(file, answers=[HOSTILE] * 500, others=[HOSTILE], words=words) as t:
        t.until("␛]0;owned")
        t.until("Σ log P −")  # all of it is scored
        t.ask(F3, "heat: underlined")
        t.ask(LIST, "Enter goes there")
        t.ask(ENTER, re.compile("column [2-9]|column 1[0-9]").search)
        t.ask(b"\x1b[1;5F", "line 3, ")  # the end of the text
        t.ask(F7, "Enter replaces the word")
        t.ask(ENTER, "● a")
        t.ask(b"\x1bn", "alternative 1")
        t.ask(FIND + b"x", " of ")
        t.type(ESC)
        t.ask(SAVE, re.compile("(?<!● )a␛").search)
        t.ask(LIST, "surprised the model most")
        assert t.leave() == 0
    assert file.read_bytes().decode() == hostile[:-4] + "HOST" + HOSTILE
    text = assert_harmless(t.written)
    assert "␛]52;c;QUFB␇" in text and "�gnp.exe" in text
