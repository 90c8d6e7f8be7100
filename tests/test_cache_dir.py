"""Folders in the cache: complete or absent, also for several processes."""

from __future__ import annotations

from pathlib import Path

from lmtui import cache_dir, paths

OURS = {"by": "this version"}


def put(folder: Path, text: str, by: str = OURS["by"]) -> None:
    """Seal a folder with one file."""
    with paths.scratch_folder(paths.ensure_folder(folder.parent)) as scratch:
        (scratch / "weights").write_text(text)
        cache_dir.commit_dir(scratch, folder, source="a test", made_by={"by": by})


def read(folder: Path) -> str:
    """What a complete folder holds."""
    assert cache_dir.is_complete(folder, OURS)
    return (folder / "weights").read_text()


def test_complete_cache_folder_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "entry"
    put(folder, "first")
    seen = cache_dir.identity(folder)
    put(folder, "again")
    assert cache_dir.identity(folder) == seen
    assert read(folder) == "first"
    assert list(folder.parent.iterdir()) == [folder]


def test_broken_or_outdated_cache_folder_is_replaced(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "cache" / "entry"
    put(folder, "theirs", by="another version")
    with (folder / "weights").open() as opened:
        put(folder, "first")
        assert read(folder) == "first"
        assert opened.read() == "theirs"  # who has it open keeps it
    (folder / "weights").write_text("cut")
    put(folder, "whole")
    assert read(folder) == "whole"
    assert list(folder.parent.iterdir()) == [folder]


def test_discard_removes_only_the_folder_found_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "entry"
    put(folder, "noise")
    seen = cache_dir.identity(folder)
    cache_dir.discard(folder, seen)
    assert not folder.exists()
    put(folder, "whole")
    cache_dir.discard(folder, seen)  # by another process that was slower
    assert read(folder) == "whole"
    cache_dir.discard(tmp_path / "nowhere" / "entry", None)


def test_unfinished_cache_folder_is_not_listed(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "entry"
    put(folder, "whole")
    with paths.scratch_folder(folder.parent) as scratch:
        for file in folder.iterdir():
            (scratch / file.name).write_bytes(file.read_bytes())
        assert [found for found, _, _ in cache_dir.folders(folder.parent)] == [folder]
