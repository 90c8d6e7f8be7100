"""The chat in 16 colours, in 256 and without any: what goes to the terminal stays
within that depth, and everything can still be read and told apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.tui.terminal import running

RUN = re.compile(r"\x1b\[([\d;]*)m([^\x1b]*)")
STANDARD = re.compile(r"[0-79]|[39][0-7]|4[0-7]|10[0-7]")
EIGHT_BIT = re.compile(r"[34]8;5;\d+|[0-79]|[39][0-7]|4[0-7]|10[0-7]")
OWN = re.compile(r"[0-79]|[34]9")
BOLD, UNDERLINED, REVERSED = "1", "4", "7"
DEPTHS = {
    "16 colours": ({"TERM": "xterm"}, STANDARD),
    "256 colours": ({"TERM": "xterm-256color"}, EIGHT_BIT),
    "no colour": ({"TERM": "xterm-256color", "NO_COLOR": "1"}, OWN),
}
ENDED = "100.0 tok"
F3, F4 = b"\x1bOR", b"\x1bOS"


@dataclass(frozen=True)
class Run:
    """Text drawn in one go, and how."""

    text: str
    attributes: frozenset[str]
    colour: str
    ground: str


def runs(written: bytes) -> Iterator[Run]:
    """Every run of text with the codes before it."""
    for codes, text in RUN.findall(written.decode(errors="replace")):
        parts = re.findall(r"[34]8;5;\d+|\d+", codes)
        colour = [p for p in parts if re.match(r"38;|3\d$|9\d$", p)]
        ground = [p for p in parts if re.match(r"48;|4\d$|10\d$", p)]
        plain = frozenset(parts) - {*colour, *ground}
        yield Run(text, plain, "".join(colour[-1:]), "".join(ground[-1:]))


def same(run: Run) -> bool:
    """Whether text and ground have one colour: nothing can be seen."""
    if not run.colour or not run.ground:
        return False
    if (run.colour, run.ground) == ("39", "49"):
        return False  # the terminal's own
    number = r"\d+$"
    colour, ground = re.search(number, run.colour), re.search(number, run.ground)
    assert colour and ground
    if ";" in run.colour:
        return colour[0] == ground[0]
    return int(colour[0]) + 10 == int(ground[0])


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_terminal_gets_no_more_colours_than_it_has(home: object, depth: str) -> None:
    env, allowed = DEPTHS[depth]
    engine = {"answers": [["one ", "zwei "]], "likelihood": 0.0005}
    with running("chat", engine=engine, env=env) as terminal:
        terminal.until("ready")
        terminal.ask(b"hi", "hi")
        terminal.ask(b"\r", ENDED)
        since = len(terminal.written)
        terminal.ask(F3, lambda text: "Token 1" in text and "zwei <end>" in text)
        (surprise,) = {run.attributes for run in runs(terminal.written[since:])
                       if run.text == "zwei "}  # fmt: skip
        terminal.ask(b"\x1b", "\n █ ")
        terminal.ask(F4, "‹ ")
        terminal.ask(F4, "T 0.7")
        assert terminal.leave() == 0
    assert surprise == {BOLD, UNDERLINED, REVERSED}
    for codes, _ in RUN.findall(terminal.written.decode(errors="replace")):
        for code in re.findall(r"[34]8;[25];[\d;]*?(?=;[34]8|$)|\d+", codes):
            assert allowed.fullmatch(code), codes
    unseen = {run for run in runs(terminal.written) if same(run) and _words(run.text)}
    assert not unseen


def _words(text: str) -> bool:
    return any(character.isalnum() for character in text)


@pytest.mark.parametrize("depth", DEPTHS)
def test_cursor_and_panel_marks_are_visible_at_every_colour_depth(
    home: object, depth: str
) -> None:
    engine = {"answers": ["one two"]}
    with running("chat", engine=engine, env=DEPTHS[depth][0]) as terminal:
        terminal.until("ready")
        terminal.ask(b"zqx", "zqx ")
        drawn = list(runs(terminal.written))
        field = next(run for run in drawn if run.text.endswith("zqx"))
        after = drawn[drawn.index(field) + 1 :]
        cursor = next(run for run in after if run.text)
        assert cursor.text == " "
        assert (cursor.ground, cursor.attributes) != (field.ground, field.attributes)
        since = len(terminal.written)
        terminal.ask(b"\r", ENDED)

        def looks(mark: str) -> list[tuple[object, object]]:
            """The colours that a mark was drawn in, and what is behind it."""
            drawn = runs(terminal.written[since:])
            return [(run.colour, run.ground) for run in drawn if run.text == mark]

        marks = ("●", " m", " p")
        terminal.wait(lambda: all(looks(mark) for mark in marks))
    for mark in marks:
        colour, ground = looks(mark)[-1]
        assert colour != ground
