"""Another answer under a seed is another one, and can be had again."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.engine.types import SamplingSettings
from tests.chat.test_message import answer

SEEDED = SamplingSettings(seed=7)
PROMPT, STEPS, FINISH = answer("a", " b")


def answered(chat: Conversation, to: int, settings: SamplingSettings = SEEDED,
             model: str = "m") -> ChatMessage:  # fmt: skip
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
    chat.fail(chat.reply(to, model="m", settings=SEEDED).id)
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
