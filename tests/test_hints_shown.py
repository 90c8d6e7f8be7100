"""What is told once: once, in every program, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui import paths
from lmtui.state import first_time


def test_first_time_is_true_once_per_hint(home: Path) -> None:
    assert first_time("start")
    assert first_time("chat")
    assert not first_time("start")
    assert not first_time("chat")
    assert [file.name for file in paths.state_folder().iterdir()] == ["seen.json"]


@pytest.mark.parametrize("text", ["", "{", '{"start": 1}', "[" * 100_000, "\0", "[1]"])
def test_broken_file_of_hints_is_begun_anew(home: Path, text: str) -> None:
    paths.ensure_folder(paths.state_folder())
    (paths.state_folder() / "seen.json").write_text(text)
    assert first_time("start")
    assert not first_time("start")


def test_first_time_is_false_where_nothing_can_be_written(home: Path) -> None:
    paths.ensure_folder(paths.state_folder().parent)
    paths.state_folder().write_text("in the way")
    assert not first_time("start")
