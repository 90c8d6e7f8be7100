"""`lmtui help`: the topics that other texts name, and what it prints."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from rich.cells import cell_len

from lmtui.cli.help import topics
from lmtui.cli.main import app
from lmtui.cli.screen import read_lesson
from tests.cli.program import REPOSITORY, run

README = (REPOSITORY / "README.md").read_text("utf-8")


def examples(command: Any) -> Iterator[str]:
    """Yield the command lines in the help of a command and of those below it."""
    _, _, lines = (command.help or "").partition("Examples:")
    for line in lines.splitlines():
        yield from re.findall(r"\blmtui\b([^|<>#]*)", line)
    if isinstance(command, typer.core.TyperGroup):
        context = typer.Context(command)
        for name in command.list_commands(context):
            yield from examples(command.get_command(context, name))


def parse(command: Any, arguments: list[str], above: Any = None) -> None:
    """Parse a command line as the program does, without running it."""
    context = command.make_context("lmtui", list(arguments), parent=above)
    if isinstance(command, typer.core.TyperGroup) and arguments:
        name, found, rest = command.resolve_command(context, arguments)
        assert found is not None, name
        parse(found, rest, context)


def test_help_lists_every_topic() -> None:
    done = run("help")
    assert (done.code, done.err) == (0, "")
    listed = {line.split()[0] for line in done.out.splitlines()[1:]}
    assert listed == set(topics())


@pytest.mark.parametrize("group", [(), ("history",), ("adapters",), ("models",)])
def test_summaries_of_commands_are_not_cut(group: tuple[str, ...]) -> None:
    _, _, listed = run(*group, "--help").out.partition("\nCommands:\n")
    assert len(listed.splitlines()) >= 4
    assert not [line for line in listed.splitlines() if not line.endswith(".")]
    assert "..." not in listed


def test_examples_of_help_can_be_parsed() -> None:
    root = typer.main.get_command(app)
    # --install-completion writes into the files of the shell while it is parsed.
    lines = {*examples(root)} - {" --install-completion"}
    assert len(lines) > 90
    refused = []
    for line in sorted(lines):
        try:
            parse(root, shlex.split(line))
        except Exception as error:
            refused.append(f"lmtui{line}: {error}")
    assert refused == []


def test_pages_in_the_examples_of_learn_exist() -> None:
    lines = [*examples(typer.main.get_command(app))]
    told = [re.fullmatch(r" learn (\w[\w-]*)( .*)?", line) for line in lines]
    pages = [match[1] for match in told if match]
    assert len(pages) >= 2
    for page in pages:
        read_lesson(page)


@pytest.mark.parametrize("name", topics())
def test_a_topic_is_printed_and_fits_a_terminal(name: str) -> None:
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


def test_an_unknown_topic_is_an_error_with_the_nearest_one() -> None:
    done = run("help", "number")
    assert done.code == 2
    assert "there is no such topic: number" in done.err
    assert "Did you mean numbers?" in done.err
