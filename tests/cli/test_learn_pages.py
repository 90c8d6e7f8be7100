"""Pages of the course are done line by line in the shell."""

from __future__ import annotations

import pytest

from tests.cli.program import run

PAGES = {
    "guess-the-next-word": ("time", "", "wrong", "was", "a", "poor", "fisherman"),
    "the-chain-rule": ("I sat.", "I saw it go.", ":swap"),
    "one-pass": ("The sun rises in x east and sets.", ":generate"),
    "softmax": (":slide -3", ":slide 6", ":draw", ":draw", ":draw"),
    "decoding": ("Once upon a time", ":again", ":long", ":slide -7"),
}


@pytest.mark.parametrize("page", PAGES)
def test_lines_do_a_page(page: str) -> None:
    done = run("learn", "--plain", page, stdin="\n".join(PAGES[page]) + "\n")
    assert (done.code, done.err) == (0, "")
    assert "This page is done; :next goes on." in done.out


def test_numbers_are_written_with_their_headings() -> None:
    lines = "A text.\n:first\n:pair\n:second\n"
    out = run("learn", "--plain", "surprise-is-the-loss", stdin=lines).out
    for words in (
        "\nloss, nats a token: ",
        "A: – bits\n",
        "Show two texts first.",
        "A: The capital of France is Paris.\n\nB: The capital of France is L",
        "is likelier per byte. ",
        "A: bits/byte ",
    ):
        assert words in out
    assert out.count("Done: ") == 2
