"""Which programs compute: told while they live, never after."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmtui import paths, processes

REPOSITORY = Path(__file__).parents[1]
CODE = """
import sys
from lmtui import processes
with processes.using(sys.argv[1]):
    print("there", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(what: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that does something, until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", CODE, what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"there\n"
        yield process
        process.communicate()


def test_other_processes_are_known_while_they_live(home: Path) -> None:
    assert processes.others() == ()
    with another("chat") as first:
        with another("finetune notes") as second:
            uses = processes.others()
            assert [use.pid for use in uses] == [first.pid, second.pid]
            assert [use.what for use in uses] == ["chat", "finetune notes"]
            assert [use.trains for use in uses] == [False, True]
            assert uses[0].words == f"chat (process {first.pid})"
            assert 0 < uses[0].since <= uses[1].since
        assert [use.what for use in processes.others()] == ["chat"]
    assert processes.others() == ()


def test_a_killed_one_is_forgotten(home: Path) -> None:
    with another("chat") as process:
        process.kill()
        process.wait()
        (file,) = (paths.state_folder() / "running").iterdir()
        assert processes.others() == ()
        assert not file.exists()


def test_this_process_is_none_of_the_others(home: Path) -> None:
    with processes.using("chat"), processes.using("finetune notes"):
        files = list((paths.state_folder() / "running").iterdir())
        told = [json.loads(file.read_bytes()) for file in files]
        assert {each["what"] for each in told} == {"chat", "finetune notes"}
        assert {each["pid"] for each in told} == {os.getpid()}
        assert processes.others() == ()


def test_nothing_is_left_behind(home: Path) -> None:
    with pytest.raises(RuntimeError), processes.using("chat"):
        raise RuntimeError
    assert list(home.iterdir()) == []


def test_broken_and_unlocked_files_tell_nothing(home: Path) -> None:
    folder = paths.state_folder() / "running"
    folder.mkdir(parents=True)
    for number, text in enumerate(("", "{}", "[]", '{"pid": 1, "what": "chat"}')):
        (folder / f"{number}.json").write_text(text)
    (folder / "other.txt").write_text("x")
    assert processes.others() == ()
    assert [file.name for file in folder.iterdir()] == ["other.txt"]


def test_where_nothing_can_be_written_nobody_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("LMTUI_HOME", str(file))
    with processes.using("chat"):
        assert processes.others() == ()


def test_it_keeps_clear_of_one_that_looks_for_dead_ones(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    looked: list[object] = []

    def look_first(handle: int, how: int) -> None:
        if how == fcntl.LOCK_EX and not looked:
            looked.append(processes.others())  # finds the file unlocked, and removes it
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", look_first)
    with processes.using("chat"):
        assert looked == [()]
        assert len(list((paths.state_folder() / "running").iterdir())) == 1
