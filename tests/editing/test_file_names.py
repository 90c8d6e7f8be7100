"""Names of files: what they mean, what is wrong with them, how they go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.editing.file_names import completed, path_named, why_no_notes, why_not


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few names, which is the present one and the user's own."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("1")
    (tmp_path / "note.md").write_text("")
    (tmp_path / ".hidden").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_path_named_expands_home_and_trims_spaces(folder: Path) -> None:
    assert path_named(" note.md ") == path_named("~/note.md") == folder / "note.md"
    assert path_named("/a/b") == Path("/a/b")
    assert path_named("  ") is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("new.txt", ""),
        ("note.md", ""),
        ("~/notes/two.txt", ""),
        ("", "give a name"),
        ("notes", "this is a folder"),
        ("nowhere/new.txt", "there is no such folder"),
        ("note.md/new.txt", "there is no such folder"),
        ("/dev/null", "this is no regular file"),
        ("a\0b", "this can't be a file name"),
        ("~nobody-of-that-name/a", "this can't be a file name"),
        ("x" * 5000, "this can't be a file name"),
    ],
)
def test_why_not_explains_an_unusable_file_name(name: str, reason: str) -> None:
    assert why_not(name) == reason


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("n", "note"),
        ("notes", "notes/"),
        ("notes/", "notes/one.txt"),
        ("~/note.", "~/note.md"),
        (".h", ".hidden"),
        ("", "note"),
        ("x", "x"),
        ("nowhere/x", "nowhere/x"),
        ("~nobody-of-that-name/", "~nobody-of-that-name/"),
    ],
)
def test_completed_extends_a_file_name(name: str, whole: str) -> None:
    assert completed(name) == whole


@pytest.mark.parametrize("name", ["a\0b", "~nobody-has-this-name/a", "x" * 300])
def test_notes_that_cannot_be_named_are_told(name: str) -> None:
    assert why_no_notes(name)
