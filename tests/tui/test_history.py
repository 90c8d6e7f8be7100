"""Conversations that last, on the screen: kept, found, opened, put away."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.widgets import OptionList, Static

from lmtui import processes
from lmtui.chat import records as rows
from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.search import Excerpt, Hit
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationSummary, StoredConversation
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.tui.chat.message import note_of
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.chat.store import ConversationChosen
from lmtui.tui.chat.transcript import MOST, PART, STEP
from lmtui.tui.history import EMPTY, NOTHING, HistoryScreen, line_of
from lmtui.tui.start import StartScreen
from tests.chat.making import exchange
from tests.chat.test_message import answer
from tests.fakes import FakeEngine
from tests.tui.chat.chats import Chat, chat
from tests.tui.hosts import drawn
from tests.tui.programs import Program, assert_laid_out, holding, program

HOSTILE = "\x1b[31mred [bold] \u202e"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


def filled(file: Path, *texts: str) -> None:
    """Keep a conversation for each text."""
    store = Store(file)
    for text in texts:
        chat = Conversation()
        exchange(chat, text, f"about {text}")
        store.save({text: chat.take_changes()})
    store.close()


@asynccontextmanager
async def kept(file: Path, *answers: str, **options: Any) -> AsyncIterator[Chat]:
    """A chat with a store."""
    engine = FakeEngine(list(answers) or ["one two three"], name="fake")
    async with chat(engine=engine, chats_file=file, **options) as running:
        yield running


def stored(file: Path) -> list[list[str]]:
    """What is said in each conversation, the last used first."""
    with closing(Store(file)) as store:
        kept = [store.load(about.id).conversation for about in store.listed()]
    return [[node.content for node in chat.path[1:]] for chat in kept]


def load(file: Path) -> StoredConversation:
    """The first conversation."""
    with closing(Store(file)) as store:
        return store.load(1)


async def listed(running: Program) -> HistoryScreen:
    """The list, opened from the chat, once it is there."""
    await running.press("ctrl+o")
    screen = await running.on(HistoryScreen)
    await running.until(lambda: screen.query_one(OptionList).option_count)
    return screen


async def test_empty_conversation_makes_no_store(file: Path) -> None:
    async with kept(file) as running:
        await running.press("f1", "escape")
    assert not file.exists()


async def test_message_is_stored_before_its_answer_is_generated(file: Path) -> None:
    seen: list[list[list[str]]] = []
    engine = FakeEngine(["a"], name="fake")
    engine.on_token = lambda index: seen.append(stored(file)) if _is_asked() else None

    def _is_asked() -> bool:
        return engine.calls[-1][0] == "generate"

    async with chat(engine=engine, chats_file=file, asked="hello"):
        pass
    assert seen[0] == [["hello", ""]]
    assert stored(file) == [["hello", "a"]]


async def test_opened_conversation_leaves_the_sampler_as_it_is(file: Path) -> None:
    filled(file, "one")  # each answer keeps the settings that it was drawn with
    drawn_with = load(file).conversation.path[-1].settings
    async with kept(file) as running:
        await running.ask("/temp 1.25")
        settings = running.chat.sampler.settings
        assert settings.temperature == 1.25 and settings != drawn_with
        await listed(running)
        await running.press("enter")
        await running.answered("one", "about one")
        assert running.chat.sampler.settings == settings


async def test_quitting_while_an_answer_streams_stores_its_part(file: Path) -> None:
    engine, go_on = holding("one two three four", at=2)
    async with chat(engine=engine, chats_file=file) as running:
        await running.ask("go")
        await running.until(lambda: running.texts[1:] and running.texts[1])
        await running.pilot.press("ctrl+q")
        go_on.set()
    assert running.app.return_code == 0
    ((asked, reply),) = stored(file)
    assert asked == "go" and reply and "one two three four".startswith(reply)


async def test_conversation_is_opened_from_the_history_and_continued(
    file: Path,
) -> None:
    filled(file, "apples", "pears", "plums")
    async with kept(file, "more") as running:
        screen = await listed(running)
        assert "plums" in running.seen and "3 conversations" in running.seen
        assert_laid_out(screen)
        await running.press("down", "enter")
        await running.on(ChatScreen)
        await running.until(lambda: running.texts == ["pears", "about pears"])
        await running.say("again")
    assert stored(file)[0] == ["pears", "about pears", "again", "more"]


async def test_history_search_opens_the_message_and_marks_the_words(file: Path) -> None:
    filled(file, "apples", "a lighthouse [bold] far away", "plums")
    async with kept(file) as running:
        screen = await listed(running)
        await running.press(*"lighth")
        await running.until(lambda: "2 hits" in running.seen)
        await running.press("down", "enter")
        await running.on(ChatScreen)
        await running.until(lambda: len(running.views) == 2)
        assert running.views[0].has_focus
        strips = drawn(running.app.screen)
        marks = [
            segment.text
            for strip in strips
            for segment in strip
            if segment.style and segment.style.reverse and "light" in segment.text
        ]
        assert marks == ["lighthouse"]
        assert screen.is_current is False


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_history_screen_names_its_keys(file: Path, size: tuple[int, int]) -> None:
    filled(file, "apples", "pears")
    async with kept(file, size=size) as running:
        await listed(running)
        keys = ["Type to search", "Enter open", "Esc close", "Alt+R rename",
                "Alt+D delete", "Alt+P pin", "F1 more"]  # fmt: skip
        await running.until(lambda: all(key in running.seen for key in keys))
        assert "2 conversations" in running.seen
        assert_laid_out(running.app.screen)
        await running.press("alt+r")
        await running.until(lambda: "Enter renames · Esc cancels" in running.seen)
        await running.press("escape")
        await running.until(lambda: all(key in running.seen for key in keys))
        await running.press(*"pears")
        await running.until(lambda: "2 hits" in running.seen)
        assert "Esc clear · Alt+R rename · Alt+D delete · F1 more" in running.seen
        assert_laid_out(running.app.screen)


async def test_every_letter_that_is_typed_searches(file: Path) -> None:
    word = "rdfpauv"  # letters that are keys with Alt
    filled(file, "apples", word, "plums")
    async with kept(file) as running:
        screen = await listed(running)
        await running.press(*word)
        await running.until(lambda: "2 hits" in running.seen)
        await running.press("enter")
        await running.on(ChatScreen)
        await running.until(lambda: running.texts == [word, f"about {word}"])
        assert not screen.is_current
    assert len(stored(file)) == 3


async def test_keys_typed_behind_ctrl_o_go_to_the_history_screen(file: Path) -> None:
    filled(file, "apples", "lighthouses")
    async with kept(file) as running:
        for key in ("ctrl+o", *"lighthouse"):
            running.app.post_message(Key(key, key if len(key) == 1 else None))
        await running.until(lambda: "2 hits" in running.seen)


async def test_history_search_says_when_nothing_is_found(file: Path) -> None:
    filled(file, "apples")
    async with kept(file) as running:
        await listed(running)
        await running.press(*"zebra")
        await running.until(lambda: NOTHING in running.seen)
        await running.press("escape")
        await running.until(lambda: "1 conversation" in running.seen)
        await running.press("escape")
        await running.on(ChatScreen)


async def test_empty_history_says_where_conversations_come_from(file: Path) -> None:
    async with kept(file, size=(80, 24)) as running:
        await running.press("ctrl+o")
        await running.on(HistoryScreen)
        await running.until(lambda: EMPTY[:12] in running.seen)
    assert not file.exists()


def titles(screen: HistoryScreen) -> Callable[[], list[str]]:
    """What returns the titles of the rows."""
    return lambda: [row.title for row in screen._rows]


async def test_rename_is_of_the_conversation_it_was_asked_for(file: Path) -> None:
    filled(file, "apples", "pears", "plums")
    async with kept(file) as running:
        rows = titles(await listed(running))
        await running.until(lambda: rows() == ["plums", "pears", "apples"])
        # Pinned, it goes to the top, also while its new title is written.
        await running.press("up", "alt+p", "alt+r", "ctrl+u", *"kiwi")
        await running.until(lambda: rows() == ["apples", "plums", "pears"])
        await running.press("enter")
        await running.until(lambda: rows() == ["kiwi", "plums", "pears"])


async def test_keys_of_the_list_do_nothing_while_a_title_is_written(
    file: Path,
) -> None:
    filled(file, "apples", "pears", "plums")
    async with kept(file) as running:
        rows = titles(await listed(running))
        await running.until(lambda: rows() == ["plums", "pears", "apples"])
        await running.press("down", "alt+r", "x", "alt+d", "alt+p", "enter")
        await running.until(lambda: rows() == ["plums", "pearsx", "apples"])
        await running.press(*"plums")
        await running.until(lambda: "2 hits" in running.seen)
        await running.press("ctrl+f", *"apples")
        await running.until(lambda: rows() == ["apples", "apples"])
        await running.press("enter")
        await running.on(ChatScreen)
        await running.until(lambda: running.texts == ["apples", "about apples"])


async def test_history_keys_rename_pin_delete_and_undo(file: Path) -> None:
    filled(file, "apples", "pears", "plums")
    async with kept(file) as running:
        rows = titles(await listed(running))
        await running.press("alt+r")
        for _ in range(8):
            await running.press("backspace")
        await running.press(*"kiwi", "enter")
        await running.until(lambda: rows() == ["kiwi", "pears", "apples"])
        await running.press("up", "alt+p")
        await running.until(lambda: rows() == ["apples", "kiwi", "pears"])
        await running.press("alt+d")
        await running.until(lambda: rows() == ["kiwi", "pears"])
        await running.press("alt+u")
        await running.until(lambda: rows() == ["apples", "kiwi", "pears"])


async def test_hostile_titles_are_only_drawn(file: Path) -> None:
    filled(file, HOSTILE)
    for size in ((80, 24), (40, 12)):
        async with program(first="start", chats_file=file, size=size) as running:
            if size[1] > 12:
                await running.until(lambda: "red" in running.seen)
            assert "\x1b[31m" not in running.seen and "\u202e" not in running.seen
            await running.press("o")
            screen = await running.on(HistoryScreen)
            await running.until(lambda: "[bold]" in running.seen)
            assert "\x1b" not in running.seen
            assert_laid_out(screen)


async def test_start_screen_resumes_a_recent_conversation(file: Path) -> None:
    filled(file, "apples", "pears")
    async with program(first="start", chats_file=file) as running:
        screen = await running.on(StartScreen)
        await running.until(lambda: "Recent conversations" in running.seen)
        choices = screen.query_one(OptionList)
        ids = [choices.get_option_at_index(i).id for i in range(choices.option_count)]
        choices.highlighted = ids.index("resume(1)")
        await running.press("enter")
        await running.on(ChatScreen)
        await running.until(lambda: running.last_text == "about apples")


async def test_tokens_of_a_stored_answer_are_shown_from_their_ids(file: Path) -> None:
    async with kept(file, "one two") as running:
        await running.say("count")
        before = running.leaf
    async with kept(file, opened=load(file)) as running:
        await running.until(lambda: len(running.views) == 2)
        await running.press("f3")
        tokens = running.tokens
        await running.until(lambda: tokens.tokens)
        assert [t.id for t in tokens.tokens] == list(before.ids)
        first = before.steps[0]
        assert tokens.tokens[0].logprob == pytest.approx(first.logprob, abs=1e-6)
        panel = running.panel
        await running.until(lambda: panel.distribution and panel.chosen == first.id)
        assert panel.distribution is not None
        assert len(panel.distribution.candidates) == 20


async def test_conversation_changed_elsewhere_is_stored_as_a_copy(file: Path) -> None:
    filled(file, "apples")
    store = Store(file)
    opened, other = store.load(1), store.load(1)
    async with kept(file, "mine", "more", opened=opened) as running:
        await running.until(lambda: len(running.views) == 2)
        exchange(other.conversation, "elsewhere")
        store.save({"apples": other.conversation.take_changes()})
        store.close()
        await running.ask("here")
        await running.until(lambda: running.texts[-1] == "mine")
        await running.until(lambda: "as a copy" in running.notices)
        await running.idle()
        await running.say("again")
    assert sorted(stored(file)) == [
        ["apples", "about apples", "elsewhere", "a b"],
        ["apples", "about apples", "here", "mine", "again", "more"],
    ]
    store = Store(file)
    assert {about.title for about in store.listed()} == {"apples", "apples (copy)"}
    store.close()


@pytest.mark.parametrize("half", ["", "half an"])
async def test_copy_stops_an_answer_that_another_program_is_writing(
    file: Path, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    other = f"{os.getppid()}:{processes.started(os.getppid())}"
    elsewhere = Conversation()
    asked = elsewhere.say("apples")
    reply = elsewhere.reply(asked.id, model="fake", settings=SamplingSettings())
    store = Store(file)
    with monkeypatch.context() as patched:
        patched.setattr(rows, "_writer", lambda: other)
        if half:
            elsewhere.grow(reply.id, answer(half)[1])
        store.save({"apples": elsewhere.take_changes()})
        opened = store.load(1)
        elsewhere.grow(reply.id, answer(" answer")[1])
        store.save({"apples": elsewhere.take_changes()})
    engine = FakeEngine(["mine"], name="fake")
    async with chat(engine=engine, opened=opened, chats_file=file) as running:
        await running.until(lambda: len(running.views) == 2)
        await running.ask("here")
        await running.until(lambda: "as a copy" in running.notices)
        await running.until(lambda: running.last_text == "mine")
        await running.idle()
        shown = [text for text in running.texts if text]
        assert shown == (["apples", half, "here", "mine"] if half else ["here", "mine"])
        assert "not answered" not in running.seen
        assert "…" not in running.seen.partition("You")[2].partition("Write")[0]
        assert ("stopped" in running.seen) is bool(half)
        sent = [value for verb, value in engine.calls if verb == "prompt"][-1]
        assert [turn.content for turn in sent[0]] == shown[:-1]
    states = {node.state for node in store.load(2).conversation.nodes}
    assert "growing" not in states
    store.close()


def test_stored_message_without_an_answer_says_nothing_of_its_replacement() -> None:
    chat = Conversation()
    asked = chat.say("one")
    reply = chat.reply(asked.id, model="fake", settings=SamplingSettings())
    later = ChatMessage(8, reply.id, "user", "two")
    answered = ChatMessage(9, 8, "assistant", "yes")
    old = Conversation.restored(
        [*chat.nodes[:2], replace(reply, state="stopped"), later, answered],
        {**chat.chosen, reply.id: 8, 8: 9},
    )
    assert [note_of(old, node) for node in old.path[1:]] == ["", "stopped", "", ""]


async def test_full_disk_is_told_and_saving_is_retried(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = False
    save = Store.save

    def refuse(store: Store, changes: Any, known: Any) -> Any:
        if not room:
            raise LmtuiError("the disk is full", "", "Free some space.")
        return save(store, changes, known)

    monkeypatch.setattr(Store, "save", refuse)
    async with kept(file) as running:
        await running.ask("count")
        await running.until(lambda: running.texts == ["count", "one two three"])
        await running.until(lambda: "disk is full" in running.notices)
        room = True
        await running.until(lambda: "saved again" in running.notices)
    assert stored(file) == [["count", "one two three"]]


async def test_program_without_a_store_has_no_history_screen() -> None:
    async with program(first="start") as running:
        await running.on(StartScreen)
        assert "Conversations" not in running.seen
        await running.press("c")
        await running.on(ChatScreen)
        await running.press("ctrl+o")
        assert isinstance(running.app.screen, ChatScreen)


async def test_a_long_conversation_is_opened_at_its_end(file: Path) -> None:
    chat = Conversation()
    for number in range(30):
        exchange(chat, f"q{number}", "a")
    store = Store(file)
    store.save({"long": chat.take_changes()})
    opened = store.load(1)
    store.close()
    async with kept(file, opened=opened) as running:
        await running.until(lambda: "q29" in running.seen)
        assert len(running.views) == PART
        more = running.chat.transcript.query_one("#more", Static)
        assert "40 earlier messages" in str(more.render())
        transcript = running.chat.transcript

        def at_the_beginning() -> bool:
            transcript.scroll_home(animate=False)
            return running.views[0].text == "q0"

        await running.until(at_the_beginning)
        assert len(running.views) <= MOST + STEP
        for _ in range(20):
            transcript.scroll_end(animate=False)
            await running.pilot.pause()
        await running.until(lambda: running.views[-2].text == "q29")


async def test_the_oldest_turns_are_left_out_where_all_do_not_fit(file: Path) -> None:
    engine = FakeEngine(["a" * 30, "b" * 30, "c" * 30], context=160)
    options = ChatOptions(drop_oldest=True)
    async with chat(engine=engine, chats_file=file, chat=options) as running:
        for text in ("one", "two", "three"):
            await running.say(text)
        assert running.views[-1].note == "without 2 earlier messages"
        node = running.leaf
        assert node.prompt is not None and "user: one" not in node.prompt.text
        assert "user: two" in node.prompt.text and node.left_out == 2
    assert load(file).conversation.path[-1].left_out == 2


async def test_broken_store_is_put_aside_and_told(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)
    async with kept(file) as running:
        await running.until(lambda: "was damaged" in running.notices)
        await running.say("count")
    assert stored(file) == [["count", "one two three"]]
    assert file.with_name("chats.db.broken-1").read_bytes().startswith(b"no database")


@pytest.mark.parametrize("before", ["word " * 30, "字" * 90, "x" * 200, "short "])
def test_history_row_shows_the_hit_whatever_stands_before_it(before: str) -> None:
    text = f"{before}東京 and more"
    start = len(before)
    hit = Hit(1, 1, "A title", "user", Excerpt(text, ((start, start + 2),)))
    line = line_of(hit).plain
    assert "東京" in line and line.index("東京") <= 26 + 1 + 32
    assert ("…" in line) == (before != "short ")


async def test_conversations_of_one_title_are_told_apart(file: Path) -> None:
    store = Store(file)
    for reply in ("the first answer", "the second answer"):
        chat = Conversation()
        exchange(chat, "Hi", reply)
        exchange(chat, f"more of {reply}", "so be it")
        store.save({reply: chat.take_changes()})
    store.close()
    async with kept(file) as running:
        screen = await listed(running)
        about = screen.query_one("#about", Static)
        await running.until(lambda: "more of the second answer" in str(about.content))
        assert "the second answer" in str(about.content)
        await running.press("down")
        await running.until(lambda: "more of the first answer" in str(about.content))
    row = about_row("Hi", preview="so be it")
    assert line_of(row).plain.endswith("Hi  so be it")


def about_row(title: str, *, preview: str) -> ConversationSummary:
    return ConversationSummary(
        title, id=1, uid="u", messages=2, preview=preview, model=None, touched=1
    )


def test_history_hits_of_one_conversation_show_its_title_once() -> None:
    hit = Hit(1, 1, "Lights", "user", Excerpt("a lighthouse", ((2, 12),)))
    other = Hit(2, 1, "Boats", "user", Excerpt("a lighthouse", ((2, 12),)))
    assert "Lights" in line_of(hit, other).plain
    assert "Lights" not in line_of(hit, hit).plain


async def test_opened_hit_changes_the_conversation_only_when_continued(
    file: Path,
) -> None:
    store, chat = Store(file), Conversation()
    old = exchange(chat, "lighthouse")
    chat.end_at(0)
    exchange(chat, "harbour")
    store.save({"a": chat.take_changes()})
    store.close()
    async with kept(file, "more") as running:
        running.app.post_message(ConversationChosen(1, old.id, "lighthouse"))
        await running.until(lambda: running.texts == ["lighthouse", "a b"])
        await running.press("f3", "escape")
    assert stored(file) == [["harbour", "a b"]]
    async with kept(file, "more") as running:
        running.app.post_message(ConversationChosen(1, old.id, "lighthouse"))
        await running.until(lambda: running.texts == ["lighthouse", "a b"])
        await running.press("escape")
        await running.say("go on")
    assert stored(file) == [["lighthouse", "a b", "go on", "more"]]
