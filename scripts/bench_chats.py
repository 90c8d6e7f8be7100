"""How long conversations take to be listed, searched, opened and kept.

Makes its own store in a temporary folder; needs no model. Medians of several runs.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from threading import Event
from typing import NoReturn

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.search import search
from lmtui.chat.store import Store
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Distribution,
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.chat.message import MessageView
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.chat.store import ConversationChosen
from lmtui.tui.chat.transcript import PART

CONVERSATIONS, TURNS, MESSAGES = 10_000, 3, 2_000
_NOTHING = Distribution((), 0, 0, 1.0, 1.0, 0, 0.0, 2.0, 0)
_SYLLABLES = [first + second for first in "bcdfghjklm" for second in "aeiou"]
_CHANCE = random.Random(8)
WORDS = ["".join(_CHANCE.choices(_SYLLABLES, k=_CHANCE.randint(2, 4)))
         for _ in range(20_000)]  # fmt: skip


HAN = [chr(0x4E00 + number) for number in range(3_000)]


def words(count: int, among: list[str] = WORDS) -> list[str]:
    """Words of which some are far more frequent than others."""
    return [among[int(_CHANCE.paretovariate(0.7)) % len(among)] for _ in range(count)]


def steps_of(text: list[str]) -> list[Step]:
    """A token for each word."""
    return [
        Step(i, i % 49_000, f" {word}", f" {word}".encode(), f" {word}", -1.25, 3, 2.0,
             0.25, _NOTHING)
        for i, word in enumerate(text)
    ]  # fmt: skip


def talked(
    chat: Conversation, turns: int, tokens: int, prompt: int, among: list[str] = WORDS
) -> None:
    """Turns of so many tokens each, after prompts of so many ids at most."""
    for turn in range(turns):
        asked = chat.say(" ".join(words(20, among)))
        reply = chat.reply(asked.id, model="model", settings=SamplingSettings())
        ids = tuple(range(min(prompt, (turn + 1) * (tokens + 30))))
        chat.lay_out(reply.id, Prompt(ids, "p" * (4 * len(ids))))
        chat.grow(reply.id, steps_of(words(tokens, among)))
        total = -1.25 * tokens
        finish = GenerationResult(
            FinishReason.STOP, tokens, total, len(ids), 0, 0.1, 1.0, 1
        )
        chat.finish(reply.id, finish)


def filled(file: Path, among: list[str] = WORDS) -> Store:
    """A store of many conversations."""
    store = Store(file)
    batch = {}
    for number in range(CONVERSATIONS):
        chat = Conversation()
        talked(chat, TURNS, 60, 400, among)
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


async def on_screen(file: Path, id_: int) -> tuple[float, float]:
    """Milliseconds from choosing a conversation to its last messages on the screen,
    and in which 95 of 100 frames are drawn while it is scrolled through."""
    released = Event()

    def no_model(_: object) -> NoReturn:
        released.wait()
        raise LmtuiError("there is no model")

    settings = SamplingSettings()
    app = LmtuiApp(
        lambda _: no_model, AppOptions(sampling=settings, first="chat", chats_file=file)
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        chat, opened = app.screen, []
        assert isinstance(chat, ChatScreen)
        for _ in range(5):
            await chat.editor.begin_new()
            await pilot.pause()
            start = time.perf_counter()
            app.post_message(ConversationChosen(id_))
            while len(chat.query(MessageView)) < PART:
                await asyncio.sleep(0.001)
            await pilot.pause()
            opened.append(1000 * (time.perf_counter() - start))
        frames = []
        for _ in range(300):  # of the screen's own thread, without its waiting
            start = time.thread_time()
            chat.transcript.scroll_relative(y=-6, animate=False)
            await pilot.pause()
            frames.append(1000 * (time.thread_time() - start))
        released.set()
        app.leave()
    return median(opened), quantiles(frames, n=20)[-1]


def print_chats() -> None:
    """The table of what conversations cost."""
    print(f"\n| {CONVERSATIONS:,} conversations | |\n|---|---|")
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
        han = filled(Path(folder) / "han.db", HAN)
        for name, text in (("characters that are in nearly all", HAN[1] + HAN[2]),
                           ("one such character", HAN[1]),
                           ("rare characters", HAN[900] + HAN[1])):  # fmt: skip
            taken = milliseconds(lambda text=text: search(han, text))  # type: ignore[misc]
            print(f"| in Chinese alone: {name} | {taken:.1f} ms |")
        han.close()
        long = Conversation()
        talked(long, MESSAGES // 2, 100, 2_000)
        store.save({"long": long.take_changes()})
        last = store.last()
        assert last is not None
        loaded = milliseconds(lambda: store.load(last), 3)
        opened, frame = asyncio.run(on_screen(file, last))
        print(f"| read {MESSAGES:,} messages from the disk | {loaded:.0f} ms |")
        print(f"| … from choosing them to the screen | {opened:.0f} ms |")
        print(f"| … a frame while they are scrolled through, p95 | {frame:.0f} ms |")
        growing: ChatMessage = replace(long.leaf, state="growing")
        changes = replace(long.take_changes(), nodes=(growing,))
        saved = milliseconds(lambda: store.save({"long": changes}))
        print(f"| keep a reply of 100 tokens that grows | {saved:.1f} ms |")
        print(f"| bytes of the file for each token of a reply | {size:.0f} |")
        store.close()


if __name__ == "__main__":
    print_chats()
