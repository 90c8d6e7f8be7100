"""`lmtui help`: the topics that other texts name, and what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from lmtui.cli.help import completions, topics
from tests.cli.program import REPOSITORY, run

README = (REPOSITORY / "README.md").read_text("utf-8")


def test_help_lists_every_topic(empty_home: Path) -> None:
    done = run("help")
    assert (done.code, done.err) == (0, "")
    listed = {line.split()[0] for line in done.out.splitlines()[1:]}
    assert listed == set(topics())


@pytest.mark.parametrize("group", [(), ("history",), ("adapters",), ("models",)])
def test_summaries_of_commands_are_not_cut(
    group: tuple[str, ...], empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run(*group, "--help")
    _, _, listed = done.out.partition("\nCommands:\n")
    assert len(listed.splitlines()) >= 4
    assert not [line for line in listed.splitlines() if not line.endswith(".")]
    assert "..." not in listed


@pytest.mark.parametrize("name", topics())
def test_a_topic_is_printed_and_fits_a_terminal(name: str, empty_home: Path) -> None:
    done = run("help", name)
    assert (done.code, done.err) == (0, "")
    title, blank, *rest = done.out.splitlines()
    assert title and not blank and len(rest) > 5
    assert max(map(cell_len, done.out.splitlines())) <= 80


def test_topics_named_in_readme_and_topics_exist() -> None:
    texts = [README, *(file.read_text("utf-8") for file in topics().values())]
    named = {name for text in texts for name in re.findall(r"lmtui help (\w+)", text)}
    assert named - {"TOPIC"} <= set(topics())
    assert "glossary" in named


def test_an_unknown_topic_is_an_error_with_the_nearest_one(empty_home: Path) -> None:
    done = run("help", "number")
    assert done.code == 2
    assert "there is no such topic: number" in done.err
    assert "Did you mean numbers?" in done.err


def test_topic_names_are_completed() -> None:
    assert completions("g") == ["glossary", "grammar"]
    assert completions("x") == []
