"""Which of the oldest turns of a conversation are left out where it does not fit.

Owns the choice: whole turns, the oldest first; the system message and the last turn
always stay. A quarter of the context is freed at a time, so that several answers go on
from the same beginning, which the cache then has. The cut depends on nothing but what
is said and the room there is. Tells what a chat template leaves out too. Knows the
engine only through its port.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from lmtui.engine.protocol import Engine
from lmtui.engine.thinking import thinking_in
from lmtui.engine.types import ChatTurn, Prompt

_SHARE = 4  # of the context: room enough for an answer, and what is freed at a time


def fitted(
    engine: Engine,
    messages: Sequence[ChatTurn],
    *,
    prefill: str = "",
    thinking: bool | None = None,
    answer: int,
) -> tuple[Prompt, int]:
    """A prompt with room for so many tokens of an answer, and how many messages are
    left out for that, or by the template. Where nothing can be left out, it is as long
    as it is."""
    context = engine.info.context
    share = max(1, context // _SHARE)
    room = context - min(answer, share)
    first = 1 if messages and messages[0].role == "system" else 0
    cuts = [i for i, m in enumerate(messages) if m.role == "user" and i >= first]
    cuts = cuts or [first]

    def laid_out(place: int) -> Prompt:
        kept = (*messages[:first], *messages[cuts[place] :])
        return engine.prompt(
            kept if place else messages, prefill=prefill, thinking=thinking
        )

    whole = laid_out(0)
    size = len(whole.ids)
    if size <= room or len(cuts) == 1:
        return whole, dropped(messages, whole)
    # Whole shares, counted from the first turn: the cut stays where it is until the
    # conversation is longer by one.
    freed = -(-(size - room) // share) * share
    place = bisect_left(
        range(1, len(cuts) - 1),
        True,
        key=lambda i: size - len(laid_out(i).ids) >= freed,
    )
    prompt, cut = laid_out(place + 1), cuts[place + 1]
    kept = (*messages[:first], *messages[cut:])
    return prompt, cut - first + dropped(kept, prompt)


def dropped(messages: Sequence[ChatTurn], prompt: Prompt) -> int:
    """How many messages the chat template left out of a prompt that was made of them:
    their words are not in it. What an answer thought is no part of that."""
    count = at = 0
    for message in messages:
        thought = thinking_in(message.content) if message.role == "assistant" else None
        words = message.content[thought.end if thought else 0 :].strip()
        # Some templates put the system message before the last turn.
        found = prompt.text.find(words, 0 if message.role == "system" else at)
        if found < 0:
            count += 1
        elif message.role != "system":
            at = found + len(words)
    return count
