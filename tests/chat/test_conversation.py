"""The tree of a conversation: what happens to it, and what never does."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.records import node_of, row_of
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Candidate,
    ChatTurn,
    FinishReason,
    Prompt,
    ScoredToken,
)
from tests.chat.test_message import answer

PLAIN = SamplingSettings()
PROMPT, STEPS, FINISH = answer("a", " b")


def exchange(chat: Conversation, text: str) -> tuple[ChatMessage, ChatMessage]:
    """A message and a whole reply."""
    asked = chat.say(text)
    return asked, answered(chat, asked.id, PLAIN)


def answered_chat(
    *tokens: str, after: str = ""
) -> tuple[Conversation, Prompt, ChatMessage]:
    """A question with a reply of these tokens, and the prompt of the reply, which ends
    with a text."""
    chat = Conversation()
    prompt, steps, finish = answer(*tokens)
    prompt = replace(prompt, text=prompt.text + after)
    reply = chat.reply(chat.say("one").id, model="m", settings=PLAIN)
    chat.lay_out(reply.id, prompt)
    chat.grow(reply.id, steps)
    return chat, prompt, chat.finish(reply.id, finish)


def contents(chat: Conversation) -> list[str]:
    return [node.content for node in chat.path[1:]]


def test_messages_hold_all_turns_in_order() -> None:
    chat = Conversation("be brief")
    exchange(chat, "one")
    asked, reply = exchange(chat, "two")
    assert chat.leaf == reply
    assert contents(chat) == ["one", "a b", "two", "a b"]
    assert chat.messages(asked.id) == (
        ChatTurn("system", "be brief"),
        ChatTurn("user", "one"),
        ChatTurn("assistant", "a b"),
        ChatTurn("user", "two"),
    )
    assert chat.messages() == (*chat.messages(asked.id), ChatTurn("assistant", "a b"))


def test_last_answer_of_a_model_is_given_as_it_was_generated() -> None:
    chat = Conversation()
    exchange(chat, "one")
    _, reply = exchange(chat, "two")
    last = chat.say("three").id
    read = [turn.known for turn in chat.messages(last, model="m")]
    assert read == [None, None, None, reply.continuation, None]
    assert reply.continuation is not None
    assert not any(turn.known for turn in chat.messages(last, model="n"))
    assert not any(turn.known for turn in chat.messages(last))
    stored = Conversation.restored(
        [node_of(row_of(node)) for node in chat.nodes], chat.chosen
    )
    assert stored.messages(last, model="m")[3].known == reply.continuation


def test_unanswered_message_is_not_sent_again() -> None:
    chat = Conversation()
    asked = chat.say("one")
    reply = chat.reply(asked.id, model="m", settings=PLAIN)
    chat.break_off(reply.id, "failed")
    again = chat.say("one, please")
    assert chat.messages() == (ChatTurn("user", "one, please"),)
    assert [n.id for n in chat.siblings(again.id)] == [asked.id, again.id]


def test_repeating_an_unanswered_message_reuses_it() -> None:
    chat = Conversation()
    asked = chat.say("one")
    chat.break_off(chat.reply(asked.id, model="m", settings=PLAIN).id, "stopped")
    other = chat.say("two")
    assert chat.turns == (chat.root,)
    assert chat.say("one").id == asked.id
    assert [node.id for node in chat.path] == [0, asked.id]
    assert {node.id for node in chat.siblings(asked.id)} == {asked.id, other.id}
    assert not chat.is_answered(asked.id)
    exchange(chat, "one")
    assert chat.is_answered(asked.id)
    chat.end_at(0)
    assert chat.say("one").id != asked.id


def test_stopped_reply_without_words_is_no_version() -> None:
    chat = Conversation()
    _, reply = exchange(chat, "one")
    empty = chat.reply(reply.parent or 0, model="m", settings=PLAIN)
    assert len(chat.siblings(reply.id)) == 2
    chat.break_off(empty.id, "stopped")
    assert chat.siblings(reply.id) == (reply,)


def test_withdrawn_message_leaves_the_branch_as_it_was() -> None:
    chat = Conversation()
    _, reply = exchange(chat, "one")
    exchange(chat, "two")
    chat.end_at(reply.id)
    chat.delete(chat.say("three").id)
    chat.end_at(reply.id)
    assert contents(chat) == ["one", "a b"]
    assert [node.content for node in chat.children(reply.id)] == ["two"]


def test_visiting_a_branch_is_no_change_until_something_is_said() -> None:
    chat = Conversation()
    _, first = exchange(chat, "one")
    second = chat.reply(first.parent or 0, model="m", settings=PLAIN)
    chat.finish(second.id, FINISH)
    chat.take_changes()
    chat.visit(first.id)
    assert contents(chat) == ["one", "a b"]
    assert not chat.take_changes()
    chat.say("two")
    assert chat.take_changes().chosen == {1: first.id, first.id: chat.leaf.id}


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_unfinished_reply_with_words_stays_a_turn(
    state: Literal["stopped", "failed"],
) -> None:
    chat = Conversation()
    asked = chat.say("one")
    reply = chat.reply(asked.id, model="m", settings=PLAIN, prefill="a")
    assert chat.break_off(reply.id, state).content == "a"
    assert chat.say("go on").parent == reply.id


def test_resumed_reply_grows_after_its_text() -> None:
    chat = Conversation()
    _, reply = exchange(chat, "one")
    hot = SamplingSettings(temperature=2)
    resumed = chat.resume(reply.id, settings=hot)
    assert (resumed.id, resumed.state, resumed.settings) == (reply.id, "growing", hot)
    onward = reply.continuation
    assert onward is not None
    assert chat.lay_out(reply.id, onward).prompt == PROMPT
    chat.grow(reply.id, STEPS[:1])
    assert chat.finish(reply.id, FINISH).content == "a ba"


def test_resuming_a_reply_that_was_answered_grows_a_copy() -> None:
    chat = Conversation()
    _, reply = exchange(chat, "one")
    exchange(chat, "two")
    copy = chat.resume(reply.id, settings=PLAIN)
    chat.grow(copy.id, STEPS[:1])
    assert contents(chat) == ["one", "a ba"]
    chat.move(copy.id, -1)
    assert contents(chat) == ["one", "a b", "two", "a b"]


def test_undo_ends_the_branch_before_the_last_turn() -> None:
    chat = Conversation()
    exchange(chat, "one")
    asked, _ = exchange(chat, "two")
    assert chat.undo() == asked
    assert contents(chat) == ["one", "a b"]
    assert chat.undo() is not None and contents(chat) == []
    assert chat.undo() is None
    chat.choose(asked.id)
    assert contents(chat) == ["one", "a b", "two", "a b"]
    chat.undo()
    exchange(chat, "three")
    assert [n.content for n in chat.siblings(asked.id)] == ["two", "three"]


def test_deleted_messages_are_passed_over_and_can_be_restored() -> None:
    chat = Conversation()
    _, first = exchange(chat, "one")
    second = chat.reply(first.parent or 0, model="n", settings=PLAIN)
    chat.grow(second.id, STEPS[:1])
    exchange(chat, "two")
    chat.delete(second.id)
    assert contents(chat) == ["one", "a b"] and chat.leaf.id == first.id
    chat.delete(first.id)
    assert contents(chat) == ["one"] and not chat.children(1)
    chat.restore(second.id)
    assert contents(chat) == ["one", "a", "two", "a b"]


def test_reword_changes_user_and_system_messages_in_place() -> None:
    chat = Conversation("be brief")
    asked, _ = exchange(chat, "one")
    chat.score(asked.id, [ScoredToken(0, 1, "o", b"o", None, None, None)], by="m")
    assert chat.reword(asked.id, "uno").scored == ()
    chat.reword(0, "be long")
    assert [node.content for node in chat.path] == ["be long", "uno", "a b"]


def test_fork_copies_the_path_and_changes_independently() -> None:
    chat = Conversation("be brief")
    _, reply = exchange(chat, "one")
    exchange(chat, "two")
    chat.take_changes()
    fork = chat.fork(reply.id)
    assert contents(fork) == ["one", "a b"]
    assert fork.leaf.continuation == reply.continuation
    assert len(fork.take_changes().nodes) == 3
    exchange(fork, "three")
    assert contents(chat)[-2] == "two" and not chat.take_changes()


def test_restored_refuses_messages_that_form_no_tree() -> None:
    root, one = ChatMessage(0, None, "system", ""), ChatMessage(1, 0, "user", "a")
    for nodes, chosen in (
        ([one], {}),
        ([root, replace(one, parent=7)], {}),
        ([root, one, one], {}),
        ([root, replace(one, parent=None)], {}),
        ([replace(root, role="user")], {}),
        ([root, one], {0: 5}),
        ([root, one], {1: 0}),
    ):
        with pytest.raises(ValueError):
            Conversation.restored(nodes, chosen)


def test_amended_reply_keeps_ids_up_to_the_first_change() -> None:
    chat, prompt, reply = answered_chat("It", " is", " Paris", ".")
    amended = chat.edit(reply.id, "It is Lyon")
    ids = (*prompt.ids, *reply.ids[:2])
    assert amended.prompt == Prompt(ids, f"{prompt.text}It is")
    assert (amended.given, amended.rest, amended.steps) == (2, " Lyon", ())
    assert [n.id for n in chat.siblings(reply.id)] == [reply.id, amended.id]
    assert amended.continuation == amended.prompt
    whole = Prompt((*ids, 1, 2, 3), f"{prompt.text}It is Lyon")
    read = chat.lay_out(amended.id, whole)
    assert (read.prompt, read.given, read.rest) == (whole, 5, "")
    grown = chat.grow(amended.id, reply.steps[3:4])
    assert grown.content == "It is Lyon."
    again = chat.edit(amended.id, "It is Lyon. Yes")
    assert again.prompt is not None and again.prompt.ids == (
        *whole.ids,
        reply.steps[3].id,
    )
    assert (again.given, again.rest) == (6, " Yes")
    other = chat.edit(amended.id, "No")
    assert (other.prompt, other.given, other.rest) == (None, 0, "")


REASONED = ("It", " thought.", "</think>", "It is", " Paris")


@pytest.mark.parametrize("gap", ["", "\n", "\n\n"])
@pytest.mark.parametrize(
    ("text", "content", "kept"),
    [
        ("It thought.</think>{}It is Lyon", None, 4),  # the answer is another one
        ("It seems", None, 0),  # an answer without the reasoning
        ("It thought.", None, 0),
        ("It writes `</think>` there", "<think>\n{}", 0),
        ("It mused.</think>{}It is Paris", "<think>\n{}", 0),
    ],
)
def test_amended_reply_keeps_ids_only_behind_its_reasoning(
    text: str, content: str | None, kept: int, gap: str
) -> None:
    chat, prompt, reply = answered_chat(
        *REASONED[:2], f"</think>{gap}", *REASONED[3:], after="<think>\n"
    )
    edit = text.replace("{}", gap)
    amended = chat.edit(reply.id, edit)
    ids = amended.prompt.ids[len(prompt.ids) :] if amended.prompt else ()
    assert ids == reply.ids[:kept]
    assert amended.content == (content or "{}").replace("{}", edit)


def test_amended_unended_reasoning_goes_on_as_reasoning() -> None:
    chat, prompt, reply = answered_chat("Okay,", " the", " user", after="<think>\n")
    other = chat.edit(reply.id, "Hmm, the user")
    assert (other.prompt, other.rest) == (prompt, "Hmm, the user")
    kept = chat.edit(reply.id, "Okay, we")
    assert kept.prompt is not None and kept.rest == " we"
    assert kept.prompt.ids == (*prompt.ids, reply.ids[0])
    # For another model, the text says itself that it is reasoning.
    assert reply.marked("Hmm") == "<think>\nHmm"


def test_reply_that_begins_by_hand_is_branched_with_its_beginning_or_not_at_all() -> (
    None
):
    chat = Conversation()
    asked = chat.say("one")
    begun = chat.reply(asked.id, model="m", settings=PLAIN, prefill="Lyon")
    prompt, steps, finish = answer(" and", " Nice")
    for count in (0, 4):
        laid = Prompt((*prompt.ids, *b"Lyon"), f"{prompt.text}Lyon", given=count)
        reply = replace(chat.node(begun.id), prompt=laid, given=count)
        reply = reply.grown(steps).finished(finish)
        assert len(reply.own_ids) == (count + len(reply.ids) if count else 0)
        with pytest.raises(ValueError, match="ids"):
            reply.branched(1, Candidate(77, " Cannes", b" Cannes", -2.0))


def test_branch_replaces_one_token_of_a_reply() -> None:
    chat, prompt, reply = answered_chat("It", " is", " Paris")
    other = Candidate(77, " was", b" was", -2.0)
    taken = chat.branch(reply.id, 1, other)
    ids = (*prompt.ids, reply.ids[0], 77)
    assert taken.prompt == Prompt(ids, f"{prompt.text}It was")
    assert (taken.content, taken.given, taken.steps) == ("It was", 2, ())
    assert taken.continuation == taken.prompt
    part = Candidate(78, "⟨E3⟩", b"\xe3", -2.0)
    for index, candidate in ((1, part), (99, other)):
        with pytest.raises(ValueError):
            chat.branch(reply.id, index, candidate)
    with pytest.raises(ValueError, match="ids"):
        chat.branch(chat.reply(1, model="m", settings=PLAIN).id, 0, other)


def test_an_amended_reply_without_ids_is_only_text() -> None:
    chat = Conversation()
    asked = chat.say("one")
    reply = chat.reply(asked.id, model="m", settings=PLAIN, prefill="It is")
    amended = chat.edit(reply.id, "It was")
    assert (amended.prompt, amended.rest, amended.content) == (None, "", "It was")


class RandomConversation(RuleBasedStateMachine):
    """Any sequence of what can be done to a conversation."""

    def __init__(self) -> None:
        super().__init__()
        self.chat = Conversation("system")
        self.seen: dict[int, ChatMessage] = {0: self.chat.root}
        self.kept: dict[int, ChatMessage] = {}
        self.chosen: dict[int, int] = {}

    def pick(self, data: st.DataObject, role: str) -> ChatMessage | None:
        nodes = [node for node in self.chat.nodes if node.role == role]
        return data.draw(st.sampled_from(nodes)) if nodes else None

    @rule(text=st.text(min_size=1, max_size=3))
    def say(self, text: str) -> None:
        said = self.chat.say(text)
        assert self.chat.leaf == said and (said.role, said.content) == ("user", text)

    @rule(data=st.data(), text=st.text(max_size=3))
    def edit(self, data: st.DataObject, text: str) -> None:
        if node := self.pick(data, "user"):
            new = self.chat.edit(node.id, text)
            assert self.chat.leaf == new and new.parent == node.parent

    @rule(data=st.data())
    def reply(self, data: st.DataObject) -> None:
        if node := self.pick(data, "user"):
            new = self.chat.reply(node.id, model="m", settings=PLAIN)
            assert self.chat.leaf == new

    @rule(data=st.data())
    def regenerate(self, data: st.DataObject) -> None:
        if node := self.pick(data, "assistant"):
            new = self.chat.reply(node.parent or 0, model="m", settings=PLAIN)
            assert self.chat.siblings(node.id)[-1] == new

    @rule(data=st.data(), count=st.integers(0, 3))
    def grow(self, data: st.DataObject, count: int) -> None:
        if node := self.pick(data, "assistant"):
            grown = self.chat.grow(node.id, STEPS[:count])
            assert grown.content.startswith(node.content)

    @rule(data=st.data(), reason=st.sampled_from(FinishReason))
    def finish(self, data: st.DataObject, reason: FinishReason) -> None:
        if node := self.pick(data, "assistant"):
            self.chat.finish(node.id, replace(FINISH, reason=reason))

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        if node := self.pick(data, "assistant"):
            self.chat.break_off(node.id, "failed")

    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        if node := self.pick(data, "assistant"):
            self.chat.break_off(node.id, "stopped")

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        if node := self.pick(data, "assistant"):
            resumed = self.chat.resume(node.id, settings=PLAIN)
            assert resumed in self.chat.path and resumed.content == node.content

    @rule(data=st.data(), text=st.text(max_size=5))
    def amend(self, data: st.DataObject, text: str) -> None:
        if node := self.pick(data, "assistant"):
            amended = self.chat.edit(node.id, text)
            assert self.chat.leaf == amended and amended.content == text
            assert text.endswith(amended.rest)

    @rule()
    def undo_and_return(self) -> None:
        before = self.chat.path
        if undone := self.chat.undo():
            assert self.chat.path == before[: len(self.chat.path)] != before
            self.chat.choose(undone.id)
        assert self.chat.path == before

    @rule(data=st.data())
    def delete_and_restore(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.chat.nodes))
        if node.parent is not None:
            self.chat.delete(node.id)
            assert node.id not in [n.id for n in self.chat.path]
            self.chat.restore(node.id)
            assert node in self.chat.path

    @rule()
    def keep(self) -> None:
        changes = self.chat.take_changes()
        assert not self.chat.take_changes()
        for node in changes.nodes:
            self.kept[node.id] = node
        for parent, child in changes.chosen.items():
            self.chosen.pop(parent, None)
            if child is not None:
                self.chosen[parent] = child
        again = Conversation.restored(self.kept.values(), self.chosen)
        assert (again.nodes, again.chosen) == (self.chat.nodes, self.chat.chosen)

    @rule(data=st.data(), by=st.integers(-3, 3))
    def move(self, data: st.DataObject, by: int) -> None:
        node = data.draw(st.sampled_from(self.chat.nodes))
        versions = self.chat.siblings(node.id)
        index = [version.id for version in versions].index(node.id) + by
        there = self.chat.move(node.id, by)
        assert there.id == versions[max(0, min(index, len(versions) - 1))].id
        assert there in self.chat.path

    @invariant()
    def there_is_one_root(self) -> None:
        assert [n.id for n in self.chat.nodes if n.parent is None] == [0]

    @invariant()
    def the_active_branch_is_connected(self) -> None:
        path = self.chat.path
        assert path == self.chat.trail(self.chat.leaf.id)
        assert [node.parent for node in path] == [None, *(n.id for n in path[:-1])]
        # What is said again without an answer continues before its empty replies.
        assert all(reply.is_empty for reply in self.chat.children(path[-1].id))

    @invariant()
    def siblings_are_in_order_of_creation(self) -> None:
        for node in self.chat.nodes:
            ids = [sibling.id for sibling in self.chat.siblings(node.id)]
            assert ids == sorted(set(ids)) and node.id in ids

    @invariant()
    def nothing_is_lost(self) -> None:
        now = {node.id: node for node in self.chat.nodes}
        for id_, before in self.seen.items():
            assert now[id_].content.startswith(before.content)
            assert (now[id_].parent, now[id_].role) == (before.parent, before.role)
        self.seen = now

    @invariant()
    def the_engine_reads_the_branch(self) -> None:
        read = [(m.role, m.content) for m in self.chat.messages()]
        assert read == [(n.role, n.content) for n in self.chat.path if n.content]


RandomConversation.TestCase.settings = examples(deadline=None)
TestRandomConversation = RandomConversation.TestCase


SEEDED = SamplingSettings(seed=7)


def answered(
    chat: Conversation, to: int, settings: SamplingSettings = SEEDED, model: str = "m"
) -> ChatMessage:
    reply = chat.reply(to, model=model, settings=settings)
    chat.lay_out(reply.id, PROMPT)
    chat.grow(reply.id, STEPS)
    return chat.finish(reply.id, FINISH)


def seed(node: ChatMessage) -> int | None:
    assert node.settings is not None
    return node.settings.seed


ways = st.builds(
    SamplingSettings,
    temperature=st.sampled_from([0.5, 1.0]),
    seed=st.sampled_from([None, 6, 7, 8, 2**63 - 1]),
)


@given(st.lists(st.tuples(ways, st.sampled_from("mn")), max_size=12))
def test_answers_never_reuse_a_seed_and_are_reproducible(
    asked: list[tuple[SamplingSettings, str]],
) -> None:
    def drawn() -> list[tuple[SamplingSettings | None, str | None]]:
        chat = Conversation()
        to = chat.say("go").id
        nodes = [answered(chat, to, way, model) for way, model in asked]
        return [(node.settings, node.model) for node in nodes]

    once = drawn()
    assert once == drawn()
    seeded = [way for way in once if way[0] and way[0].seed is not None]
    assert len(set(seeded)) == len(seeded)
    for number, ((wanted, model), (got, _)) in enumerate(zip(asked, once, strict=True)):
        assert got and got == replace(wanted, seed=got.seed)
        if (wanted, model) not in once[:number]:
            assert got == wanted


def test_first_answer_to_each_message_uses_the_given_seed() -> None:
    chat = Conversation()
    assert seed(answered(chat, chat.say("one").id)) == 7
    assert seed(answered(chat, chat.say("two").id)) == 7
    assert seed(answered(chat, chat.edit(1, "uno").id)) == 7


def test_new_seed_settings_or_model_are_used_as_given() -> None:
    chat = Conversation()
    to = chat.say("one").id
    assert [seed(answered(chat, to)) for _ in range(3)] == [7, 8, 9]
    assert seed(answered(chat, to, replace(SEEDED, seed=42))) == 42
    assert seed(answered(chat, to, replace(SEEDED, temperature=0.1))) == 7
    assert seed(answered(chat, to, model="n")) == 7
    assert seed(answered(chat, to, SamplingSettings())) is None


def test_seed_of_a_deleted_answer_is_skipped_of_a_failed_one_reused() -> None:
    chat = Conversation()
    to = chat.say("one").id
    chat.break_off(chat.reply(to, model="m", settings=SEEDED).id, "failed")
    first = answered(chat, to)
    assert seed(first) == 7
    chat.delete(first.id)
    assert seed(answered(chat, to)) == 8


def test_resumed_answer_keeps_its_own_seed() -> None:
    chat = Conversation()
    to = chat.say("one").id
    answered(chat, to)
    second = answered(chat, to)
    assert seed(chat.resume(second.id, settings=SEEDED)) == 8
    chat.finish(second.id, FINISH)
    assert seed(answered(chat, to)) == 9
