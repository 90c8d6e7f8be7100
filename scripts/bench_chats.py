"""How long conversations take to be listed, searched, opened and kept.

    .venv/bin/python scripts/bench_chats.py

Makes its own store in a temporary folder; needs no model. Medians of several runs.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from lmtui.chat.node import Node
from lmtui.chat.search import search
from lmtui.chat.store import Store
from lmtui.chat.tree import Conversation
from lmtui.engine.types import (
    Distribution,
    Finish,
    FinishReason,
    Prompt,
    SamplingSettings,
    Step,
)

CONVERSATIONS, TURNS, MESSAGES = 10_000, 3, 2_000
_NOTHING = Distribution((), 0, 0, 1.0, 1.0, 0, 0.0, 2.0, 0)
_SYLLABLES = [first + second for first in "bcdfghjklm" for second in "aeiou"]
_CHANCE = random.Random(8)
WORDS = ["".join(_CHANCE.choices(_SYLLABLES, k=_CHANCE.randint(2, 4)))
         for _ in range(20_000)]  # fmt: skip


def words(count: int) -> list[str]:
    """Words of which some are far more frequent than others."""
    return [WORDS[int(_CHANCE.paretovariate(0.7)) % len(WORDS)] for _ in range(count)]


def steps_of(text: list[str]) -> list[Step]:
    """A token for each word."""
    return [
        Step(i, i % 49_000, f" {word}", f" {word}".encode(), f" {word}", -1.25, 3, 2.0,
             0.25, _NOTHING)
        for i, word in enumerate(text)
    ]  # fmt: skip


def talked(chat: Conversation, turns: int, tokens: int, prompt: int) -> None:
    """Turns of so many tokens each, after prompts of so many ids at most."""
    for turn in range(turns):
        asked = chat.say(" ".join(words(20)))
        reply = chat.reply(asked.id, model="model", settings=SamplingSettings())
        ids = tuple(range(min(prompt, (turn + 1) * (tokens + 30))))
        chat.lay_out(reply.id, Prompt(ids, "p" * (4 * len(ids))))
        chat.grow(reply.id, steps_of(words(tokens)))
        finish = Finish(FinishReason.STOP, tokens, -1.25 * tokens, len(ids), 0, 0.1,
                        1.0, 1)  # fmt: skip
        chat.finish(reply.id, finish)


def filled(file: Path) -> Store:
    """A store of many conversations."""
    store = Store(file)
    batch = {}
    for number in range(CONVERSATIONS):
        chat = Conversation()
        talked(chat, TURNS, 60, 400)
        batch[str(number)] = chat.take_changes()
        if len(batch) == 500:
            store.save(batch)
            batch = {}
    return store


def milliseconds(work: Callable[[], object], times: int = 7) -> float:
    """The median time of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1000 * median(taken)


def print_chats() -> None:
    """Rows of a Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chats.db"
        store = filled(file)
        size = file.stat().st_size / CONVERSATIONS / TURNS / 60
        rare, common = WORDS[-1], WORDS[1]
        rows: list[tuple[str, Callable[[], object]]] = [
            (f"list {CONVERSATIONS:,} conversations", store.listed),
            ("list the last 50", lambda: store.listed(limit=50)),
            ("search a frequent word", lambda: search(store, common)),
            ("search a rare word", lambda: search(store, rare)),
            ("search a word just begun", lambda: search(store, "ba")),
            ("search two words", lambda: search(store, f"{common} {WORDS[2]}")),
        ]
        for name, work in rows:
            print(f"| {name} | {milliseconds(work):.1f} ms |")
        long = Conversation()
        talked(long, MESSAGES // 2, 100, 2_000)
        store.save({"long": long.take_changes()})
        last = store.last()
        assert last is not None
        loaded = milliseconds(lambda: store.load(last), 3)
        print(f"| read {MESSAGES:,} messages | {loaded:.0f} ms |")
        growing: Node = replace(long.leaf, state="growing")
        changes = replace(long.take_changes(), nodes=(growing,))
        saved = milliseconds(lambda: store.save({"long": changes}))
        print(f"| keep a reply of 100 tokens that grows | {saved:.1f} ms |")
        print(f"| bytes of the file for each token of a reply | {size:.0f} |")
        store.close()


if __name__ == "__main__":
    print_chats()
