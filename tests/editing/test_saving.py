"""Saving: the file has the old content or the new, and stays what it was beside."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lmtui.editing.text_file import (
    FileChange,
    TextFile,
    changed_on_disk,
    load,
    save,
)
from lmtui.errors import LmtuiError
from tests.editing.test_text_file import by_its_mode


@pytest.fixture
def file(tmp_path: Path) -> TextFile:
    """A loaded file that says `old`, alone in its folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"old\n")
    return load(folder / "a.txt")


def not_saved(file: TextFile, text: str = "new\n", path: Path | None = None) -> str:
    """The detail of the error that saving ends in."""
    with pytest.raises(LmtuiError) as caught:
        save(file, text, path)
    assert caught.value.title == "the file was not saved"
    assert caught.value.hint
    return caught.value.detail


def is_as_it_was(file: TextFile) -> bool:
    """Whether the file has its old content, and nothing lies beside it."""
    alone = [path.name for path in file.path.parent.iterdir()] == [file.path.name]
    return alone and file.path.read_bytes() == b"old\n"


def test_save_writes_the_text_and_returns_its_state(file: TextFile) -> None:
    saved = save(file, "new\n").file
    assert file.path.read_bytes() == b"new\n"
    assert [path.name for path in file.path.parent.iterdir()] == ["a.txt"]
    assert saved.text == load(file.path).text == "new\n"
    assert saved.digest == load(file.path).digest != file.digest
    assert changed_on_disk(saved) is None


def test_an_emptied_file_remembers_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a\r\nb\r\n")
    emptied = save(load(path), "").file
    assert (emptied.ending, emptied.endings) == ("\r\n", "CRLF")
    save(emptied, "c\n")
    assert path.read_bytes() == b"c\r\n"


def test_new_file_follows_the_umask(tmp_path: Path) -> None:
    for umask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        path = tmp_path / f"{umask}"
        before = os.umask(umask)
        try:
            saved = save(load(path), "text").file
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == mode
        assert not saved.is_new


@pytest.mark.parametrize("mode", [0o600, 0o755])
def test_save_keeps_permissions(file: TextFile, mode: int) -> None:
    file.path.chmod(mode)
    os.utime(file.path, (1, 1))
    save(file, "")
    assert file.path.stat().st_mode & 0o777 == mode
    assert file.path.stat().st_mtime > 1


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="has no such attributes")
def test_save_keeps_extended_attributes(file: TextFile) -> None:
    try:
        os.setxattr(file.path, "user.lmtui", b"kept")
    except OSError:
        pytest.skip("the file system has no attributes")
    save(file, "new")
    assert os.getxattr(file.path, "user.lmtui") == b"kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser gives files away")
def test_save_keeps_the_owner(file: TextFile) -> None:
    os.chown(file.path, 1234, 2345)
    assert save(file, "new").note == ""
    now = file.path.stat()
    assert (now.st_uid, now.st_gid) == (1234, 2345)


def test_save_notes_an_owner_it_could_not_keep(
    file: TextFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only the superuser can give the file away first")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    os.chown(file.path, 1234, 2345)
    file.path.chmod(0o664)
    monkeypatch.setattr(os, "chown", refuse)
    note = save(file, "new").note
    assert note == "the file's owner could not be kept, it is yours now"
    # Another group does not get what the old one was allowed.
    assert file.path.stat().st_mode & 0o777 == 0o644


def test_save_follows_symbolic_links(file: TextFile, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("folder/a.txt")
    saved = save(load(link), "new").file
    assert link.is_symlink()
    assert (file.path.read_bytes(), saved.path) == (b"new", link)
    dangling = tmp_path / "dangling"
    dangling.symlink_to("folder/b.txt")
    save(load(dangling), "b")
    assert dangling.is_symlink()
    assert (tmp_path / "folder" / "b.txt").read_bytes() == b"b"


def test_file_with_hard_links_is_written_in_place_once_its_text_is_kept(
    file: TextFile, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.hardlink_to(file.path)
    on_disk: list[bytes] = []
    for text in ("longer than before", "new"):
        saved = save(file, text, keep=lambda: on_disk.append(other.read_bytes()))
        assert saved.note == "" and other.samefile(file.path)
        assert other.read_text() == text == load(file.path).text
        assert changed_on_disk(saved.file) is None
    assert on_disk == [b"old\n", b"longer than before"]
    other.unlink()
    save(load(file.path), "newer", keep=lambda: on_disk.append(b""))
    assert len(on_disk) == 2


def test_file_with_hard_links_is_untouched_where_its_text_is_not_kept(
    file: TextFile, tmp_path: Path
) -> None:
    def keep() -> None:
        raise LmtuiError("this folder can't be written to")

    (tmp_path / "other").hardlink_to(file.path)
    with pytest.raises(LmtuiError, match="this folder"):
        save(file, "new", keep=keep)
    assert is_as_it_was(file)


def test_save_under_another_name_keeps_the_old_file(file: TextFile) -> None:
    other = file.path.with_name("b.txt")
    saved = save(file, "new", other).file
    assert (saved.path, saved.text, other.read_bytes()) == (other, "new", b"new")
    assert file.path.read_bytes() == b"old\n"
    assert changed_on_disk(saved) is None


def test_file_with_a_very_long_name_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 127)
    save(load(path), "text")
    assert path.read_bytes() == b"text"


def test_a_read_only_file_is_not_written_over(
    file: TextFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.path.chmod(0o444)
    by_its_mode(monkeypatch)
    assert not_saved(file).endswith("(it is read-only)")
    assert is_as_it_was(file)


def test_save_refuses_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    file = load(tmp_path / "a")
    file.path.mkdir()
    with pytest.raises(LmtuiError, match="this is a folder, not a text"):
        save(file, "text")


def test_save_into_a_vanished_folder_is_an_error(file: TextFile) -> None:
    shutil.rmtree(file.path.parent)
    assert not_saved(file).endswith("(No such file or directory)")


def test_failed_fsync_leaves_the_old_file(
    file: TextFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EDQUOT, "Quota exceeded")

    monkeypatch.setattr(os, "fsync", fail)
    assert not_saved(file).endswith("(Quota exceeded)")
    assert is_as_it_was(file)


def test_file_size_limit_leaves_the_old_file(file: TextFile) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        assert not_saved(file, "x" * 200_000).endswith("(File too large)")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_as_it_was(file)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory at `folder`, where the tests may mount one."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "lmtui-test", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("can't mount a file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    with mounted(folder, "size=64k"):
        (folder / "a.txt").write_bytes(b"old\n")
        file = load(folder / "a.txt")
        assert not_saved(file, "x" * 100_000).endswith("(No space left on device)")
        assert is_as_it_was(file)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
def test_file_on_a_read_only_disk_opens_but_is_not_saved(tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    with mounted(folder, "size=64k"):
        (folder / "a.txt").write_bytes(b"old\n")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        file = load(folder / "a.txt")
        assert file.read_only
        assert not_saved(file)
        assert is_as_it_was(file)


def test_untouched_file_is_not_changed_on_disk(file: TextFile) -> None:
    assert changed_on_disk(file) is None
    assert changed_on_disk(load(file.path.with_name("new"))) is None


def test_changed_removed_and_replaced_files_are_noticed(file: TextFile) -> None:
    assert file.stamp
    before = file.stamp.modified
    file.path.write_bytes(b"longer\n")
    os.utime(file.path, (5000, 5000))
    assert changed_on_disk(file) == FileChange("changed", before, 5000)
    file.path.unlink()
    assert changed_on_disk(file) == FileChange("gone", before, None)
    file.path.mkdir()
    change = changed_on_disk(file)
    assert change and change.kind == "replaced"


def test_new_file_that_appeared_is_noticed(tmp_path: Path) -> None:
    file = load(tmp_path / "a")
    file.path.write_bytes(b"")
    os.utime(file.path, (5000, 5000))
    assert changed_on_disk(file) == FileChange("appeared", None, 5000)


def test_text_changed_at_the_same_size_and_time_is_noticed(file: TextFile) -> None:
    before = file.path.stat()
    file.path.write_bytes(b"new\n")
    os.utime(file.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    change = changed_on_disk(file)
    assert change and change.kind == "changed"


def test_the_same_text_written_anew_is_no_change(file: TextFile) -> None:
    file.path.unlink()
    file.path.write_bytes(b"old\n")
    os.utime(file.path, (5000, 5000))
    assert changed_on_disk(file) is None


def test_settled_stamp_spares_reading_the_file(file: TextFile) -> None:
    assert file.stamp
    # A moment after it was written, times may not tell the next change.
    assert not file.stamp.settled
    trusted = replace(file.stamp, settled=True, digest="not looked at")
    assert changed_on_disk(replace(file, stamp=trusted)) is None
    doubted = replace(trusted, settled=False)
    assert changed_on_disk(replace(file, stamp=doubted)) is not None


def test_retargeted_link_is_a_change(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "link"
    link.symlink_to("one")
    file = load(link)
    link.unlink()
    link.symlink_to("two")
    change = changed_on_disk(file)
    assert change and change.kind == "changed"
