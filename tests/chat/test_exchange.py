"""Conversations as JSON, Markdown and a page: complete, exact, and never obeyed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.chat.conversation import Conversation
from lmtui.chat.export import to_html, to_markdown
from lmtui.chat.message import ChatMessage
from lmtui.chat.records import from_json, to_json
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationMeta
from lmtui.config.settings import THINKING
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import ScoredToken
from lmtui.errors import LmtuiError
from lmtui.partial import EntropyRange, RankAbove
from lmtui.text import visible_flow
from tests.chat.making import exchange, full
from tests.chat.test_message import answer

FACTS = ConversationMeta(
    "A title", named=True, pinned=True, created=1.5, updated=1e9 + 0.123
)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"))
HOSTILE = "\x1b]0;x\x07 <script>alert(1)</script> [bold]x[/] \u202e & \x9b31m"


def line() -> str:
    return to_json(full(), FACTS)


def chat_of(*contents: str) -> Conversation:
    nodes = [ChatMessage(0, None, "system", contents[0])]
    for id_, content in enumerate(contents[1:], 1):
        role = "user" if id_ % 2 else "assistant"
        nodes.append(ChatMessage(id_, id_ - 1, role, content))  # type: ignore[arg-type]
    return Conversation.restored(nodes, {n.id - 1: n.id for n in nodes[1:]})


@pytest.mark.parametrize("thinking", [None, *THINKING])
def test_export_import_export_is_the_same_byte_for_byte(
    tmp_path: Path, thinking: str | None
) -> None:
    store = Store(tmp_path / "chats.db")
    first = store.load(store.add("a", full(), replace(FACTS, thinking=thinking)))
    before = to_json(first.conversation, first.about)
    second = store.load(store.add("b", *from_json(before)))
    assert to_json(second.conversation, second.about) == before
    assert before.isascii() is False and before.count("\n") == 1
    assert json.loads(before)["thinking"] == thinking
    store.close()


def test_json_keeps_bounds_of_a_server_and_tokens_that_a_grammar_forced() -> None:
    chat = Conversation()
    asked = chat.say("ab")
    listed = ScoredToken(0, 97, "a", b"a", -0.5, 1, EntropyRange(1.5, 2.0))
    spread = EntropyRange(1.5, math.inf)
    beyond = ScoredToken(1, 98, "b", b"b", -9.0, RankAbove(500), spread)
    chat.score(asked.id, [listed, beyond], by="far")
    reply = chat.reply(asked.id, model="m", settings=SamplingSettings())
    _, steps, finish = answer("one", "two")
    chat.grow(reply.id, [replace(step, forced=step.index == 0) for step in steps])
    chat.finish(reply.id, finish)
    before = to_json(chat, FACTS)
    again, meta = from_json(before)
    assert again.node(asked.id).scored == (listed, beyond)
    assert [s.forced for s in again.leaf.steps] == [True, False, False]
    assert to_json(again, meta) == before
    assert "ranks_above" not in line()


def test_json_holds_every_message_that_is_not_deleted() -> None:
    found = json.loads(line())
    chat = full()
    gone = next(node.id for node in chat.nodes if node.gone)
    ids = [message["id"] for message in found["messages"]]
    assert ids == [node.id for node in chat.nodes if node.id != gone]
    reply = found["messages"][2]
    node = chat.node(2)
    assert reply["steps"]["ids"] == list(node.ids)
    assert reply["prompt"]["ids"] == list(node.prompt.ids)  # type: ignore[union-attr]
    assert len(reply["steps"]["logprobs"]) == len(node.steps)
    assert found["messages"][1]["scored"]["logprobs"] == [None, -1.5]


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_json_round_trip_keeps_any_text(contents: list[str]) -> None:
    again, meta = from_json(to_json(chat_of(*contents), FACTS))
    assert [node.content for node in again.nodes] == contents
    assert meta == FACTS


def test_markdown_and_html_exports_fold_the_thinking() -> None:
    text = "<think>\nso <b>\n</think>\n\nIt is."
    chat = chat_of("", text, text)
    written = to_markdown(chat, "t")
    assert written.count("<details><summary>Thinking</summary>\n\n<think>\nso") == 1
    assert "</think>\n\n</details>\n\n\n\nIt is." in written
    page = to_html(chat, "t", updated=0.0)
    folded = "<details><summary>thought</summary>\n<pre>so &lt;b&gt;</pre>"
    assert page.count(folded) == 1
    assert "</details>\n<pre>It is.</pre></article>" in page


def test_markdown_holds_only_the_shown_branch() -> None:
    chat = Conversation("be brief")
    first = exchange(chat, "one")
    chat.edit(first.id, "two")
    text = to_markdown(chat, "A\ntitle")
    assert text == (
        "# A title\n\n## System\n\nbe brief\n\n## You\n\none\n\n"
        "## Assistant · fake\n\ntwo\n"
    )


@given(st.lists(TEXTS.filter(bool), min_size=2, max_size=5), TEXTS)
def test_markdown_shows_control_characters(contents: list[str], title: str) -> None:
    text = to_markdown(chat_of(*contents), title)
    assert visible_flow(text) == text
    assert all(visible_flow(content) in text for content in contents)


def edited(**changes: Any) -> str:
    found = json.loads(line())
    for path, value in changes.items():
        *way, last = path.split("__")
        at: Any = found
        for part in way:
            at = at[int(part[1:]) if part[0] == "m" and part[1:].isdigit() else part]
        at[last] = value
    return json.dumps(found)


BROKEN = [
        "", "null", "[]", "{}", "{" * 10, "[" * 100_000, '{"lmtui": "conversation"}',
        edited(version="x"), edited(version=None), edited(messages={}),
        edited(messages=[]), edited(messages=[7]), edited(title=3),
        edited(thinking="odd"), edited(thinking=True), edited(created=-1),
        edited(created="now"), edited(updated=1e300),
        edited(messages__m0__id=5), edited(messages__m1__parent=99),
        edited(messages__m1__parent=1), edited(messages__m1__id=-1),
        edited(messages__m1__id=2**70), edited(messages__m1__id=True),
        edited(messages__m1__role="root"), edited(messages__m1__role="system"),
        edited(messages__m1__role=["user"]), edited(messages__m1__content=None),
        edited(messages__m1__chosen=77), edited(messages__m2__state="odd"),
        edited(messages__m2__settings={"temperature": -1}),
        edited(messages__m2__settings={"__class__": "x"}),
        edited(messages__m2__finish={"reason": "boredom"}),
        edited(messages__m2__steps__ids=[1]), edited(messages__m2__steps__ids=None),
        edited(messages__m2__steps={"ids": []}), edited(messages__m2__steps="x"),
        edited(messages__m2__content="I"), edited(messages__m2__given=-4),
        edited(messages__m2__prompt__ids=[2**40]), edited(messages__m2__prompt=[]),
        edited(messages__m2__steps__bytes=["zz"] * 4),
        line().replace(":1.5,", ":NaN,"), line().replace(":1.5,", ":Infinity,"),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_from_json_refuses_broken_exports(number: int) -> None:
    with pytest.raises(LmtuiError, match="import") as raised:
        from_json(BROKEN[number])
    assert raised.value.hint


def test_a_newer_export_is_refused_with_a_hint() -> None:
    with pytest.raises(LmtuiError, match="newer") as raised:
        from_json(edited(version=99))
    assert raised.value.hint == "Update lmtui."


def test_html_export_escapes_hostile_text() -> None:
    chat = chat_of("", HOSTILE, HOSTILE)
    page = to_html(chat, HOSTILE, updated=0)
    assert "<script" not in page.replace("&lt;script", "")
    assert "\x1b" not in page and "\u202e" not in page and "\x9b" not in page
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")
    assert page.count("&lt;script&gt;alert(1)") == 4


def test_json_export_is_safe_on_a_terminal() -> None:
    text = to_json(chat_of(HOSTILE, HOSTILE), FACTS)
    assert not any(c in text for c in "\x1b\x07\u202e\x9b")
    assert from_json(text)[0].root.content == HOSTILE
