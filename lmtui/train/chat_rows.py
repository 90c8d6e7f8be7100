"""Rows of a file as ids, each id with whether its loss counts.

Owns that only what the model writes is learned: the answers of a conversation, the
completion of a prompt, and the token behind them. The layout of a conversation, and
that no text of it becomes a control token, is `PromptWriter`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmtui.engine.prompt import PromptWriter
from lmtui.engine.types import Message
from lmtui.errors import LmtuiError
from lmtui.train.rows import Completion

Tokens = tuple[list[int], list[bool]]
"""Ids, and of each whether its loss counts."""


def conversation(
    messages: Sequence[Message], writer: PromptWriter, ending: Sequence[int]
) -> Tokens:
    """A conversation up to its last answer, as the model reads it, and `ending`.

    Learned are the answers, each with the token that ends its turn; where turns have
    none, `ending` after the last. It only sets documents apart otherwise.

    Raises:
        LmtuiError: the model's template refuses it, or shows no answer as it is.
    """
    answered = [i for i, message in enumerate(messages, 1) if _is_answer(message)]
    ids, answers = writer.answered(messages[: answered[-1]])
    if not answers:
        raise LmtuiError("the model's chat template hides the answers")
    trained = [False] * len(ids)
    for first, behind in answers:
        trained[first:behind] = [True] * (behind - first)
    if ids[-len(ending) :] != list(ending):
        ids += ending
        trained += [writer.turn_end is None] * len(ending)
    return ids, trained


def _is_answer(message: Message) -> bool:
    return message.role == "assistant"


def completion(row: Completion, writer: PromptWriter, ending: Sequence[int]) -> Tokens:
    """A prompt, what is learned to follow it, and `ending`.

    Both are read as the one text that they are; a token that belongs to both is
    learned.
    """
    encoding = writer.document(row.prompt + row.completion, "auto")
    given = len(row.prompt)
    trained = [False] * len(encoding.prefix)
    trained += [end > given for _, end in encoding.spans]
    ids = [*encoding.prefix, *encoding.ids, *ending]
    return ids, trained + [True] * len(ending)
