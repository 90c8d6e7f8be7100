"""`lmtui themes`: the list, and a file to start from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lmtui.tui.themes import load_themes, theme_of
from tests.cli.program import run, run_in_terminal

SHIPPED = [theme.name for theme in load_themes().themes]
MINE = 'primary = "#112233"\nforeground = "white"\nbackground = "#000000"\n'


@pytest.fixture
def folder(empty_home: Path) -> Path:
    """The user's themes, none yet."""
    folder = empty_home / "themes"
    folder.mkdir()
    return folder


def test_names_and_the_folder_for_others_are_listed(folder: Path) -> None:
    (folder / "mine.toml").write_text(MINE)
    done = run("themes")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [*SHIPPED, "mine", "", f"your own themes: {folder}"]


def test_broken_and_unknown_themes_are_noted(folder: Path) -> None:
    (folder / "bad\x1b.toml").write_text("primary = 3")
    done = run("themes", env={"LMTUI_THEME": "drak"})
    assert done.code == 0
    first, second = done.err.splitlines()
    shown = f"{folder}/bad␛.toml"
    assert first == f"note: {shown} was skipped: foreground is missing"
    assert second.startswith("note: unknown theme: drak in LMTUI_THEME; Did you mean")
    assert done.out.startswith("dark\n")


def test_show_prints_a_theme_file_that_loads_the_same() -> None:
    for name in SHIPPED:
        done = run("themes", "--show", name)
        theme = theme_of(tomllib.loads(done.out), name="")
        assert theme == load_themes().get(name)


def test_show_of_an_unknown_theme_is_an_error() -> None:
    done = run("themes", "--show", "lihgt")
    assert (done.code, done.out) == (2, "")
    error, hint = done.err.splitlines()
    assert error == "error: unknown theme: lihgt"
    assert hint.startswith("hint: Did you mean light? There are dark, ")


ENGINE = {"engine": {"answers": ["HELLO"]}}
QUIT = b"\x11"
COLOUR = re.compile(rb"[34]8;2;(\d+);(\d+);(\d+)")
TRUECOLOR = {"COLORTERM": "truecolor"}


def colours(written: bytes) -> set[tuple[bytes, ...]]:
    """Every colour that was drawn with, but greys."""
    return {found for found in COLOUR.findall(written) if len(set(found)) > 1}


def test_an_unknown_theme_by_flag_opens_no_screen() -> None:
    code, written = run_in_terminal("chat", "--theme", "nope", script=ENGINE)
    assert code == 2
    assert written.startswith(b"error: unknown theme: nope\r\nhint: There are dark, ")
    assert b"\x1b[?1049h" not in written
    done = run("chat", "--once", "hi", "--theme", "nope", script=ENGINE)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: unknown theme: nope\nhint: There are dark, ")


def test_theme_flag_sets_the_colours_of_the_screen() -> None:
    code, written = run_in_terminal(
        "chat", "--theme", "light", script=ENGINE, env=TRUECOLOR,
        size=(40, 120), typed=[(b"ready", QUIT)],
    )  # fmt: skip
    assert code == 0
    assert b"48;2;251;250;247" in written  # the background of light.toml


@pytest.mark.parametrize(
    ("variable", "told"),
    [("LMTUI_THEME", b"Unknown theme"), ("TEXTUAL_THEME", b"ready")],
)
def test_unknown_theme_in_a_variable_falls_back_to_dark(
    variable: str, told: bytes
) -> None:
    code, written = run_in_terminal(
        "chat", script=ENGINE, env={variable: "nope"} | TRUECOLOR,
        size=(40, 120), typed=[(told, QUIT)],
    )  # fmt: skip
    assert code == 0
    assert b"48;2;20;22;27" in written  # the background of dark.toml


@pytest.mark.parametrize(
    ("arguments", "env", "colourless"),
    [
        (("--no-color",), {}, True),
        ((), {"NO_COLOR": ""}, False),
    ],
)
def test_no_color_draws_the_screen_without_colours(
    arguments: tuple[str, ...], env: dict[str, str], colourless: bool
) -> None:
    code, written = run_in_terminal(
        "chat", *arguments, script=ENGINE, env=TRUECOLOR | env,
        size=(40, 120), typed=[(b"ready", b"hi\r"), (b"HELLO", QUIT)],
    )  # fmt: skip
    assert code == 0
    assert (colours(written) == set()) == colourless


def test_theme_chosen_on_the_screen_is_saved(empty_home: Path) -> None:
    file = empty_home / "config.toml"
    file.write_text("# mine\nthreads = 1  # one\n")
    code, written = run_in_terminal(
        "chat", script=ENGINE, env={"LMTUI_THEME": "dark"}, size=(40, 120),
        typed=[
            (b"ready", b"\x10"),
            (b"Search for commands", b"theme"),
            (b"Choose a theme", b"\r"),
            (b"colour-blind-safe", b"\x1b[B\r"),
            (b"Theme saved", QUIT),
        ],
    )  # fmt: skip
    assert code == 0
    assert b"Where LMTUI_THEME is given" in written
    assert file.read_text() == (
        '# mine\nthreads = 1  # one\ntheme = "colour-blind-safe"\n'
    )
