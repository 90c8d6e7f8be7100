"""Killed at any moment: the file stays whole, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmtui.chat.store import Store
from tests.cli.program import REPOSITORY

SECOND = 1.0


def talk_and_die(file: Path, after: float) -> list[list[str]]:
    """What a program said was kept before it was killed."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.chat.killed", str(file)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(after)
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read()
    return [line.split() for line in (first + rest).split("\n")[:-1]]


def test_kill_9_loses_at_most_a_second(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file, chance = tmp_path / "chats.db", random.Random(8)
    for _ in range(100 if request.config.getoption("--full") else 4):
        said = talk_and_die(file, chance.uniform(0, 1.5))
        died = max(float(line[3]) for line in said)
        with sqlite3.connect(file) as connection:
            (whole,) = connection.execute("PRAGMA integrity_check").fetchone()
            connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        connection.close()
        assert whole == "ok"
        store = Store(file)
        (about,) = [c for c in store.listed() if c.uid == said[0][1]]
        conversation = store.load(about.id).conversation
        store.close()
        for what, _, id_, when, *tokens in said:
            node = conversation.node(int(id_))
            assert node.state != "growing"
            if what == "kept":
                assert node.content.startswith("message")
            elif float(when) < died - SECOND:
                assert len(node.steps) >= int(tokens[0])
