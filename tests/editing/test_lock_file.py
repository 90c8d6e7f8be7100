"""Lock files: another editor is noticed while it runs, and only then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmtui.editing.lock_file import LockFile
from lmtui.editing.text_file import TextFile, load, piped
from tests.test_imports import REPOSITORY

HOLDING = """
import sys
from lmtui.editing.lock_file import LockFile
from lmtui.editing.text_file import load

lock = LockFile(load(sys.argv[1]))
print(lock.acquire(), flush=True)
if sys.stdin.readline():
    lock.release()
    print("released", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def editing_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has a file open; a line lets it close the file."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as child:
        try:
            assert child.stdout and child.stdout.readline()
            yield child
        finally:
            child.kill()


@pytest.fixture
def file(home: Path, tmp_path: Path) -> TextFile:
    """A loaded file."""
    (tmp_path / "a.txt").write_text("text")
    return load(tmp_path / "a.txt")


def locks(home: Path) -> list[Path]:
    """All locks that are there."""
    return sorted((home / "state" / "open").glob("*"))


def test_own_lock_is_private_and_no_holder(home: Path, file: TextFile) -> None:
    lock = LockFile(file)
    assert lock.acquire() is lock.acquire() is lock.holder() is None
    (written,) = locks(home)
    assert written.stat().st_mode & 0o777 == 0o600
    lock.release()
    lock.release()
    assert locks(home) == []


def test_other_process_is_the_holder_until_it_closes_the_file(
    file: TextFile, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(file.path)
    with editing_elsewhere(link) as child:
        holder = LockFile(file).acquire()
        assert holder is not None and holder.pid == child.pid
        assert holder.since > 0
        assert LockFile(load(tmp_path / "b.txt")).acquire() is None
        assert child.stdin and child.stdout
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "released\n"
        assert LockFile(file).holder() is None


def test_of_several_processes_the_first_is_the_holder(file: TextFile) -> None:
    with editing_elsewhere(file.path) as first, editing_elsewhere(file.path):
        holder = LockFile(file).acquire()
        assert holder is not None and holder.pid == first.pid


def test_lock_of_a_killed_process_is_removed(home: Path, file: TextFile) -> None:
    with editing_elsewhere(file.path) as child:
        child.kill()
        child.wait()
        assert len(locks(home)) == 1
    assert LockFile(file).holder() is None
    assert locks(home) == []


@pytest.mark.parametrize(
    "written",
    [b"", b"\xff", b"[]", b"{}", b'{"pid": 1}', b"[" * 100_000,
     b'{"pid": 1e999, "since": 0, "started": 0}',
     json.dumps({"pid": os.getppid(), "since": 0, "started": 0}).encode()],
)  # fmt: skip
def test_damaged_lock_or_one_of_an_earlier_process_means_nothing(
    home: Path, file: TextFile, written: bytes
) -> None:
    lock = LockFile(file)
    lock.acquire()
    (own,) = locks(home)
    other = own.with_name(own.name.replace(str(os.getpid()), str(os.getppid())))
    other.write_bytes(written)
    assert lock.holder() is None
    assert locks(home) == [own]


def test_lock_needs_no_writable_home(
    file: TextFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", "/proc/lmtui")
    lock = LockFile(file)
    assert lock.acquire() is None
    lock.release()


def test_piped_text_has_no_lock(home: Path) -> None:
    assert LockFile(piped(b"text")).acquire() is None
    assert locks(home) == []
