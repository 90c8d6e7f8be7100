"""Recovery copies: unsaved text survives its program, and nobody else's is touched."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmtui.editing import recovery
from lmtui.editing.recovery import RecoveryCopy, discard, drop, find, write
from lmtui.editing.text_file import TextFile, load, save
from lmtui.errors import LmtuiError
from tests.test_imports import REPOSITORY

TYPING = """
import sys, time
from lmtui.editing.recovery import RecoveryCopy
from lmtui.editing.text_file import load

keeper, text = RecoveryCopy(load(sys.argv[1])), ""
while True:
    text += f"{time.time()}\\n"
    kept = keeper.note(text, time.monotonic())
    print("kept" if kept else "typed", flush=True)
    time.sleep(0.1)
"""


@pytest.fixture
def file(home: Path, tmp_path: Path) -> TextFile:
    """A loaded file that says `old`."""
    (tmp_path / "a.txt").write_bytes(b"old\n")
    return load(tmp_path / "a.txt")


def copies(home: Path) -> list[Path]:
    """All that is in the folder of the copies."""
    folder = home / "state" / "recovery"
    return sorted(folder.iterdir()) if folder.exists() else []


@contextmanager
def typing(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program that types a line each 0.1 s; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", TYPING, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for_copy(child: subprocess.Popen[str]) -> None:
    """Wait until the child kept its text."""
    assert child.stdout
    assert any(line == "kept\n" for line in child.stdout), "the child ended"


@pytest.mark.parametrize("is_new", [False, True])
def test_recovery_copy_holds_the_unsaved_text(file: TextFile, is_new: bool) -> None:
    path, base = (Path("new"), None) if is_new else (file.path, file.digest)
    assert find(path) is None
    write(path, base, "new\n\0\ud800é")
    found = find(path)
    assert found
    assert (found.text, found.base) == ("new\n\0\ud800é", base)
    assert abs(found.time - time.time()) < 60
    drop(path)
    assert find(path) is None


def test_recovery_copy_is_private_and_single(home: Path, file: TextFile) -> None:
    for text in ("a", "b"):
        write(file.path, file.digest, text)
    (copy,) = copies(home)
    assert copy.stat().st_mode & 0o777 == 0o600
    header = json.loads(copy.read_bytes().splitlines()[0])
    assert header["path"] == str(file.path)


def test_recovery_copy_is_shared_by_links_to_a_file(
    file: TextFile, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("a.txt")
    write(tmp_path / "link", file.digest, "new")
    found = find(file.path)
    assert found and found.text == "new"


def test_recovery_copy_equal_to_the_file_is_removed(home: Path, file: TextFile) -> None:
    write(file.path, file.digest, "new\n")
    save(file, "new\n")
    assert find(file.path) is None
    assert copies(home) == []


def test_a_killed_program_loses_at_most_two_seconds(file: TextFile) -> None:
    with typing(file.path) as child:
        wait_for_copy(child)
        assert child.stdout
        for _ in range(18):  # until just before a copy is due
            child.stdout.readline()
        killed = time.time()
        child.kill()
        child.wait()
        found = find(file.path)
        assert found
        assert found.base == file.digest
        assert killed - float(found.text.splitlines()[-1]) < 2
        discard(found)
        assert find(file.path) is None


def test_recovery_copy_of_a_running_editor_is_left_alone(
    home: Path, file: TextFile
) -> None:
    with typing(file.path) as child:
        wait_for_copy(child)
        theirs = copies(home)
        assert find(file.path) is None
        write(file.path, file.digest, "ours")
        ours = find(file.path)
        assert ours and ours.text == "ours"
        drop(file.path)
        assert copies(home) == theirs


def test_reused_process_id_is_not_the_same_editor(home: Path, file: TextFile) -> None:
    write(file.path, file.digest, "crashed")
    (copy,) = copies(home)
    line, _, text = copy.read_bytes().partition(b"\n")
    header = json.loads(line) | {"pid": os.getppid(), "started": 1000.0}
    copy.write_bytes(json.dumps(header).encode() + b"\n" + text)
    assert find(file.path)


def test_later_process_of_the_same_id_writes_beside_the_older_copy(
    home: Path, file: TextFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file.path, file.digest, "of the first")
    monkeypatch.setattr(recovery, "_RUN", "other")
    write(file.path, file.digest, "of the second")
    assert len(copies(home)) == 2


def test_older_recovery_copies_stay_until_they_are_discarded(
    home: Path, file: TextFile
) -> None:
    for number, text in enumerate(("first", "second", "third")):
        write(file.path, file.digest, text, cursor=number)
        copy = next(copy for copy in copies(home) if f"-{os.getpid()}" in copy.name)
        copy.rename(copy.with_name(copy.name.replace(f"-{os.getpid()}", f"-{number}")))
    texts = []
    while found := find(file.path):
        texts.append((found.text, found.cursor))
        assert find(file.path) == found
        discard(found)
    assert texts == [("third", 2), ("second", 1), ("first", 0)]


def test_rewritten_recovery_copy_is_not_discarded(file: TextFile) -> None:
    write(file.path, file.digest, "crashed")
    found = find(file.path)
    assert found
    write(file.path, file.digest, "crashed, and more")
    discard(found)
    again = find(file.path)
    assert again and again.text == "crashed, and more"


@pytest.mark.parametrize(
    "broken",
    [
        *(0, 1, 40, -2, -1),
        *(b"{}\n", b"[]\n", b"null\n", b"\xff\n", b"[" * 100_000, b'{"digest":1}\n'),
    ],
)
def test_truncated_or_broken_recovery_copy_is_ignored(
    home: Path, file: TextFile, broken: int | bytes
) -> None:
    write(file.path, file.digest, "some text")
    (copy,) = copies(home)
    cut = isinstance(broken, int)
    copy.write_bytes(copy.read_bytes()[:broken] if cut else broken)
    assert find(file.path) is None


def test_temporary_file_of_a_killed_program_is_removed(
    home: Path, file: TextFile
) -> None:
    write(file.path, file.digest, "text")
    (copy,) = copies(home)
    gone = copy.with_name(f".{copy.name.split('-')[0]}-999999999-0a1b.txt.0a1b")
    living = copy.with_name(f".{copy.name}.0a1b")
    gone.touch()
    living.touch()
    find(file.path)
    assert copies(home) == sorted([copy, living])


def test_unwritable_recovery_folder_is_an_error(home: Path, file: TextFile) -> None:
    (home / "state").write_bytes(b"no folder")
    assert find(file.path) is None
    with pytest.raises(LmtuiError, match="this folder can't be written to"):
        RecoveryCopy(file).note("new", 0)


def test_recovery_copy_is_written_at_most_once_a_second(file: TextFile) -> None:
    keeper = RecoveryCopy(file)
    assert keeper.note("old\n", 100)
    assert find(file.path) is None
    assert keeper.note("a", 100)
    assert not keeper.note("ab", 100.9)
    found = find(file.path)
    assert found and found.text == "a"
    assert keeper.note("ab", 101)
    found = find(file.path)
    assert found and found.text == "ab"
    drop(file.path)
    assert keeper.note("ab", 200)  # unchanged: it is not written again
    assert find(file.path) is None


def test_undoing_everything_removes_the_copy(home: Path, file: TextFile) -> None:
    keeper = RecoveryCopy(file)
    keeper.note("a", 100)
    assert keeper.note("old\n", 100.1)
    assert copies(home) == []
    assert keeper.note("a", 101)
    assert len(copies(home)) == 1


def test_saving_and_closing_remove_the_copy(home: Path, file: TextFile) -> None:
    keeper = RecoveryCopy(file)
    keeper.note("a", 100)
    keeper.rebase(save(file, "a", file.path.with_name("b.txt")).file)
    assert copies(home) == []
    keeper.note("ab", 101)
    found = find(file.path.with_name("b.txt"))
    assert found and found.text == "ab"
    keeper.close()
    assert copies(home) == []


def test_a_failed_copy_is_tried_again_a_second_later(
    file: TextFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    keeper = RecoveryCopy(file)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(LmtuiError, match="No space left on device"):
            keeper.note("a", 100)
    assert not keeper.note("a", 100.5)
    assert keeper.note("a", 101)
    found = find(file.path)
    assert found and found.text == "a"
