"""The pages on guesses, products and surprise, line by line in the shell."""

from __future__ import annotations

import pytest

from tests.cli.program import run


def dialog(page: str, *lines: str) -> str:
    """What is written on a page of the course for these lines."""
    result = run("learn", "--plain", page, stdin="".join(f"{line}\n" for line in lines))
    assert (result.code, result.err) == (0, "")
    return result.out


def test_guesses_are_answered_and_the_page_is_done() -> None:
    words = ("time", "", "wrong", "was", "a", "poor", "fisherman")
    out = dialog("guess-the-next-word", *words)
    assert "Write a line for: Next word." in out
    assert "Once upon a ____\n" in out
    assert "“time” is right.\nOnce upon a time ____\n\nright: word time, " in out
    assert "It was “there”." in out
    assert "Not “wrong”. Guesses left: 2." in out
    assert "guess: word wrong, the model's p " in out
    assert "You: 5 of 6 words, " in out
    assert out.count("Done: ") == 3
    assert "This page is done; :next goes on." in out


def test_chain_has_all_numbers_of_each_token_and_the_page_is_done() -> None:
    out = dialog("the-chain-rule", "I sat.", "I ate.", ":swap", "I saw it go.", ":swap")
    assert "“The dog bit the man.”, given “T”: 1 in " in out
    assert "token I: p –, product so far –, log p –, sum so far –" in out
    assert "Before: “I sat.”, Σ log P −" in out
    assert "Enter a sentence with three different words or more." in out
    assert "“I it saw go.”" in out
    assert "Press :swap to swap" in out
    assert "This page is done; :next goes on." in out


def test_surprise_has_totals_and_pairs() -> None:
    out = dialog("surprise-is-the-loss", "A text.", ":first", ":pair", ":second")
    assert "\nloss, nats a token: " in out
    assert "A: – bits\n" in out
    assert "Show two texts first." in out
    assert "A: The capital of France is Paris.\n\nB: The capital of France is L" in out
    assert "is likelier per byte. " in out
    assert "A: bits/byte " in out
    assert out.count("Done: ") == 2


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ("one-pass", ["The sun rises in x east and sets.", ":generate"]),
        ("softmax", [":slide -3", ":slide 6", ":draw", ":draw", ":draw"]),
        ("decoding", ["Once upon a time", ":again", ":long", ":slide -7"]),
    ],
)
def test_other_pages_are_done(page: str, lines: list[str]) -> None:
    assert "This page is done; :next goes on." in dialog(page, *lines)
