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
from threading import Event

import pytest

from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.chat.writer import ConversationWriter
from tests.chat.making import PLAIN
from tests.chat.test_message import answer
from tests.cli.program import REPOSITORY

SECOND = 1.0


def talk_and_die(file: Path, after: float) -> list[list[str]]:
    """What a program said was kept before it was killed."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__, str(file)],
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


def talk(file: Path) -> None:
    """Talk without end, and print a line for each message that is on the disk."""
    keeper = ConversationWriter(file, lambda fact: print("failed", fact, flush=True))
    prompt, steps, finish = answer(*(f" word{i}" for i in range(40)))
    chat, uid = Conversation(), str(time.time())
    while True:
        kept = Event()
        asked = chat.say(f"message {len(chat.nodes)}")
        reply = chat.reply(asked.id, model="m", settings=PLAIN)
        keeper.write(uid, chat.take_changes(), then=kept.set)
        kept.wait()
        print("kept", uid, asked.id, time.monotonic(), flush=True)
        chat.lay_out(reply.id, prompt)
        for place, step in enumerate(steps):
            chat.grow(reply.id, [step])
            keeper.write(uid, chat.take_changes())
            print("grew", uid, reply.id, time.monotonic(), place + 1, flush=True)
            time.sleep(0.002)
        chat.finish(reply.id, finish)
        keeper.write(uid, chat.take_changes())


def test_kill_9_loses_at_most_a_second(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file, chance = tmp_path / "chats.db", random.Random(8)
    for _ in range(100 if request.config.getoption("--full") else 2):
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


if __name__ == "__main__":
    talk(Path(sys.argv[1]))
