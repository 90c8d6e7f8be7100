"""Files named as context, and the texts of folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.editing import context_files
from lmtui.editing.context_files import read_context
from lmtui.engine.document.types import ContextFile
from lmtui.errors import LmtuiError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "book"
    (base / "part").mkdir(parents=True)
    (base / ".git").mkdir()
    (base / "b.md").write_text("second\r\n", newline="")
    (base / "a.txt").write_text("first")
    (base / "own.txt").write_text("mine")
    (base / "part" / "c.txt").write_text("third")
    (base / "picture.png").write_bytes(b"\x89PNG\0\0")
    (base / ".hidden").write_text("no")
    (base / ".git" / "config").write_text("no")
    (base / "long.txt").write_text("x" * (context_files.LONGEST + 1))
    return base


def test_folder_gives_its_texts_but_the_own_one(folder: Path) -> None:
    assert read_context([str(folder)], folder / "own.txt") == (
        ContextFile("book/a.txt", "first"),
        ContextFile("book/b.md", "second\n"),
        ContextFile("book/part/c.txt", "third"),
    )


def test_files_are_read_in_the_given_order(folder: Path) -> None:
    names = [str(folder / "b.md"), str(folder / "a.txt")]
    assert [f.name for f in read_context(names, folder / "own.txt")] == [
        "b.md",
        "a.txt",
    ]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("book/none.txt", "there is no such file"),
        ("book/picture.png", "not a text|text"),
        ("book/.git/empty", "the folder has no texts"),
    ],
)
def test_what_can_not_be_read_is_an_error(
    folder: Path, tmp_path: Path, name: str, title: str
) -> None:
    (folder / ".git" / "empty").mkdir()
    with pytest.raises(LmtuiError, match=title):
        read_context([str(tmp_path / name)], folder / "own.txt")


def test_folder_with_too_many_texts_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_files, "MOST", 2)
    with pytest.raises(LmtuiError, match="too large"):
        read_context([str(folder)], folder / "own.txt")


def test_files_that_are_too_long_together_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_files, "MOST_CHARACTERS", 16)
    names = [str(folder / "a.txt"), str(folder / "b.md")]
    assert len(read_context(names, folder / "own.txt")) == 2
    monkeypatch.setattr(context_files, "MOST_CHARACTERS", 11)
    with pytest.raises(LmtuiError, match="too long"):
        read_context(names, folder / "own.txt")
