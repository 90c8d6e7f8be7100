"""Cells with two bars, as the screen and the dialog draw them."""

from __future__ import annotations

from lmtui.learn.figure import Cell, Column, Table
from lmtui.learn.plain import figure_lines
from lmtui.tui.learn.figure_view import part_lines

TABLE = Table(
    "",
    (Column("token"), Column("", grows=True), Column("drawn", right=True)),
    (
        (Cell("more"), Cell("", 0.5, second=0.25), Cell("25")),
        (Cell("less"), Cell("", 0.25, second=0.5), Cell("50")),
        (Cell("none"), Cell("", 0.5), Cell("")),
    ),
)


def test_second_bar_is_the_lower_half() -> None:
    width = 5 + 2 + 8 + 2 + 5
    rows = list(part_lines(TABLE, width))[1:]
    drawn = ["".join(text for text, _ in row) for row in rows]
    assert all(len(line) == width for line in drawn)
    assert [line[7:15] for line in drawn] == ["██▀▀    ", "██▄▄    ", "████    "]
    bars = [[part for part in row if part[1] in ("raw", "sampled")] for row in rows]
    assert [[style for text, style in bar if text.strip()] for bar in bars] == [
        ["sampled", "raw"],
        ["sampled"],
        ["raw"],
    ]


def test_dialog_leaves_bars_out() -> None:
    assert next(iter(figure_lines((TABLE,)))) == "token more, drawn 25"
