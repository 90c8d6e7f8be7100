"""Panes: paragraphs broken at words, in any width, and followed to their end."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui.notation import lasting, perplexity
from lmtui.train.events import Doing, Eval, Plan, Skip, Step, Warned
from lmtui.tui.finetune.format import describe_event, epochs
from lmtui.tui.widgets.cells import chunks, words
from lmtui.tui.widgets.paragraphs import (
    Pane,
    Paragraph,
    Paragraphs,
    paragraphs,
    wrapped,
)
from tests.fake_training import PLAN
from tests.tui.hosts import hosted, resized, until

PARTS = st.lists(
    st.tuples(st.text("ab é漢\u0301👍", max_size=12), st.sampled_from(["", "quiet"])),
    max_size=5,
)


def text_of(lines: list) -> list[str]:  # type: ignore[type-arg]
    return ["".join(text for text, _ in line) for line in lines]


@given(PARTS, st.integers(2, 30), st.integers(0, 8))
def test_wrapped_paragraph_fits_and_loses_only_spaces(
    parts: list[tuple[str, str]], width: int, indent: int
) -> None:
    lines = text_of(wrapped(Paragraph(tuple(parts), indent), width))
    assert lines and all(cell_len(line.rstrip()) <= width for line in lines)
    before = "".join(text for text, _ in parts)
    assert "".join("".join(lines).split()) == "".join(before.split())


def test_wrapped_paragraph_keeps_words_whole_and_indents() -> None:
    paragraph = Paragraph((("now     ", "quiet"), ("one two three four", "")), 8)
    assert text_of(wrapped(paragraph, 16)) == [
        "now     one two ",
        "        three ",
        "        four",
    ]


def test_wrapped_wide_text_fills_its_lines() -> None:
    paragraph = Paragraph((("one 漢字漢字漢字。漢", ""),))
    assert text_of(wrapped(paragraph, 8)) == ["one 漢字", "漢字漢", "字。漢"]


@given(st.text("ab (「漢字。」\u3099é\u0301👍\u200d", max_size=40))
def test_chunks_of_a_line_joined_are_the_line(line: str) -> None:
    assert "".join(words().findall(line)) == line
    parts = [match[0] for match in chunks(line).finditer(line)]
    assert "".join(parts) == line
    for before, part in pairwise(parts):
        assert part[0] not in "。」)\u3099\u0301\u200d" or before[-1].isspace()


def test_wrapped_paragraph_keeps_the_style_on_the_next_line() -> None:
    first, second = wrapped(Paragraph((("aa bb", "strong"),)), 3)
    styles = [style for text, style in (*first, *second) if text.strip()]
    assert styles == ["strong", "strong"]


def still(pane: Pane) -> bool:
    """Whether no scrolling is going on."""
    return pane.scroll_y == pane.scroll_target_y


async def test_pane_follows_the_end_while_scrolled_to_it() -> None:
    pane = Pane("Log", id="log", follow=True)
    async with hosted(pane, (20, 6)) as (app, pilot):
        pane.focus()
        lines = [f"line {number}" for number in range(40)]
        pane.show(paragraphs("\n".join(lines[:20]), ""))
        await pilot.pause()
        assert "line 19" in app.text()
        await pilot.press("pageup")
        await until(pilot, lambda: still(pane) and "line 19" not in app.text())
        seen = app.text()
        pane.show(paragraphs("\n".join(lines), ""))
        await pilot.pause()
        assert app.text().split("\n")[1] == seen.split("\n")[1]  # nothing jumps
        await pilot.press("end")
        await until(pilot, lambda: still(pane) and "line 39" in app.text())


async def test_paragraphs_rewrap_at_another_width() -> None:
    async with hosted(Paragraphs(), (12, 6)) as (app, pilot):
        assert isinstance(app.widget, Paragraphs)
        app.widget.show(paragraphs("one two three four", ""))
        await pilot.pause()
        assert [line for line in app.lines() if line] == ["one two", "three four"]
        await resized(pilot, 40, 6)
        assert [line for line in app.lines() if line] == ["one two three four"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (5340, "89 min"),
        (5399, "1 h 30 min"),
        (86_400 * 2 + 3600, "2 d 1 h"),
        (math.nan, "–"),
    ],
)
def test_lasting_says_a_duration_in_words(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_epochs_and_perplexity_format_their_numbers() -> None:
    assert [epochs(value) for value in (3.0, 0.5, 1.25, math.nan)] == [
        "3", "0.5", "1.25", "–"]  # fmt: skip
    assert [perplexity(value) for value in (13.824, 4.9e4, 3e10, None)] == [
        "13.82", "49,000", "3.0e10", "–"]  # fmt: skip


def test_describe_event_omits_what_is_shown_elsewhere() -> None:
    step = Step(1, 0.1, 2.0, 1e-4, 1.0, 10, 5.0, 3.0, 100)
    assert describe_event(step) is None
    doing = Doing("reading", 0.5)
    assert (
        describe_event(doing) is not None
        and describe_event(doing, Doing("reading", 0.4)) is None
    )
    best = Eval(4, 2.5, 12.2, 0.9, best=True)
    assert words_of(best) == "step 4: held-out loss 2.500, the best"
    assert words_of(Skip("a\x1b.md", "binary")) == "skipped a␛.md: binary"
    assert words_of(Warned("the disk is nearly full")) == "! the disk is nearly full"
    assert isinstance(PLAN, Plan)
    assert words_of(PLAN) == "planned: 30 steps at most"


def words_of(event: Eval | Skip | Warned | Plan) -> str:
    line = describe_event(event)
    assert line is not None
    return "".join(text for text, _ in line.parts)
