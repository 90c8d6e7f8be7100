"""One message of a conversation, with all that is known of its tokens.

Owns the value and how a reply grows: every change makes a new value, so that what
is drawn or stored stays what it was. Knows no tree, no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from lmtui.chat.token_codec import EncodedTokens, unpack, unpack_prompt
from lmtui.engine.types import (
    Candidate,
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    Role,
    SamplingSettings,
    ScoredToken,
    Step,
)

MessageState = Literal["growing", "whole", "stopped", "failed"]
"""How far a message is: still written, ended by itself, stopped by the user, or
broken off by an error. What is written stands in every case."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message and its place in the tree."""

    id: int
    """Grows with the order in which messages were made."""
    parent: int | None
    """The message it follows; None for the root alone."""
    role: Role
    content: str
    state: MessageState = "whole"
    steps: tuple[Step, ...] = ()
    """The tokens of a generated message, numbered through from 0."""
    scored: tuple[ScoredToken, ...] = ()
    """The tokens of a written message, once they were scored."""
    prompt: Prompt | None = None
    """What a reply was generated after, without its own tokens."""
    finish: GenerationResult | None = None
    """How the last generation of it ended; its totals are of that generation."""
    settings: SamplingSettings | None = None
    """How the last of its tokens were drawn."""
    model: str | None = None
    """What wrote it."""
    scored_by: str | None = None
    """The model whose numbers `scored` are."""
    given: int = 0
    """How many ids at the end of `prompt` are the beginning of its own text, written by
    hand; 0 also where that is not known."""
    rest: str = ""
    """The end of its text that was written by hand after `prompt` and that no ids stand
    for yet."""
    left_out: int = 0
    """How many messages of the conversation were left out of `prompt`, for want of
    room."""
    gone: bool = False
    """Whether the user deleted it; it can be had back as long as it is there."""
    packed: EncodedTokens | None = None
    """Its tokens and its prompt as a store keeps them, until `opened`."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The generated tokens."""
        return tuple(step.id for step in self.steps)

    @property
    def tokens(self) -> tuple[Step, ...] | tuple[ScoredToken, ...]:
        """Its tokens with their numbers, generated or scored; empty if unknown. Where
        its beginning was written by hand, only the scored ones are all of them."""
        return self.scored if self.given and self.scored else self.steps or self.scored

    @property
    def own_ids(self) -> tuple[int, ...]:
        """All ids of its text and of what ends it, those given by hand included; none
        where they are not known."""
        if self.prompt is None or self.rest:
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
        """Sum over its tokens in nats, without those that have none; None if
        nothing is known."""
        known = [t.logprob for t in self.tokens if t.logprob is not None]
        return math.fsum(known) if known else None

    @property
    def is_empty(self) -> bool:
        """Whether it ended without a word."""
        return not self.content and self.state != "growing"

    @property
    def message(self) -> ChatTurn:
        """As the engine reads it."""
        return ChatTurn(self.role, self.content)

    @property
    def continuation(self) -> Prompt | None:
        """The prompt that goes on exactly where the text ends, for the same model;
        None where its ids are not known.

        Tokens at the end that are no part of the text (the end token, the first
        bytes of a character that never got whole) are not in it, nor is `rest`.
        """
        if self.prompt is None:
            return None
        ids = (*self.prompt.ids, *(step.id for step in self._spoken()))
        text = self.prompt.text + "".join(step.piece for step in self.steps)
        return Prompt(ids, text, self.prompt.stop_texts)

    def opened(self) -> ChatMessage:
        """With its tokens at hand; without them where what was kept is damaged."""
        if self.packed is None:
            return self
        packed, bare = self.packed, replace(self, packed=None)
        try:
            return replace(
                bare,
                steps=unpack(packed.steps).steps(self.content) if packed.steps else (),
                scored=unpack(packed.scored).scored() if packed.scored else (),
                prompt=unpack_prompt(packed.prompt) if packed.prompt else None,
            )
        except ValueError:
            return replace(bare, scored_by=None, given=0)

    def amended(self, text: str) -> ChatMessage:
        """With other words. Of its tokens those stay, as ids, that say what the new
        words begin with; the other words are its `rest`."""
        spoken = "".join(step.piece for step in self.steps)
        head = self.content.removesuffix(self.rest).removesuffix(spoken)
        bare = replace(self, content=text, state="whole", steps=(), scored=(),
                       finish=None, prompt=None, given=0, rest="")  # fmt: skip
        if self.prompt is None or (head and not self.given):
            return bare
        if not text.startswith(head):
            return replace(bare, prompt=_without(self.prompt, self.given, head),
                           rest=text)  # fmt: skip
        kept = self.steps[: _kept(self.steps, text[len(head) :])]
        said = "".join(step.piece for step in kept)
        prompt = Prompt(
            (*self.prompt.ids, *(step.id for step in kept)),
            self.prompt.text + said,
            self.prompt.stop_texts,
        )
        given, rest = self.given + len(kept), text[len(head) + len(said) :]
        return replace(bare, prompt=prompt, given=given, rest=rest)

    def branched(self, index: int, candidate: Candidate) -> ChatMessage:
        """Up to one of its tokens, with another one in that token's place, to go on
        from there.

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
        """With more tokens."""
        count = len(self.steps)
        numbered = [replace(s, index=count + i) for i, s in enumerate(steps)]
        return replace(
            self,
            steps=(*self.steps, *numbered),
            scored=(),
            content=self.content + "".join(step.piece for step in numbered),
        )

    def finished(self, finish: GenerationResult) -> ChatMessage:
        """Ended, by itself or by the user."""
        stopped = finish.reason is FinishReason.CANCELLED
        steps = self.steps
        if steps and finish.piece:  # text held back until now is the last step's
            last = replace(steps[-1], piece=steps[-1].piece + finish.piece)
            steps = (*steps[:-1], last)
        return replace(
            self,
            steps=steps,
            content=self.content + finish.piece,
            finish=finish,
            state="stopped" if stopped else "whole",
        )

    def resumed(self) -> ChatMessage:
        """Growing again from where its text ends."""
        return replace(self, steps=self._spoken(), state="growing", finish=None)

    def _spoken(self) -> tuple[Step, ...]:
        """The steps up to the last one that added to the text."""
        end = len(self.steps)
        while end and not self.steps[end - 1].piece:
            end -= 1
        return self.steps[:end]


def _kept(steps: tuple[Step, ...], text: str) -> int:
    """How many of the steps say the beginning of a text, in whole characters."""
    kept = at = 0
    for count, step in enumerate(steps, 1):
        if not text.startswith(step.piece, at):
            break
        at += len(step.piece)
        kept = count if step.piece else kept
    return kept


def _without(prompt: Prompt, given: int, head: str) -> Prompt:
    """A prompt up to where the answer begins."""
    ids = prompt.ids[: len(prompt.ids) - given]
    return Prompt(ids, prompt.text.removesuffix(head), prompt.stop_texts)
