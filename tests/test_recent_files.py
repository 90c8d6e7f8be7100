"""The files of late: the newest first, and never in the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmtui.state import recent_files, remember
from tests.cli.program import run, run_in_terminal


def made(folder: Path, *names: str) -> list[str]:
    """Files of these names, as a user would name them."""
    for name in names:
        (folder / name).write_text(name, encoding="utf-8")
    return [str(folder / name) for name in names]


def shown() -> list[str]:
    return [path.name for path in recent_files()]


def test_recent_files_list_the_newest_first_and_once(
    home: Path, tmp_path: Path
) -> None:
    a, b, c = made(tmp_path, "a", "b", "c")
    remember([a, b])
    remember([c])
    remember([a])
    assert shown() == ["a", "c", "b"]
    assert all(path.is_absolute() for path in recent_files())


def test_twenty_recent_files_are_kept(home: Path, tmp_path: Path) -> None:
    remember(made(tmp_path, *(f"{number}" for number in range(25))))
    assert shown() == [f"{number}" for number in reversed(range(5, 25))]


def test_a_missing_file_is_not_shown_until_it_is_back(
    home: Path, tmp_path: Path
) -> None:
    a, b = made(tmp_path, "a", "b")
    remember([a, b])
    Path(b).unlink()
    assert shown() == ["a"]
    made(tmp_path, "b")
    assert shown() == ["b", "a"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b"[1, null]", b"\xff\xfe", b'["\\u0000", "x\\n"]']
)
def test_broken_list_of_recent_files_is_empty(
    home: Path, tmp_path: Path, content: bytes
) -> None:
    (home / "state").mkdir()
    (home / "state" / "recent.json").write_bytes(content)
    assert recent_files() == ()
    remember(made(tmp_path, "a"))
    assert shown()[0] == "a"


def test_unwritable_home_remembers_no_recent_files(home: Path, tmp_path: Path) -> None:
    (home / "state").write_text("no folder", encoding="utf-8")
    remember(made(tmp_path, "a"))
    assert recent_files() == ()


def test_names_that_are_not_utf8_are_kept(home: Path, tmp_path: Path) -> None:
    name = str(tmp_path / "\udcff.txt")
    Path(name).write_text("a", encoding="utf-8")
    remember([name])
    assert [str(path) for path in recent_files()] == [name]


def test_inspect_remembers_files_only_on_a_terminal(home: Path, tmp_path: Path) -> None:
    a, b = made(tmp_path, "a", "b")
    run("inspect", a)
    assert not (home / "state").exists()
    run_in_terminal("inspect", b, "--plain")
    assert json.loads((home / "state" / "recent.json").read_bytes()) == [b]
