"""Saying it in other words, going other ways, and back."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from textual.events import Paste
from textual.widgets import OptionList

from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.notation import log_prob, perplexity, rate
from lmtui.tui.chat.pages import stats_page, totals_page
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.chat.tree import TreeScreen, rows_of
from lmtui.tui.dialogs import PageScreen
from tests.chat.making import exchange, full
from tests.tui.chat.chats import chat
from tests.tui.programs import assert_laid_out, holding


async def test_edited_message_sent_with_enter_becomes_a_new_version() -> None:
    async with chat("first", "second", asked="one") as running:
        running.prompt.insert("a draft")
        await running.on_message(0, "e")
        assert running.prompt.text == "one"
        await running.press("!", "enter")
        await running.answered("one!", "second")
        assert running.prompt.text == "a draft"
        assert running.views[0].note == "2/2"
        await running.on_message(0, "left_square_bracket")
        await running.answered("one", "first")


async def test_edited_message_kept_with_ctrl_s_replaces_the_old_words() -> None:
    async with chat("first", asked="one") as running:
        await running.on_message(0, "e")
        await running.press("!", "ctrl+s")
        await running.answered("one!", "first")
        assert running.views[0].note == ""


async def test_edited_text_keeps_characters_that_end_lines_elsewhere() -> None:
    text = "a\rb\r\nc\nd\x0be\x0cf\x85g\u2028h"
    async with chat(text, "second", asked="one") as running:
        await running.on_message(1, "e")
        assert running.prompt.text == text
        assert running.prompt.cursor_location == running.prompt.document.end
        await running.press("!", "left", "ctrl+s")
        await running.answered("one", f"{text}!")


async def test_pasted_text_keeps_characters_that_end_lines_elsewhere() -> None:
    async with chat("first", asked="one") as running:
        running.app.post_message(Paste("a\r\nb\rc\x0bd\u2028e"))
        await running.until(lambda: running.prompt.text == "a\nb\nc\x0bd\u2028e")
        await running.press("!")
        assert running.prompt.text == "a\nb\nc\x0bd\u2028e!"


async def test_alt_and_ctrl_arrows_move_the_focus_between_messages() -> None:
    async with chat("first", asked="one") as running:
        await running.press("alt+up")
        assert running.views[1].has_focus
        await running.press("alt+up", "ctrl+up")
        assert running.views[0].has_focus
        await running.press("alt+down", "ctrl+down")
        assert running.prompt.has_focus


async def test_t_opens_the_totals_page_of_an_answer() -> None:
    async with chat("It is Paris", asked="one", size=(80, 24)) as running:
        node = running.leaf
        assert node.finish is not None and node.logprob is not None
        await running.on_message(1, "t")
        await running.on(PageScreen)
        await running.until(lambda: "tokens        4" in running.seen)
        assert f"{node.logprob:,.2f} nats".replace("-", "−") in running.seen
        assert f"perplexity    {perplexity(node.finish.perplexity)}" in running.seen
        assert "seed" not in running.seen  # at temperature 0 nothing is drawn
        await running.press("escape")
        await running.on_message(0, "t")  # its tokens are not scored yet
        assert isinstance(running.app.screen, ChatScreen)


def test_totals_page_shows_all_digits_of_the_seed() -> None:
    chat = full()
    node = chat.node(2)
    assert node.finish is not None
    drawn = replace(node, finish=replace(node.finish, seed=2**32 - 1))
    page = totals_page(drawn)
    assert page is not None and "seed          4294967295, see" in page.plain
    went_on = totals_page(replace(node, finish=replace(node.finish, tokens=1)))
    assert went_on is not None and "of the last answer" in went_on.plain
    assert totals_page(chat.node(0)) is None


def test_totals_page_shows_model_sampler_times_and_speed() -> None:
    node = full().node(2)
    assert node.finish is not None and node.settings is not None
    timed = replace(node.finish, first_token_seconds=1.67, prompt_seconds=0.92,
                    seconds=3.0)  # fmt: skip
    settings = replace(node.settings, temperature=0.5, top_k=20)
    page = totals_page(replace(node, finish=timed, settings=settings))
    assert page is not None
    lines = dict(line.split(maxsplit=1) for line in page.plain.splitlines())
    assert lines["model"] == "fake" and lines["temperature"] == "0.5"
    assert lines["sampler"] == "top-k 20 · top-p 0.95 · min-p 0.05 · penalty 1"
    assert lines["time"] == "first token 1.67 s · prompt 0.92 s · 3.92 s in all"
    assert lines["speed"].endswith(" tokens/s")


def test_stats_page_gives_each_model_its_own_row() -> None:
    chat = Conversation()
    first = exchange(chat, "one", "It is Paris.")
    chat.reply(first.parent or 0, model="other", settings=SamplingSettings())
    chat.break_off(chat.leaf.id, "stopped")
    chat.choose(first.id)
    second = exchange(chat, "two", "Tōkyō 🏯", model="other")
    page = stats_page(chat, None).plain
    heads, *rows = page.split("\n\n")[1].splitlines()
    assert heads.split()[-1] == "model" and "bits/B" in heads
    assert [row.split()[-1] for row in rows] == ["fake", "other"]
    for node, row in zip((first, second), rows, strict=True):
        answers, tokens, nats, ppl, per_byte, *_ = row.split()
        assert (answers, int(tokens)) == ("1", len(node.steps))
        assert node.logprob is not None and nats == log_prob(node.logprob)
        assert ppl == perplexity(math.exp(-node.logprob / len(node.steps)))
        spoken = "".join(step.piece for step in node.steps).encode()
        assert per_byte == rate(-node.logprob / math.log(2) / len(spoken))
    both = (first.logprob or 0) + (second.logprob or 0)
    assert log_prob(both) not in page


def test_pages_name_a_models_file_without_its_path() -> None:
    chat = Conversation()
    for model in ("/a/gemma.gguf", "/b/gemma.gguf"):
        exchange(chat, model, "yes", model=model)
    totals, stats = totals_page(chat.leaf), stats_page(chat, None).plain
    assert totals is not None and "model         gemma\n" in totals.plain
    _, *rows = stats.split("\n\n")[1].splitlines()
    assert [row.split()[-1] for row in rows] == ["gemma", "gemma"]  # not pooled


async def test_system_message_edited_to_nothing_is_removed() -> None:
    async with chat("first", "second", asked="one") as running:
        await running.ask("/system Be brief.")
        await running.until(lambda: running.conversation.root.content)
        for keep in ("enter", "ctrl+s"):
            await running.ask("/system")
            running.prompt.text = ""
            await running.press(keep)
            await running.until(lambda: not running.conversation.root.content)
            assert running.chat.prompt.edited is None
            await running.ask("/system Be brief.")
        await running.on_message(1, "e")
        running.prompt.text = ""
        await running.press("enter", "ctrl+s")
        assert running.chat.prompt.edited is not None  # other messages need words
        await running.press("escape")


async def test_continue_says_when_the_model_has_nothing_to_add() -> None:
    async with chat("first", asked="one") as running:
        await running.press("ctrl+g")
        await running.until(lambda: running.state.startswith("nothing to add"))
        assert running.views[1].text == "first"


async def test_escape_cancels_editing_a_message() -> None:
    async with chat("first", asked="one") as running:
        await running.on_message(1, "e")
        assert "first" in running.prompt.text
        await running.press("x", "escape")
        assert running.prompt.text == ""
        await running.answered("one", "first")


async def test_edited_answer_is_continued_from_its_own_ids() -> None:
    async with chat("It is Paris", " and Nice", asked="one") as running:
        before = running.leaf
        await running.on_message(1, "e")
        for _ in "Paris":
            await running.press("backspace")
        await running.press(*"Lyon", "enter")
        await running.answered("one", "It is Lyon and Nice")
        node = running.leaf
        assert node.prompt is not None and before.prompt is not None
        own = (*before.ids[:2], *b" Lyon")
        assert node.prompt.ids == (*before.prompt.ids, *own)
        assert (node.given, node.rest) == (len(own), "")
        assert node.own_ids == (*own, *node.ids)
        assert running.views[1].note == "2/2"
        # All of it can be read token by token, what was written by hand too.
        await running.press("f3")
        tokens = running.tokens
        await running.until(lambda: len(tokens.tokens) == len(node.own_ids))
        assert all(token.logprob is not None for token in tokens.tokens)


async def test_answer_rewritten_from_its_first_word_is_laid_out_by_the_template() -> (
    None
):
    async with chat("It is Paris", " and Nice", asked="one") as running:
        await running.on_message(1, "e")
        for _ in "It is Paris":
            await running.press("backspace")
        await running.press(*"Lyon", "enter")
        await running.answered("one", "Lyon and Nice")
        # Behind the old prompt, which may end in open reasoning, it would be no answer.
        first, reply = running.conversation.siblings(running.leaf.id)
        assert first.prompt is not None and reply.prompt is not None
        assert reply.prompt.text == f"{first.prompt.text}Lyon"
        assert reply.given == 0  # laid out as the beginning of an answer


async def test_edited_answer_is_kept_with_ctrl_s_and_continued_later() -> None:
    async with chat("It is Paris", " now", asked="one") as running:
        await running.on_message(1, "e")
        await running.press(".", "ctrl+s")
        await running.answered("one", "It is Paris.")
        await running.press("escape", "ctrl+g")
        await running.answered("one", "It is Paris. now")


async def test_token_taken_from_the_panel_replaces_one_and_is_continued() -> None:
    async with chat("It is Paris", " and so on", asked="one") as running:
        before = running.leaf
        await running.press("f3", "right")
        panel = running.panel
        await running.until(lambda: panel.chosen == before.ids[1])
        await running.press("enter")
        assert panel.has_focus
        await running.press("down")
        assert panel.distribution is not None
        taken = panel.distribution.candidates[1]
        await running.press("enter")
        text = (b"It" + taken.bytes).decode()
        await running.answered("one", f"{text} and so on")
        node = running.leaf
        assert node.prompt is not None and before.prompt is not None
        assert node.prompt.ids == (*before.prompt.ids, before.ids[0], taken.id)
        assert running.views[1].note == "2/2"


async def test_a_fork_is_a_conversation_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    async with chat(
        "first", "second", "third", asked="one", chats_file=file
    ) as running:
        await running.say("two")
        await running.on_message(1, "k")
        await running.answered("one", "first")
        await running.press("escape")
        await running.say("three")
    store = Store(file)
    said = [[n.content for n in store.load(c.id).conversation.path[1:]]
            for c in store.listed()]  # fmt: skip
    store.close()
    assert said == [
        ["one", "first", "three", "third"],
        ["one", "first", "two", "second"],
    ]


async def test_undo_restores_a_deleted_version() -> None:
    async with chat("first", "second", asked="one") as running:
        await running.press("ctrl+r")
        await running.answered("one", "second")
        await running.on_message(1, "delete")
        await running.answered("one", "first")
        assert "Deleted" in running.notices
        await running.press("escape")
        await running.ask("/undo")
        await running.answered("one", "second")
        assert "Deleted" not in running.notices


async def test_text_typed_on_a_message_deletes_nothing() -> None:
    async with chat("first", asked="one") as running:
        await running.on_message(1, *"describe")
        assert running.prompt.text == "describe"
        assert running.texts == ["one", "first"]


async def test_undo_leaves_what_was_deleted_in_another_conversation() -> None:
    async with chat("first", asked="one") as running:
        await running.on_message(1, "delete")
        await running.answered("one")
        await running.press("escape", "ctrl+n")
        await running.answered()
        await running.ask("/undo")
        await running.until(lambda: "nothing to undo" in running.notices)


async def test_undo_command_takes_turns_back() -> None:
    async with chat("first", "second", asked="one") as running:
        await running.say("two")
        await running.ask("/undo")
        await running.answered("one", "first")
        await running.ask("/undo")
        await running.answered()


async def test_tree_screen_opens_the_chosen_message() -> None:
    async with chat("first", "second", "third", asked="one") as running:
        await running.press("ctrl+r")
        await running.answered("one", "second")
        await running.say("two")
        await running.press("f8")
        screen = await running.on(TreeScreen)
        assert_laid_out(screen)
        options = screen.query_one(OptionList)
        assert options.highlighted == 4
        await running.press("home", "down", "enter")
        await running.on(ChatScreen)
        await running.answered("one", "first")
        await running.press("f8")
        await running.on(TreeScreen)
        await running.press("escape")
        await running.on(ChatScreen)
        await running.answered("one", "first")


def test_tree_rows_show_messages_with_totals_and_versions() -> None:
    lines = [str(line) for _, line in rows_of(full())]
    assert lines == [
        "● You  What is the capital of France?",
        "● ├ Model  log P −2.04 nats · 4 tokens  It is Paris.  0.04 s · fake",
        "● │ You  And of Japan?",
        "● │ Model  log P −1.53 nats · 3 tokens  Tōkyō 🏯  0.03 s · fake",
        "  └ Model  It is Lyon.",
        "    You  never mind",
    ]


async def test_messages_cannot_be_edited_while_an_answer_is_generated() -> None:
    engine, go_on = holding("a b c", at=1, name="default")
    async with chat(engine=engine) as running:
        await running.ask("one")
        await running.until(lambda: len(running.views) == 2 and running.views[1].text)
        for key in ("e", "delete", "k"):
            await running.on_message(0, key)
            assert running.chat.prompt.edited is None and len(running.views) == 2
        go_on.set()
        await running.answered("one", "a b c")
        await running.on_message(0, "e")
        await running.press("ctrl+r")
        await running.until(
            lambda: running.chat.session.is_busy or running.views[1].note
        )
        await running.idle()
        assert running.chat.prompt.edited is not None
        await running.press("!", "enter")
        await running.until(lambda: running.views[0].text == "one!")


def test_totals_of_a_part_say_so() -> None:
    chat = Conversation()
    reply = exchange(chat, "Count", "one two three")
    bare = [replace(step, logprob=None) for step in reply.steps[1:2]]
    chat.resume(reply.id, settings=SamplingSettings())
    node = chat.grow(reply.id, bare)
    page = totals_page(node)
    assert page is not None and "Σ of 3 of 4 tokens" in page.plain
    row = stats_page(chat, None).plain.split("\n\n")[1].splitlines()[1]
    assert row.split() == ["1", "4", "–", "–", "–", "–", "fake"]
