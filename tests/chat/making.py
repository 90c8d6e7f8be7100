"""Conversations with everything in them, for whoever keeps or shows them."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import ScoredToken
from tests.chat.test_message import answer

PLAIN = SamplingSettings()


def exchange(
    chat: Conversation, text: str, reply: str = "a b", *, model: str = "fake"
) -> ChatMessage:
    """A message of the user and a whole reply, which is returned."""
    asked = chat.say(text)
    begun = chat.reply(asked.id, model=model, settings=PLAIN)
    prompt, steps, finish = answer(*_words(reply))
    chat.lay_out(begun.id, prompt)
    chat.grow(begun.id, steps)
    return chat.finish(begun.id, finish)


def full() -> Conversation:
    """Branches, a score, a stopped reply, an amended one, something deleted."""
    chat = Conversation("be brief")
    first = exchange(chat, "What is the capital of France?", "It is Paris.")
    known = ScoredToken(1, 104, "h", b"h", -1.5, 3, 2.0)
    unknown = ScoredToken(0, 87, "W", b"W", None, None, None)
    chat.score(1, [unknown, known], by="fake")
    exchange(chat, "And of Japan?", "Tōkyō 🏯")
    chat.reply(first.parent or 0, model="other", settings=replace(PLAIN, seed=7))
    chat.break_off(chat.leaf.id, "stopped")
    amended = chat.edit(first.id, "It is Lyon.")
    chat.choose(amended.id)
    gone = exchange(chat, "never mind")
    chat.delete(gone.id)
    chat.choose(first.id)
    return chat


def same(one: Conversation, other: Conversation) -> bool:
    """Whether both say the same and lead the same way, their tokens put aside."""
    return bare(one) == bare(other) and one.chosen == other.chosen


def bare(chat: Conversation) -> list[ChatMessage]:
    """The messages without what is known of their tokens."""
    return [
        replace(chat.node(node.id), steps=(), scored=(), packed=None)
        for node in chat.nodes
    ]


@contextmanager
def no_file_grows() -> Iterator[None]:
    """Let no file of this process be longer than a page."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _words(text: str) -> list[str]:
    first, *others = text.split(" ")
    return [first, *(f" {word}" for word in others)]
