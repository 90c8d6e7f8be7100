"""Prompts of conversations: the oldest turns are left out where all do not fit.

The system message and the last turn always stay. Knows the engine only through its
protocol.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence

from lmtui.engine.protocol import Engine
from lmtui.engine.text.thinking import thinking_in
from lmtui.engine.types import ChatTurn, Prompt

# A quarter of the context is enough room for an answer. Turns are also dropped a
# quarter at a time, so that several answers share a prefix, which the KV cache keeps.
_SHARE = 4


def fitted(
    engine: Engine,
    messages: Sequence[ChatTurn],
    *,
    prefill: str = "",
    thinking: bool | None = None,
    answer: int,
) -> tuple[Prompt, int]:
    """Return a prompt with room for an answer of `answer` tokens, and how many messages
    were dropped for that, or by the chat template.

    The cut depends only on the messages and the room. Where nothing can be dropped, the
    prompt may be too long.
    """
    context = engine.info.context or sys.maxsize
    share = max(1, context // _SHARE)
    room = context - min(answer, share)
    first = 1 if messages and messages[0].role == "system" else 0
    cuts = [i for i, m in enumerate(messages) if m.role == "user" and i >= first]
    cuts = cuts or [first]

    def laid_out(index: int) -> Prompt:
        kept = (*messages[:first], *messages[cuts[index] :])
        return engine.prompt(
            kept if index else messages, prefill=prefill, thinking=thinking
        )

    whole = laid_out(0)
    size = len(whole.ids)
    if size <= room or len(cuts) == 1:
        return whole, dropped(messages, whole)
    # Whole shares, counted from the first turn: the cut stays where it is until the
    # conversation has grown by another share.
    freed = -(-(size - room) // share) * share
    index = 1 + bisect_left(
        range(1, len(cuts) - 1),
        True,
        key=lambda i: size - len(laid_out(i).ids) >= freed,
    )
    prompt, cut = laid_out(index), cuts[index]
    kept = (*messages[:first], *messages[cut:])
    return prompt, cut - first + dropped(kept, prompt)


def dropped(messages: Sequence[ChatTurn], prompt: Prompt) -> int:
    """Return how many messages the chat template left out of a prompt made of them:
    their text is not in it. The thinking in an answer is not counted as its text."""
    count = at = 0
    for message in messages:
        thought = thinking_in(message.content) if message.role == "assistant" else None
        words = message.content[thought.end if thought else 0 :].strip()
        # Some templates put the system message before the last turn.
        start = prompt.text.find(words, 0 if message.role == "system" else at)
        if start < 0:
            count += 1
        elif message.role != "system":
            at = start + len(words)
    return count


def prompt_of(
    engine: Engine,
    start: Sequence[ChatTurn] | Prompt,
    *,
    prefill: str = "",
    thinking: bool | None = None,
    answer: int | None = None,
) -> tuple[Prompt, int]:
    """Return the prompt of a conversation, or of a prompt that is continued with
    `prefill`, and how many messages are left out of it.

    Turns are dropped for an answer of `answer` tokens; where it is None, only the chat
    template may leave some out.
    """
    if isinstance(start, Prompt):
        return _with_text(engine, start, prefill), 0
    if answer is not None:
        return fitted(engine, start, prefill=prefill, thinking=thinking, answer=answer)
    prompt = engine.prompt(start, prefill=prefill, thinking=thinking)
    return prompt, dropped(start, prompt)


def _with_text(engine: Engine, prompt: Prompt, text: str) -> Prompt:
    """Append a text to a prompt. The prompt's ids stay as they are; the text is encoded
    by itself, and nothing in it becomes a control token."""
    if not text:
        return prompt
    ids = (*prompt.ids, *_encode_continuation(engine, text))
    begun = prompt.begun + text
    return Prompt(ids, prompt.text + text, prompt.stop_texts, begun=begun)


def _encode_continuation(engine: Engine, text: str) -> tuple[int, ...]:
    """Return the ids of a text that does not begin a document. Some tokenizers put a
    space before the first word, so the text is also encoded after a newline."""
    alone, line = (engine.encode(part, bos="no").ids for part in (text, "\n"))
    after = engine.encode(f"\n{text}", bos="no").ids
    return after[len(line) :] if after[: len(line)] == line else alone
