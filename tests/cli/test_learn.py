"""`lmtui learn` in the shell: a page as plain text, and what is refused."""

from __future__ import annotations

from pathlib import Path

from lmtui.cli.screen import read_lesson
from tests.cli.program import run


def test_page_is_printed_with_its_figure() -> None:
    done = run("learn", "1")  # a pipe opens no screen
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Page 1 of 11\nOne promise\n\nA language model is one ")
    assert "- to do: Make “banana” the last word and press Enter." in done.out
    assert "After “The cat sat on the”\n" in done.out
    assert done.out.index("all others: ") < done.out.index("No token ever has exactly")
    assert "\nIn a textbook: P(x_t | x_<t) is the probability" in done.out


def test_keys_have_the_names_of_the_actions() -> None:
    out = run("learn", "softmax", "--plain").out
    assert "Press ↑ or ↓ until T is below 0.5" in out
    assert "Press “draw 1,000”" in out


def test_numbers_are_written_with_their_headings() -> None:
    out = run("learn", "--plain", "surprise-is-the-loss").out
    assert "\nloss, nats a token: " in out


def test_page_that_was_open_last_is_printed_with_what_is_done(home: Path) -> None:
    lesson = read_lesson()
    lesson.move_to(1)
    lesson.instrument.done.add("guessed")
    lesson.note()
    again = run("learn", "--plain").out
    assert again.startswith("Page 2 of 11\n")
    assert "- done: Type the word that you expect next" in again
    assert "- to do: Guess a word right." in again


def test_own_text_is_used(tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("These are the words that I wrote myself.")
    assert "that I wrote myself.”" in run("learn", "1", "--text", str(text)).out
    piped = run("learn", "1", "--text", "-", stdin="A \x1b[31m text that is piped in.")
    assert "text that is piped in.”" in piped.out
    assert "\x1b" not in piped.out


def test_what_can_not_be_used_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    for arguments, words in (
        (["12"], "there is no such page: 12"),
        (["--text", str(tmp_path / "none")], "there is no such file"),
        (["--text", str(empty)], "the text is empty"),
    ):
        result = run("learn", *arguments)
        assert (result.code, result.out) == (2, ""), arguments
        assert words in result.err
        assert "hint: " in result.err
