"""`lmtui themes`: the list, its samples, and a file to start from."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from lmtui.tui.themes import load_themes, theme_of
from tests.cli.program import SGR, run, run_in_terminal

SHIPPED = [theme.name for theme in load_themes().themes]
MINE = 'primary = "#112233"\nforeground = "white"\nbackground = "#000000"\n'


@pytest.fixture
def folder(empty_home: Path) -> Path:
    """The user's themes, none yet."""
    folder = empty_home / "themes"
    folder.mkdir()
    return folder


def test_a_pipe_gets_a_plain_table(empty_home: Path) -> None:
    done = run("themes")
    assert (done.code, done.err) == (0, "")
    heading, *lines = done.out.splitlines()
    assert heading.split() == ["NAME", "KIND", "FROM", "IN", "USE"]
    assert [line.split()[0] for line in lines[: len(SHIPPED)]] == SHIPPED
    assert lines[0].split() == ["dark", "dark", "shipped", "yes"]
    assert lines[-1] == f"your own themes: {empty_home / 'themes'}"
    assert "\x1b" not in done.out


def test_a_terminal_gets_samples_in_each_themes_colours() -> None:
    code, written = run_in_terminal("themes", env={"COLORTERM": "truecolor"})
    text = written.decode()
    assert code == 0
    for theme in load_themes().themes:
        for name in ("surprise-5", "prob-raw", "prob-sampled"):
            red, green, blue = bytes.fromhex(theme.variables[name][1:])
            assert f"38;2;{red};{green};{blue}" in text, (theme.name, name)
    lines = SGR.sub("", text).splitlines()
    assert lines[1].split()[:4] == ["●", "dark", "dark", "shipped"]
    assert max(map(len, lines[: len(SHIPPED) + 1])) <= 80


@pytest.mark.parametrize(
    ("arguments", "env"), [([], {"NO_COLOR": "1"}), (["--no-color"], {})]
)
def test_without_colours_a_terminal_gets_the_table(
    arguments: list[str], env: dict[str, str]
) -> None:
    code, written = run_in_terminal("themes", *arguments, env=env)
    assert code == 0
    assert b"IN USE" in written
    assert b"38;2" not in written


def test_json_is_one_theme_a_line(folder: Path) -> None:
    (folder / "mine.toml").write_text(MINE)
    done = run("themes", "--json", env={"LMTUI_THEME": "mine"})
    by_name = {event["name"]: event for event in done.events}
    assert set(by_name) == {*SHIPPED, "mine"}
    assert by_name["mine"]["from"] == "yours"
    assert by_name["mine"]["file"] == str(folder / "mine.toml")
    assert by_name["mine"]["colours"]["prob-sampled"] == "#112233"
    assert by_name["paper"]["kind"] == "light"
    assert [name for name in by_name if by_name[name]["in_use"]] == ["mine"]


def test_what_is_wrong_is_a_note(folder: Path) -> None:
    (folder / "bad\x1b.toml").write_text("primary = 3")
    done = run("themes", env={"LMTUI_THEME": "drak"})
    assert done.code == 0
    first, second = done.err.splitlines()
    shown = f"{folder}/bad␛.toml"
    assert first == f"note: {shown} was skipped: foreground is missing"
    assert second.startswith("note: unknown theme: drak in LMTUI_THEME; Did you mean")
    assert "dark dark shipped yes" in " ".join(done.out.split())


@pytest.mark.parametrize("name", SHIPPED)
def test_the_file_of_a_theme_can_be_started_from(name: str) -> None:
    done = run("themes", "--show", name)
    assert done.err == ""
    theme = theme_of(tomllib.loads(done.out), name="")
    assert theme == load_themes().get(name)


def test_the_file_of_no_theme() -> None:
    done = run("themes", "--show", "papr")
    assert (done.code, done.out) == (2, "")
    error, hint = done.err.splitlines()
    assert error == "error: unknown theme: papr"
    assert hint.startswith("hint: Did you mean paper? There are dark, ")
