"""One message of a conversation, with all that is known of its tokens.

Owns the value and how a reply grows: every change makes a new value, so that what
is drawn or stored stays what it was. Knows no tree, no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from lmtui.engine.types import (
    Finish,
    FinishReason,
    Message,
    Prompt,
    Role,
    SamplingSettings,
    ScoredToken,
    Step,
)

State = Literal["growing", "whole", "stopped", "failed"]
"""How far a message is: still written, ended by itself, stopped by the user, or
broken off by an error. What is written stands in every case."""


@dataclass(frozen=True, slots=True)
class Node:
    """One message and its place in the tree."""

    id: int
    """Grows with the order in which messages were made."""
    parent: int | None
    """The message it follows; None for the root alone."""
    role: Role
    content: str
    state: State = "whole"
    steps: tuple[Step, ...] = ()
    """The tokens of a generated message, numbered through from 0."""
    scored: tuple[ScoredToken, ...] = ()
    """The tokens of a written message, once they were scored."""
    prompt: Prompt | None = None
    """What a reply was generated after, without its own tokens."""
    finish: Finish | None = None
    """How the last generation of it ended; its totals are of that generation."""
    settings: SamplingSettings | None = None
    """How the last of its tokens were drawn."""
    model: str | None = None
    """What wrote it."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The generated tokens."""
        return tuple(step.id for step in self.steps)

    @property
    def tokens(self) -> tuple[Step, ...] | tuple[ScoredToken, ...]:
        """Its tokens with their numbers, generated or scored; empty if unknown."""
        return self.steps or self.scored

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
    def message(self) -> Message:
        """As the engine reads it."""
        return Message(self.role, self.content)

    @property
    def continuation(self) -> Prompt | None:
        """The prompt that goes on exactly where the text ends, for the same model;
        None where its ids are not known.

        Tokens at the end that are no part of the text (the end token, the first
        bytes of a character that never got whole) are not in it.
        """
        if self.prompt is None:
            return None
        ids = (*self.prompt.ids, *(step.id for step in self._spoken()))
        text = self.prompt.text + "".join(step.piece for step in self.steps)
        return Prompt(ids, text, self.prompt.stop_texts)

    def grown(self, steps: Iterable[Step]) -> Node:
        """With more tokens."""
        count = len(self.steps)
        numbered = [replace(s, index=count + i) for i, s in enumerate(steps)]
        return replace(
            self,
            steps=(*self.steps, *numbered),
            content=self.content + "".join(step.piece for step in numbered),
        )

    def finished(self, finish: Finish) -> Node:
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

    def resumed(self) -> Node:
        """Growing again from where its text ends."""
        return replace(self, steps=self._spoken(), state="growing", finish=None)

    def _spoken(self) -> tuple[Step, ...]:
        """The steps up to the last one that added to the text."""
        end = len(self.steps)
        while end and not self.steps[end - 1].piece:
            end -= 1
        return self.steps[:end]
