"""Which files are notes: what is named, found, matched and left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmtui.errors import LmtuiError
from lmtui.train.events import Skip
from lmtui.train.notes import find
from tests.train.notes_tree import write

Found = tuple[Path, dict[str, Path], tuple[Skip, ...]]


def names(found: Found) -> list[str]:
    return list(found[1])


def skipped(found: Found) -> dict[str, str]:
    return {skip.path: skip.reason for skip in found[2]}


def refused(*places: str | Path) -> LmtuiError:
    with pytest.raises(LmtuiError) as caught:
        find(places)
    assert caught.value.title and caught.value.hint
    return caught.value


def test_find_lists_the_files_of_a_folder_by_name(tmp_path: Path) -> None:
    write(tmp_path, {"b.md": "", "a/c.txt": "", "a-b.py": "", "a/b/.d/e": "", "Z": ""})
    found = find([tmp_path])
    assert found[0] == tmp_path
    assert names(found) == ["Z", "a-b.py", "a/c.txt", "b.md"]
    assert list(found[1].values()) == [tmp_path / name for name in names(found)]
    assert skipped(found) == {"a/b/.d": "a hidden folder"}


def test_hidden_and_program_files_are_skipped_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".git/config": "",
            ".git/objects/a": "",
            "node_modules/a/b.md": "",
            "x/__pycache__/b.pyc": "",
            ".env": "",
            "a.md~": "",
            "a.md": "",
        },
    )
    found = find([tmp_path])
    assert names(found) == ["a.md"]
    assert skipped(found) == {
        ".env": "hidden",
        ".git": "a hidden folder",
        "a.md~": "a backup copy",
        "node_modules": "a folder of programs, not of notes",
        "x/__pycache__": "a folder of programs, not of notes",
    }


def test_named_hidden_files_and_folders_are_read(tmp_path: Path) -> None:
    write(tmp_path, {".a.md": "", ".b/c.md": "", ".b/.d": "", "node_modules/e": ""})
    found = find([tmp_path / ".a.md", tmp_path / ".b", tmp_path / "node_modules"])
    assert found[0] == tmp_path
    assert names(found) == [".a.md", ".b/c.md", "node_modules/e"]
    both = find([tmp_path, tmp_path / ".a.md", tmp_path / ".b"])
    assert names(both) == [".a.md", ".b/c.md"]
    assert list(skipped(both)) == [".b/.d", "node_modules"]


def test_root_is_the_named_or_common_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a/x/1.md": "", "a/y/2.md": "", "b.md": ""})
    assert find([tmp_path / "a" / "x" / "1.md"])[0] == tmp_path / "a" / "x"
    assert find([tmp_path / "a" / "x", tmp_path / "a" / "y"])[0] == tmp_path / "a"
    assert find([tmp_path / "a/x/1.md", tmp_path / "a"])[0] == tmp_path / "a"
    assert find([tmp_path / "a/*/*.md"])[0] == tmp_path / "a"
    monkeypatch.chdir(tmp_path / "a")
    assert find(["**/*.md"])[0] == tmp_path / "a"
    assert names(find(["x", "../b.md"])) == ["a/x/1.md", "b.md"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names(find(["~/a"])) == ["x/1.md", "y/2.md"]


def test_file_named_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": ""})
    twice: list[str | Path] = [
        tmp_path / "a.md",
        f"{tmp_path}/./a.md",
        tmp_path,
        f"{tmp_path}/*.md",
    ]
    assert names(find(twice)) == ["a.md"]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("*.md", ["1.md"]),
        ("**/*.md", ["1.md", "a/2.md", "a/b/3.md"]),
        ("**/**/*.md", ["1.md", "a/2.md", "a/b/3.md"]),
        ("a/**", ["a/2.md", "a/b/3.md", "a/b/4.txt"]),
        ("?", ["a/2.md", "a/b/3.md", "a/b/4.txt"]),
        ("*/b/[34]*", ["a/b/3.md", "a/b/4.txt"]),
        ("**/b", ["a/b/3.md", "a/b/4.txt"]),
        (".*/*.md", [".h/5.md"]),
    ],
)
def test_a_pattern_matches_files_and_folders(
    tmp_path: Path, pattern: str, matched: list[str]
) -> None:
    write(
        tmp_path,
        dict.fromkeys(
            ("1.md", "a/2.md", "a/b/3.md", "a/b/4.txt", ".h/5.md", ".6.md", "q.txt"), ""
        ),
    )
    found = find([tmp_path / pattern])
    assert {str(path.relative_to(tmp_path)) for path in found[1].values()} == set(
        matched
    )


def test_pattern_reports_only_the_files_it_skipped(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": "", ".git/b.md": "", ".c.md": "", "node_modules/d.md": ""})
    assert skipped(find([tmp_path / "*.md"])) == {".c.md": "hidden"}
    assert list(skipped(find([tmp_path / "**" / "*.md"]))) == [
        ".c.md",
        ".git",
        "node_modules",
    ]


def test_file_named_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    write(tmp_path, {"a[1].md": "", "a1.md": ""})
    assert names(find([tmp_path / "a[1].md"])) == ["a[1].md"]


def test_links_to_files_are_followed_and_to_folders_skipped(tmp_path: Path) -> None:
    notes = write(tmp_path / "notes", {"a.md": "", "b/c.md": ""})
    write(tmp_path / "other", {"d.md": ""})
    (notes / "around").symlink_to(notes)
    (notes / "b" / "up").symlink_to("..")
    (notes / "itself").symlink_to("itself")
    (notes / "file.md").symlink_to(tmp_path / "other" / "d.md")
    found = find([notes])
    assert names(found) == ["a.md", "b/c.md", "file.md", "itself"]
    why = "a link to a folder; name it to read it"
    assert skipped(found) == {"around": why, "b/up": why}
    assert names(find([notes / "**" / "*.md"])) == ["a.md", "b/c.md", "file.md"]
    (tmp_path / "named").symlink_to(notes)
    assert names(find([tmp_path / "named" / "b"])) == ["c.md"]
    assert names(find([tmp_path / "named"])) == names(found)


def test_unreadable_folder_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a.md": "", "locked/b.md": ""})
    scandir = os.scandir

    def locked(folder: str) -> object:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", locked)
    found = find([tmp_path])
    assert names(found) == ["a.md"]
    assert skipped(found) == {"locked": "can't be looked into (Permission denied)"}
    assert skipped(find([tmp_path / "locked"])) == {
        ".": "can't be looked into (Permission denied)"
    }


def test_file_name_that_is_not_utf8_is_written_out(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.md")
    try:
        (tmp_path / name).write_text("x")
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    ((found, path),) = find([tmp_path])[1].items()
    assert found == "caf⟨E9⟩.md"
    assert path.read_text() == "x"


def test_missing_files_and_unmatched_patterns_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": ""})
    assert refused().title == "no notes were named"
    assert refused("").title == "there is no such file or folder"
    for place in (tmp_path / "b.md", tmp_path / "b" / "*.md", tmp_path / "a.md" / "b"):
        assert refused(tmp_path, place).detail == str(place)
    assert refused(tmp_path / "*.txt").title == "nothing matches the pattern"
    assert refused(tmp_path / "**" / "*.txt").title == "nothing matches the pattern"
    assert refused("a\0b").title == "the notes can't be read"
    (tmp_path / "itself").symlink_to("itself")
    assert refused(tmp_path / "itself").title == "the notes can't be read"
