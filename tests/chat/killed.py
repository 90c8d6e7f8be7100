"""A program that keeps a conversation and says what is on the disk, until it is
killed. Its argument is the file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from threading import Event

from lmtui.chat.conversation import Conversation
from lmtui.chat.writer import ConversationWriter
from tests.chat.making import PLAIN
from tests.chat.test_message import answer


def main() -> None:
    """Talk without end; a line for each message that was acknowledged."""
    keeper = ConversationWriter(
        Path(sys.argv[1]), lambda fact: print("failed", fact, flush=True)
    )
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


main()
