"""Markdown that grows: everything stays visible, and pieces make the same whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style
from textual.selection import SELECT_ALL
from textual.widgets import Static

from lmtui.tui.finetune.screen import report_page
from lmtui.tui.widgets.markdown import MarkdownView
from lmtui.tui.widgets.markdown_blocks import STYLES, MarkdownBlock
from lmtui.tui.widgets.markdown_renderer import MarkdownStyles, blocks_of, cut, draw
from tests.examples import examples
from tests.tui.hosts import HOSTILE, Host, hosted, resized, safe

LOOK = MarkdownStyles({name: Style() for name in STYLES})

SAMPLE = """\
# A title

Words that are *slanted*, **bold** and `code`, a [link](http://example.org/x)
and a second line.

- one
- two
  - inside
- three

1. first
2. second

```python
def f(x):
    return x  # same
```

| name | value |
|------|------:|
| a    |     1 |

> quoted

The end.
"""


def drawn(text: str, width: int = 40) -> list[str]:
    """The lines of a text, block after block."""
    return [
        "".join(segment.text for segment in line).rstrip()
        for block in blocks_of(text)
        for line in draw(block, width, LOOK)
    ]


MARKDOWN = st.lists(
    st.sampled_from(
        ["a", "word ", "\n", "\n\n", "- ", "  - ", "1. ", "```\n", "> ", "# ", "|",
         "|-|\n", "*", "**", "`", "[x](y)", "<b>", "&lt;", "    ", "漢", "e\u0301"]
    ),
    max_size=40,
).map("".join)  # fmt: skip


@given(MARKDOWN)
def test_markdown_blocks_joined_are_the_text(text: str) -> None:
    assert "".join(block.source for block in blocks_of(text)) == text


@given(MARKDOWN, st.integers(1, 60))
def test_markdown_loses_no_letter_and_fits_the_width(text: str, width: int) -> None:
    lines = drawn(text, width)
    if width >= 30:
        for letters in ("word", "漢", "&lt;", "<b>"):
            shown = "".join(lines).replace(" ", "")
            assert shown.count(letters) == text.count(letters)
        assert all(cell_len(line) <= width for line in lines)


def test_markdown_draws_every_kind_of_block() -> None:
    assert drawn(SAMPLE) == [
        "A title",
        "Words that are slanted, bold and code, a",
        "link (http://example.org/x)",
        "and a second line.",
        " • one",
        " • two",
        "    • inside",
        " • three",
        " 1. first",
        " 2. second",
        " def f(x):",
        "     return x  # same",
        " name  value",
        " ───────────",
        " a         1",
        "▌ quoted",
        "The end.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<think>a plan</think>",
        "&#x202e;&#27;[31m",
        "[label]: http://example.org",
        "![picture](http://example.org/p.png)",
        "- " * 100 + "deep",
        "> " * 1000 + "deep",
        "999999999. high",
        "\ttabbed",
        "```\nnever closed",
    ],
)
def test_markdown_shows_text_that_markup_could_hide(text: str) -> None:
    lines = "".join(drawn(text, 50))
    assert all(word in lines for word in text.replace("-", " ").split() if len(word) > 3
               and word.isalpha())  # fmt: skip
    assert lines.strip()
    assert safe(lines)


async def test_markdown_draws_hostile_text_safely() -> None:
    async with hosted(words := MarkdownView(), (40, 20)) as (app, pilot):
        for name, text in HOSTILE.items():
            words.update(text)
            words.grow(text)
            words.grow("\n\nand **then** the end")
            await pilot.pause()
            assert safe(app.text()), name
            words.update(text + " over")
            await pilot.pause()
            assert safe(app.text()), name
            assert words.text == text + " over"


async def seen(words: MarkdownView, pieces: list[str], *, whole: bool) -> list[str]:
    """The screen after a text grew by these pieces, and was completed or not."""
    async with hosted(words, (50, 60)) as (app, pilot):
        for piece in pieces:
            words.grow(piece)
            await pilot.pause()
        if whole:
            words.update(words.text)
            await pilot.pause()
        return app.lines()


@settings(max_examples=examples(5, 25), deadline=None)
@example(SAMPLE, 7)
@given(MARKDOWN, st.integers(1, 9))
async def test_any_markdown_grown_in_pieces_equals_the_whole(
    text: str, size: int
) -> None:
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    at_once = await seen(MarkdownView(text), [], whole=True)
    for whole in (False, True):
        assert await seen(MarkdownView(), pieces, whole=whole) == at_once


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("```python\n" + "x = 1\n" * 200, "```python"),
        ("| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 200, "| a | b |"),
        ("word " * 3000, "word"),
    ],
)
def test_long_markdown_block_is_cut_without_loss(text: str, first: str) -> None:
    block = blocks_of(text)[0]
    _, grows = cut(block)
    assert grows.joined
    assert grows.source.startswith(first) or not grows.source.strip()
    assert len(grows.source) < 100
    longer = MarkdownBlock(text + "end", block.kind)
    before = "".join(drawn(longer.source)).count("1")
    after = sum("".join(drawn(part.source)).count("1") for part in cut(longer))
    assert before == after


def test_endless_word_is_not_cut() -> None:
    assert len(cut(blocks_of("x" * 10_000)[0])) == 1


async def test_markdown_is_laid_out_again_at_another_width() -> None:
    words = MarkdownView("one two three four five six")
    async with hosted(words, (40, 10)) as (app, pilot):
        await pilot.pause()
        assert app.lines()[0] == "one two three four five six"
        await resized(pilot, 12, 10)
        assert app.lines()[:3] == ["one two", "three four", "five six"]


async def test_markdown_view_is_as_high_as_its_text_while_it_grows() -> None:
    async with hosted(words := MarkdownView(), (40, 20)) as (_app, pilot):
        for height in range(1, 8):
            words.grow("one line  \n")
            await pilot.pause()
            assert words.size.height == height
        words.update(words.text)
        await pilot.pause()
        assert words.size.height == height


async def test_markdown_lines_can_be_selected() -> None:
    words = MarkdownView("first line\n\nsecond 漢字 line")
    async with hosted(words, (40, 10)) as (app, pilot):
        await pilot.mouse_down(words, offset=(6, 0))
        await pilot.hover(words, offset=(6, 2))
        await pilot.mouse_up(words, offset=(6, 2))
        await pilot.pause()
        assert app.screen.get_selected_text() == "line\n\nsecond"


PLAIN = st.lists(
    st.sampled_from(["a ", "word ", "two  words", " and", ", ", ". ", "漢字 ", "12 ",
                     "- ", "e\u0301", "longword" * 5]),
    min_size=20,
    max_size=40,
)  # fmt: skip
MARKED = st.lists(
    st.sampled_from(["*x* ", "`", "\n", "\n\n", "1. ", "\n- "]), max_size=2
)
MOSTLY_PLAIN = st.lists(st.tuples(PLAIN, MARKED), min_size=1, max_size=2).map(
    lambda parts: "".join("".join(["x", *plain, *marked]) for plain, marked in parts)
)


@settings(max_examples=examples(5, 25), deadline=None)
@given(MOSTLY_PLAIN, st.integers(3, 9), st.integers(12, 40), st.integers(12, 40))
async def test_growing_markdown_always_equals_the_text_drawn_at_once(
    text: str, size: int, width: int, other: int
) -> None:
    async with hosted(growing := MarkdownView(), (width, 40)) as (_app, pilot):
        for end in range(size, len(text) + size, size):
            growing.grow(text[end - size : end])
            if end // size == 20:
                await resized(pilot, other, 40)
            growing._lay_out(growing._width)
            rows = [(strip.text, list(strip)) for strip, _ in growing._rows]
            growing._drop_rows()
            growing._lay_out(growing._width)
            assert rows == [(strip.text, list(strip)) for strip, _ in growing._rows]
            at_once = [line for block in blocks_of(text[:end]) for line in
                       draw(block, growing._width, LOOK)]  # fmt: skip
            written = [
                strip.text.strip() for strip, _ in growing._rows if strip.text.strip()
            ]
            assert written == [
                line
                for segments in at_once
                if (line := "".join(segment.text for segment in segments).strip())
            ]


async def test_emoji_are_selected_as_they_were_written() -> None:
    text = "one 👍🏽 👨\u200d👩 🇩🇪 ❤\ufe0f end"
    async with hosted(words := MarkdownView(text), (60, 10)) as (app, _):
        assert "👍▒ 👨‿👩 ⒹⒺ ❤˖" in app.text()
        assert words.get_selection(SELECT_ALL) == (text, "\n")


async def test_a_text_that_comes_during_the_first_layout_is_seen_whole(
    tmp_path: Path,
) -> None:
    file = tmp_path / "report.md"
    file.write_text("one\n\n" * 5 + "the last line")
    for _ in range(3):  # it depends on which of two tasks is faster
        app = Host(Static())
        async with app.run_test(size=(60, 20)) as pilot:
            app.push_screen(report_page(file))
            for _ in range(200):
                await pilot.pause()
                if "the last line" in app.text():
                    break
            assert "the last line" in app.text()
