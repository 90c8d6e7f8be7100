"""`lmtui learn` in the shell: the dialog, its commands, and what is refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from lmtui.cli.learn import dialog
from lmtui.engine.protocol import Engine
from lmtui.learn.course import read_course
from lmtui.learn.instrument import Action, Measurement
from lmtui.learn.instruments.bars import BarsInstrument
from lmtui.learn.lesson import Lesson
from lmtui.worker.requests import Context
from tests.cli.program import run
from tests.fakes import FakeEngine
from tests.learn.courses import PAGE, write_course


def test_page_is_read_and_done_line_by_line(tmp_path: Path) -> None:
    folder = write_course(tmp_path / "c")
    first = run("learn", str(folder), stdin="one two three\n")  # a pipe: no screen
    assert first.code == 0
    assert first.out.startswith("Page 1 of 1\nA page\n\nA word and another, “code”.\n")
    assert "- to do: Write, then Enter." in first.out
    assert "After “one two”\n" in first.out
    assert "“three” was given" in first.out
    assert "Done: Write, then Enter.\nDone.\n" in first.out
    again = run("learn", str(folder))  # a pipe opens no screen
    assert "- done: Write, then Enter." in again.out
    script = {"engine": {"answers": [["\x1b[31m"]]}}
    hostile = run("learn", str(folder), script=script, stdin="a \x1b[2J b\n")
    assert "\x1b" not in hostile.out


def test_textbook_comes_with_the_first_numbers_and_on_demand(tmp_path: Path) -> None:
    page = f"{PAGE}\nIn a textbook: P(x_t | x_<t).\n"
    folder = str(write_course(tmp_path / "c", {"01-a-page.md": page}))
    first = run("learn", "--plain", folder, stdin="one two three\n").out
    assert first.count("In a textbook: P(x_t | x_<t).") == 1
    assert first.index("Done: ") < first.index("In a textbook")
    again = run("learn", "--plain", folder, stdin="one\n:textbook\n").out
    assert again.count("In a textbook: P(x_t | x_<t).") == 1
    none = str(write_course(tmp_path / "d"))
    said = run("learn", "--plain", none, stdin=":textbook\n").out
    assert "This page has none." in said


def test_commands_turn_pages_list_and_quit(tmp_path: Path) -> None:
    files = {"02-more.md": PAGE.replace("A page", "More"), "glossary.md": "**a**: b.\n"}
    folder = str(write_course(tmp_path / "c", files))
    written = [":next", ":next", ":back", ":page more", ":pages", ":words", ":nothing",
               ":page 7", ":quit", ":next"]  # fmt: skip
    lines = "\n".join(written)
    result = run("learn", "--plain", folder, stdin=lines)
    assert result.code == 0
    assert [line for line in result.out.splitlines() if line.startswith("Page ")] == [
        "Page 1 of 2",
        "Page 2 of 2",
        "Page 1 of 2",
        "Page 2 of 2",
    ]
    for words in (
        "There is no further page this way.",
        "1. A page: to do\n2. More: to do",
        "a: b.",
        ":nothing is no command here.",
        "there is no such page · 7 · Give a number from 1 to 2, or one of: a-page,",
    ):
        assert words in result.out


def test_course_goes_on_where_it_was_left(tmp_path: Path) -> None:
    folder = str(write_course(tmp_path / "c", {"02-more.md": PAGE}))
    run("learn", "--plain", folder, stdin=":next\n")
    assert run("learn", "--plain", folder).out.startswith("Page 2 of 2")
    assert run("learn", "--plain", folder, "1").out.startswith("Page 1 of 2")


def test_own_text_is_used(tmp_path: Path) -> None:
    folder, text = str(write_course(tmp_path / "c")), tmp_path / "mine.txt"
    text.write_text("These are the words that I wrote myself.")
    result = run("learn", "--plain", folder, "--text", str(text))
    assert "that I wrote myself.”" in result.out
    piped = run("learn", "--plain", folder, "--text", str(tmp_path / "none"))
    assert (piped.code, piped.out) == (2, "")
    assert "there is no such file" in piped.err
    text.write_text(" \n")
    empty = run("learn", "--plain", folder, "--text", str(text))
    assert (empty.code, "the text is empty" in empty.err) == (2, True)


def test_what_can_not_be_used_is_refused_with_a_hint(tmp_path: Path) -> None:
    folder = write_course(tmp_path / "c", {"01-a-page.md": PAGE.replace("bars", "x")})
    broken = run("learn", "--plain", str(folder))
    assert (broken.code, broken.out) == (2, "")
    assert "error: the course can't be used: 01-a-page.md, line 5" in broken.err
    assert "hint: Known are: bars" in broken.err
    more = run("learn", "1", "2")
    assert (more.code, more.out) == (2, "")
    assert "too many arguments" in more.err
    assert "hint: " in more.err


def test_long_measurement_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow(BarsInstrument):
        """Bars that take their time."""

        def act(self, action: str) -> Measurement | None:
            def run(engine: Engine, context: Context) -> None:
                for step in (1, 2):
                    context.emit(step)

            def report(step: int) -> None:
                self.message = f"step {step}"
                self._shown = None

            return Measurement(run, lambda _: None, report)

        ACTIONS = (Action("wait", "wait", "Wait."),)

    kinds = {"bars": Slow}
    lesson = Lesson(read_course(write_course(tmp_path / "c"), kinds), kinds)
    monkeypatch.setattr(dialog, "PROGRESS_EVERY", 0.0)
    monkeypatch.setattr(sys, "stdin", io.StringIO(":wait\n"))
    dialog.Dialog(lesson, FakeEngine()).run()
    assert "… step 1\n… step 2\n" in capsys.readouterr().out
