"""What the list of conversations and the tree of one look like: pictures that are
compared with those kept. `test_pictures` says how new ones are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import OptionList

from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationMeta
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.chat.store import ConversationChosen
from lmtui.tui.chat.tree import TreeScreen
from lmtui.tui.history import HistoryScreen
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from tests.chat.making import exchange
from tests.fakes import FakeEngine
from tests.tui.pictures import Compare, looks_as_kept
from tests.tui.programs import Program

SIZES = [(120, 40), (80, 24)]
DAY = 86_400.0
NOON = 1_609_502_400.0  # of the first day of 2021
RIVERS = """\
The Rhine is 1,233 km long. It rises in the Swiss Alps, passes Lake Constance, Basel, \
Strasbourg and Cologne, and reaches the North Sea near Rotterdam."""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store, and a clock that is the same everywhere."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield _filled(tmp_path / "chats.db")
    monkeypatch.undo()
    time.tzset()


def _filled(file: Path) -> Path:
    store = Store(file)
    talks = [
        ("Long rivers", rivers(), {"pinned": True}),
        ("東京の旅", talk("東京タワーへの行き方は?", "東京の地下鉄で神谷町駅へ。"), {}),
        ("Red [bold]\x1b[31m ink", talk("What is [red]?", "A [bold]word[/nope]"), {}),
        ("A title that goes on and on until there is no room left for all of it, "
         "and then some more of it", talk("Say more " * 40, RIVERS), {}),
        ("Rain", talk("What is rain?", "Water that falls from clouds."), {}),
    ]  # fmt: skip
    for number, (title, chat, marks) in enumerate(talks):
        when = NOON + number * DAY
        facts = ConversationMeta(title, named=True, created=when, updated=when, **marks)
        store.add(str(number), chat, facts)
    store.close()
    return file


def talk(*said: str) -> Conversation:
    chat = Conversation()
    exchange(chat, *said)
    return chat


def rivers() -> Conversation:
    """Branches in branches, a long message, one in other scripts, a hostile one."""
    chat = Conversation("be brief")
    first = exchange(chat, "Name a long river.", RIVERS)
    exchange(chat, "And a longer one?", "The Danube.")
    exchange(chat, "Longer still?", "The Volga, at 3,531 km.")
    chat.choose(first.id)
    chat.edit(first.id, "The Elbe.\nIt is 1,094 km long.")
    exchange(chat, "ドナウ川はどのくらい長いですか?", "2,850 km です。")
    chat.edit(1, "Name a [bold]long\x1b[31m river[/nope].")
    asked = chat.leaf
    reply = chat.reply(asked.id, model="fake", settings=SamplingSettings())
    chat.break_off(reply.id, "stopped")
    chat.choose(first.id)
    return chat


@pytest.fixture
def app(file: Path) -> LmtuiApp:
    return LmtuiApp(
        lambda _: lambda _: FakeEngine(["a"], name="fake"),
        AppOptions(sampling=SamplingSettings(seed=1), chats_file=file, first="chat"),
    )


async def listed(running: Program) -> None:
    await running.ready()
    await running.press("ctrl+o")
    await running.on(HistoryScreen)
    await running.until(lambda: running.app.screen.query_one(OptionList).option_count)


@pytest.mark.parametrize("size", SIZES)
def test_the_list(snap_compare: Compare, app: LmtuiApp, size: tuple[int, int]) -> None:
    async def show(running: Program) -> None:
        await listed(running)
        await running.press("down")
        await running.until(lambda: "2021-01-05" in running.seen)

    assert looks_as_kept(snap_compare, app, show, size=size)


@pytest.mark.parametrize(("size", "words"), zip(SIZES, ["km", "東京"], strict=True))
def test_words_are_found(
    snap_compare: Compare, app: LmtuiApp, size: tuple[int, int], words: str
) -> None:
    async def show(running: Program) -> None:
        await listed(running)
        await running.press(*words)
        await running.until(lambda: "hit" in running.seen)

    assert looks_as_kept(snap_compare, app, show, size=size)


@pytest.mark.parametrize("size", SIZES)
def test_the_tree(snap_compare: Compare, app: LmtuiApp, size: tuple[int, int]) -> None:
    async def show(running: Program) -> None:
        await running.ready()
        running.app.screen.query_one(LikelihoodStrip).clock = lambda: 0.0
        running.app.post_message(ConversationChosen(1))
        await running.until(lambda: len(running.views) >= 2)
        await running.press("f8")
        await running.on(TreeScreen)

    assert looks_as_kept(snap_compare, app, show, size=size)
