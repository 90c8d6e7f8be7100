"""One message of a conversation, with its tokens and their scores.

A message is an immutable value: every change makes a new one. Knows no tree, no engine
and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.thinking import MARKS, ReasoningSpan, opens, thinking_in
from lmtui.engine.types import (
    Candidate,
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    Role,
    ScoredToken,
    Step,
)

MessageState = Literal["growing", "whole", "stopped", "failed"]
"""The progress of a message: being written, complete, stopped by the user, or failed.

Its text so far is kept in every case.
"""

NO_VALUE = -1
"""The handle of a distribution whose rows were not kept."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message and its position in the tree."""

    id: int
    """Ids grow in order of creation."""
    parent: int | None
    """Id of the message before it; None for the root only."""
    role: Role
    content: str
    state: MessageState = "whole"
    steps: tuple[Step, ...] = ()
    """The tokens of a generated message, indexed from 0."""
    scored: tuple[ScoredToken, ...] = ()
    """The tokens of a written message, once it was scored."""
    prompt: Prompt | None = None
    """The prompt that a reply was generated after, without the generated tokens."""
    finish: GenerationResult | None = None
    """The result of its last generation; the totals are of that generation only."""
    settings: SamplingSettings | None = None
    """The sampling settings of its last generation."""
    model: str | None = None
    """Label of the model that wrote it."""
    scored_by: str | None = None
    """Label of the model that computed `scored`."""
    given: int = 0
    """How many ids at the end of `prompt` are the message's own, written by hand.

    0 also where that is not known.
    """
    rest: str = ""
    """The end of its text that was written by hand after `prompt` and has no ids
    yet."""
    left_out: int = 0
    """How many messages of the conversation were left out of `prompt` for lack of
    room."""
    gone: bool = False
    """Whether the user deleted it; it can be restored."""
    packed: bytes | None = None
    """Its tokens and prompt as the store keeps them, until `opened`."""

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(step.id for step in self.steps)

    @property
    def tokens(self) -> tuple[Step, ...] | tuple[ScoredToken, ...]:
        """The tokens with their scores, generated or scored; empty if unknown.

        Where its beginning was written by hand, only the scored ones cover all of it.
        """
        return self.scored if self.given and self.scored else self.steps or self.scored

    @property
    def own_ids(self) -> tuple[int, ...]:
        """All ids of its text and of its end, those written by hand included.

        Empty where they are not known.
        """
        if self.prompt is None or self.rest or (self.head and not self.given):
            return ()
        return (*self.prompt.ids[len(self.prompt.ids) - self.given :], *self.ids)

    @property
    def ids_before(self) -> tuple[int, ...]:
        """All ids before its own."""
        if self.prompt is None:
            return ()
        return self.prompt.ids[: len(self.prompt.ids) - self.given]

    @property
    def logprob(self) -> float | None:
        """Sum of its tokens' logprobs in nats; None if none is known."""
        known = [t.logprob for t in self.tokens if t.logprob is not None]
        return math.fsum(known) if known else None

    @property
    def is_empty(self) -> bool:
        """Whether it ended without text."""
        return not self.content and self.state != "growing"

    @property
    def message(self) -> ChatTurn:
        """The message as the engine reads it."""
        return ChatTurn(self.role, self.content)

    @property
    def continuation(self) -> Prompt | None:
        """The prompt that continues exactly at the end of the text, for the same model.

        None where its ids are not known. Without `rest`, and without tokens at the end
        that are not part of the text: the end token, or the first bytes of an
        incomplete character.
        """
        if self.prompt is None:
            return None
        ids = (*self.prompt.ids, *(step.id for step in self._spoken()))
        text = self.prompt.text + "".join(step.piece for step in self.steps)
        begun = self.content.removesuffix(self.rest)
        return Prompt(ids, text, self.prompt.stop_texts, begun=begun)

    def opened(self) -> ChatMessage:
        """Return the message with its tokens unpacked; without them if they are
        damaged."""
        if self.packed is None:
            return self
        from lmtui.chat.records import opened  # imported here: it loads pydantic

        return opened(self)

    @property
    def reasoning(self) -> ReasoningSpan | None:
        return thinking_in(self.content, opened=self.is_opened)

    @property
    def is_opened(self) -> bool:
        """Whether its prompt, without its own text, ends in open reasoning."""
        prompt = self.prompt
        return prompt is not None and opens(prompt.text.removesuffix(self.head))

    @property
    def head(self) -> str:
        """The beginning of its text that was not generated; without `rest`."""
        spoken = "".join(step.piece for step in self.steps)
        return self.content.removesuffix(self.rest).removesuffix(spoken)

    def marked(self, text: str) -> str:
        """Return a wording of the message that says by itself where its reasoning
        begins, for a prompt other than its own."""
        span = self.reasoning
        if span is None or span.opening:
            return text
        goes_on = not span.closing or span.closing in text
        return f"{MARKS[0][0]}\n{text}" if goes_on else text

    def amended(self, text: str) -> ChatMessage:
        """Return the message with another text.

        The tokens that spell the beginning of the new text stay, as ids; the remaining
        text is its `rest`. No ids stay, and there is no prompt, where that beginning is
        empty, or the change lies within reasoning that the message ended: behind the
        old prompt, the new text would be something else.
        """
        bare = replace(
            self,
            content=self.marked(text),
            state="whole",
            steps=(),
            scored=(),
            finish=None,
            prompt=None,
            given=0,
            rest="",
        )
        head, span = self.head, self.reasoning
        if self.prompt is None or (head and not self.given):
            return bare
        if not text.startswith(head):
            return bare
        kept = self.steps[: _kept(self.steps, text[len(head) :])]
        said = head + "".join(step.piece for step in kept)
        if span is None:
            holds = bool(said)
        elif span.closing:
            holds = len(said) >= span.end
        else:  # it goes on to reason
            new = thinking_in(text, opened=self.is_opened)
            holds = new is not None and not new.closing and len(said) >= span.start
        if not holds:
            return bare
        prompt = Prompt(
            (*self.prompt.ids, *(step.id for step in kept)),
            self.prompt.text + said[len(head) :],
            self.prompt.stop_texts,
        )
        given, rest = self.given + len(kept), text[len(said) :]
        return replace(bare, content=text, prompt=prompt, given=given, rest=rest)

    def branched(self, index: int, candidate: Candidate) -> ChatMessage:
        """Return the message up to a token, with another one in its place.

        Raises:
            ValueError: its ids are not known, or it would end within a character.
        """
        own, tokens = self.own_ids, self.tokens
        if self.prompt is None or len(tokens) != len(own) or index >= len(own):
            raise ValueError("not all of its ids are known")
        said = b"".join(token.bytes for token in tokens[:index]) + candidate.bytes
        text = said.decode("utf-8")  # a ValueError too
        head = self.content.removesuffix(self.rest)
        before = self.prompt.text
        if self.given:
            spoken = "".join(step.piece for step in self.steps)
            before = before.removesuffix(head.removesuffix(spoken))
        ids = (*self.ids_before, *own[:index], candidate.id)
        prompt = Prompt(ids, before + text, self.prompt.stop_texts)
        bare = replace(self, steps=(), scored=(), finish=None, rest="")
        given = index + 1
        return replace(bare, content=text, state="whole", prompt=prompt, given=given)

    def grown(self, steps: Iterable[Step]) -> ChatMessage:
        count = len(self.steps)
        numbered = [replace(s, index=count + i) for i, s in enumerate(steps)]
        return replace(
            self,
            steps=(*self.steps, *numbered),
            scored=(),
            content=self.content + "".join(step.piece for step in numbered),
        )

    def finished(self, finish: GenerationResult) -> ChatMessage:
        """Return the message ended with the result of its generation."""
        stopped = finish.reason is FinishReason.CANCELLED
        steps = self.steps
        if steps and finish.piece:  # text held back until now belongs to the last step
            last = replace(steps[-1], piece=steps[-1].piece + finish.piece)
            steps = (*steps[:-1], last)
        return replace(
            self,
            steps=steps,
            content=self.content + finish.piece,
            finish=replace(finish, taken_back=()),
            state="stopped" if stopped else "whole",
        )

    def resumed(self) -> ChatMessage:
        """Return the message ready to continue from the end of its text."""
        return replace(self, steps=self._spoken(), state="growing", finish=None)

    def _spoken(self) -> tuple[Step, ...]:
        """Return the steps up to the last one that added text."""
        end = len(self.steps)
        while end and not self.steps[end - 1].piece:
            end -= 1
        return self.steps[:end]


def taken_back(reply: ChatMessage, finish: GenerationResult) -> list[ChatMessage]:
    """Return a version of a reply for each passage that its generation took back: the
    text up to there, and the passage."""
    before = len(reply.steps) - finish.tokens
    versions = []
    for taken in finish.taken_back:
        steps = (*reply.steps[: before + taken.index], *taken.steps)
        numbered = tuple(replace(step, index=i) for i, step in enumerate(steps))
        text = reply.head + "".join(step.piece for step in numbered)
        versions.append(
            replace(
                reply,
                steps=numbered,
                scored=(),
                content=text,
                finish=None,
                rest="",
                state="stopped",
            )
        )
    return versions


def _kept(steps: tuple[Step, ...], text: str) -> int:
    """Return how many of the steps spell the beginning of a text, in whole
    characters."""
    kept = at = 0
    for count, step in enumerate(steps, 1):
        if not text.startswith(step.piece, at):
            break
        at += len(step.piece)
        kept = count if step.piece else kept
    return kept
