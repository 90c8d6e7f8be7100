"""What a reply thought before it answered: where in its text, and how much.

Owns how the tokens of the thinking are told from those of the answer. Nothing is kept
for it: all of it follows from the text, the tokens and the prompt. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmtui.chat.message import ChatMessage
from lmtui.chat.token_codec import unpack
from lmtui.engine.thinking import ReasoningSpan, opens, thinking_in
from lmtui.engine.types import FinishReason
from lmtui.notation import counted, number


@dataclass(frozen=True, slots=True)
class ReasoningInfo:
    """The thinking of one reply."""

    place: ReasoningSpan
    """Where it stands in the text."""
    tokens: int = 0
    """How many tokens it is, its marks included; 0 where they are not known."""
    seconds: float | None = None
    """About how long it took: its share, by tokens, of the time of the reply."""
    grows: bool = False
    """Whether it is still written."""

    @property
    def words(self) -> str:
        """What is said of it in its place."""
        count = counted(self.tokens, "token")
        if self.grows:
            return f"thinking … {count}"
        parts = ["thought", count if self.tokens else ""]
        said = " ".join(part for part in parts if part)
        took = "" if self.seconds is None else f", ≈ {number(self.seconds, ',.1f')} s"
        return f"{said}{took}{'' if self.place.closing else ', not to its end'}"


def thought_of(node: ChatMessage) -> ReasoningInfo | None:
    """What a reply thought; None where it did not think, or nothing tells."""
    if node.role != "assistant":
        return None
    place = thinking_in(node.content)
    if place is None and _was_broken_off(node):
        node = node.opened()
        place = thinking_in(node.content, opened=_is_opened(node))
    if place is None:
        return None
    pieces = _pieces(node)
    tokens = _count(pieces, len(node.content) - len(node.rest), place.end)
    grows = node.state == "growing" and not place.closing
    return ReasoningInfo(place, tokens, _seconds(node, tokens, len(pieces)), grows)


def answer_of(node: ChatMessage) -> str:
    """The text of a message without what was thought before it."""
    thought = thought_of(node)
    return node.content[thought.place.end :] if thought else node.content


def _was_broken_off(node: ChatMessage) -> bool:
    """Whether the mark behind the thinking can be missing for want of time."""
    ended = node.finish is not None and node.finish.reason is FinishReason.STOP
    return not ended and (node.prompt is not None or node.packed is not None)


def _is_opened(node: ChatMessage) -> bool:
    """Whether the prompt, without what of the reply is in it, begins thinking."""
    if node.prompt is None:
        return False
    spoken = "".join(step.piece for step in node.steps)
    head = node.content.removesuffix(node.rest).removesuffix(spoken)
    return opens(node.prompt.text.removesuffix(head))


def _pieces(node: ChatMessage) -> Sequence[int]:
    """How much each generated token added to the text, in code points."""
    if node.packed is None:
        return [len(step.piece) for step in node.steps]
    try:
        return unpack(node.packed.steps).pieces if node.packed.steps else ()
    except ValueError:  # what was kept is damaged
        return ()


def _count(pieces: Sequence[int], length: int, end: int) -> int:
    """How many tokens begin before `end`; the last of them ends at `length`."""
    at, count = length - sum(pieces), 0
    for piece in pieces:
        if at >= end:
            break
        at, count = at + piece, count + 1
    return count


def _seconds(node: ChatMessage, tokens: int, all_tokens: int) -> float | None:
    """Only where one generation made all of the reply its time is known."""
    if node.finish is None or not tokens or node.finish.tokens != all_tokens:
        return None
    return node.finish.seconds * tokens / all_tokens
