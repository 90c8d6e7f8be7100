"""`lmtui inspect --chat ID --message N`: score a chat message in its context.

The model that wrote the message reads the saved ids; any other model reads the text,
re-tokenised, after the earlier messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lmtui.cli import history
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.detokenizer import spans_of
from lmtui.engine.types import (
    ChatTurn,
    Encoding,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.files import TextSource


@dataclass(frozen=True, slots=True)
class StoredMessageText(TextSource):
    """A message of a conversation, scored after those before it."""

    messages: Callable[[str | None], tuple[ChatTurn, ...]] = lambda _: ()
    """Returns the messages before it, for a model to read."""
    steps: tuple[Step, ...] = ()
    """Tokens that it was written with; empty if they are not all known."""
    before: tuple[int, ...] = ()
    """Ids before those tokens."""
    model: str | None = None
    """Label of the model that wrote it."""

    def read(self, engine: Engine) -> tuple[Encoding, bool]:
        """Return the encoding, and whether it has the ids of the message as written."""
        if self.steps and self.model == engine.info.label:
            ids = tuple(step.id for step in self.steps)
            spans = spans_of(self.text, [step.bytes for step in self.steps])
            return Encoding(ids, spans, self.before), True
        messages = self.messages(engine.info.label)
        trace = engine.score_draft(messages, self.text, SamplingSettings(), top_n=1)
        ids = tuple(token.id for token in trace.tokens)
        spans = spans_of(self.text, [token.bytes for token in trace.tokens])
        return Encoding(ids, spans, trace.context), False


def stored_message(which: str, number: int | None) -> StoredMessageText:
    """Return a message on the shown branch of a conversation.

    `number` counts from 1; None is the last message.
    """
    loaded = history.load(which)
    chat = loaded.conversation
    said = [node for node in chat.path[1:] if node.content]
    number = len(said) if number is None else number
    if not 0 < number <= len(said):
        raise LmtuiError(
            "there is no such message",
            f"{number} of conversation {loaded.about.id}",
            f"Give 1 to {len(said)}." if said else "It has no messages yet.",
        )
    node = chat.node(said[number - 1].id)
    whole = node.steps and node.prompt and not (node.given or node.rest)
    return StoredMessageText(
        name=f"chat {loaded.about.id}, message {number}",
        text=node.content,
        messages=lambda model: chat.messages(node.parent, model=model),
        steps=node.steps if whole else (),
        before=node.ids_before if whole else (),
        model=node.model,
    )
