"""`lmtui inspect --chat ID --message N`: a message of a conversation, in its place.

Owns which ids a model reads: those that the message was written with, where it is the
model that wrote it; for any other the words, re-tokenised, after the messages before
them. `lmtui.chat` is imported late.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from lmtui.analysis.summary import Span
from lmtui.cli import history
from lmtui.cli.inspect.score import Rules, TextAfterContext
from lmtui.engine.protocol import Engine
from lmtui.engine.types import ChatTurn, Encoding, SamplingSettings, Step
from lmtui.errors import LmtuiError

if TYPE_CHECKING:
    from lmtui.tui.inspector.source import InspectSource


@dataclass(frozen=True, slots=True)
class KeptMessage(TextAfterContext):
    """A message, and what was before it."""

    messages: tuple[ChatTurn, ...] = ()
    steps: tuple[Step, ...] = ()
    """The tokens it was written with; none where they are not all known."""
    before: tuple[int, ...] = ()
    """The ids before them."""
    model: str | None = None
    """What wrote it."""

    def read(self, engine: Engine) -> tuple[Encoding, bool]:
        """Its ids, and whether they are those that it was written with.

        Raises:
            LmtuiError: it does not fit the context.
        """
        if self.steps and self.model == engine.info.label:
            ids = tuple(step.id for step in self.steps)
            spans = spans_of(self.text, [step.bytes for step in self.steps])
            return Encoding(ids, spans, self.before), True
        trace = engine.trace(self.messages, self.text, SamplingSettings(), top=1)
        ids = tuple(token.id for token in trace.tokens)
        spans = spans_of(self.text, [token.bytes for token in trace.tokens])
        return Encoding(ids, spans, trace.context), False

    def subject(self, rules: Rules) -> InspectSource:
        """The same for the screen."""
        from lmtui.tui.inspector.source import InspectSource, KnownTokens

        if self.steps:
            known = KnownTokens(self.steps, self.before, self.model or "")
            return InspectSource(self.name, known=known)
        return InspectSource(
            self.name,
            read=lambda: self.text,
            after=self.messages,
            window=rules.window,
            stride=rules.stride,
        )


def kept_message(which: str, number: int | None) -> KeptMessage:
    """A message on the shown branch of a conversation, from 1; None is the last one.

    Raises:
        LmtuiError: there is no such conversation or message.
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
    return KeptMessage(
        name=f"chat {loaded.about.id}, message {number}",
        text=node.content,
        messages=chat.messages(node.parent),
        steps=node.steps if whole else (),
        before=node.ids_before if whole else (),
        model=node.model,
    )


def spans_of(text: str, tokens: Sequence[bytes]) -> tuple[Span, ...]:
    """Where tokens stand in a text that their bytes say one after the other. What one
    says beside it (the end of what was before, a control token) has no place."""
    left = text.encode("utf-8")
    starts = list(accumulate((len(each.encode("utf-8")) for each in text), initial=0))
    spans, place = [], 0
    for data in tokens:
        sizes = range(len(data), 0, -1)
        fits = (size for size in sizes if left.startswith(data[-size:], place))
        end = place + next(fits, 0)
        first = min(bisect_right(starts, place) - 1, len(text))
        last = bisect_right(starts, end - 1) if end > place else first
        spans.append((first, last))
        place = end
    return tuple(spans)
