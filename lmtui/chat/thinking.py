"""The reasoning of a reply: its span in the text, its tokens and its duration.

All of it follows from the text, the tokens and the prompt; nothing extra is stored.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmtui.chat.message import ChatMessage
from lmtui.engine.text.thinking import ReasoningSpan, ThinkingFinder, thinking_in
from lmtui.engine.types import FinishReason, Step
from lmtui.notation import counted, number


@dataclass(frozen=True, slots=True)
class ReasoningInfo:
    span: ReasoningSpan
    """Its span in the reply's text."""
    tokens: int = 0
    """Number of tokens, its marks included; 0 where they are not known."""
    seconds: float | None = None
    """Estimated duration: its share, by tokens, of the reply's time."""
    grows: bool = False
    """Whether it is still being generated."""

    @property
    def words(self) -> str:
        count = counted(self.tokens, "token")
        if self.grows:
            return f"thinking … {count}"
        parts = ["thought", count if self.tokens else ""]
        said = " ".join(part for part in parts if part)
        took = "" if self.seconds is None else f", ≈ {number(self.seconds, ',.1f')} s"
        return f"{said}{took}{'' if self.span.closing else ', not to its end'}"


def thought_of(node: ChatMessage) -> ReasoningInfo | None:
    """Return the reasoning of a reply; None where there is none or it is not known."""
    span = _span(node)
    if span is None:
        return None
    pieces = [len(step.piece) for step in node.opened().steps]
    tokens = _count(pieces, len(node.content) - len(node.rest), span.end)
    grows = node.state == "growing" and not span.closing
    return ReasoningInfo(span, tokens, _seconds(node, tokens, len(pieces)), grows)


class ReasoningTracker:
    """The reasoning of a reply that grows, found without reading it all again.

    After every `grow` the result is that of `thought_of` for the reply so far.
    """

    def __init__(self, node: ChatMessage) -> None:
        """`node` is the reply once its prompt is known."""
        self._finder = ThinkingFinder(opened=node.is_opened)
        self._starts: list[int] = []  # where each token begins in the text
        lengths = [len(step.piece) for step in node.steps]
        self._end = len(node.content) - len(node.rest) - sum(lengths)
        self._append(lengths)

    def _append(self, lengths: Iterable[int]) -> None:
        for length in lengths:
            self._starts.append(self._end)
            self._end += length

    def grow(self, node: ChatMessage, steps: Sequence[Step]) -> ReasoningInfo | None:
        """Return the reasoning of the reply, which now ends with these steps."""
        self._append(len(step.piece) for step in steps)
        span = self._finder.find(node.content)
        if span is None:
            return None
        tokens = bisect_left(self._starts, span.end)
        return ReasoningInfo(span, tokens, grows=not span.closing)


def answer_of(node: ChatMessage) -> str:
    """Return the text of a message without its reasoning."""
    span = _span(node)
    return node.content[span.end :] if span else node.content


def _span(node: ChatMessage) -> ReasoningSpan | None:
    if node.role != "assistant":
        return None
    span = thinking_in(node.content)
    if span is None and _was_broken_off(node):
        span = thinking_in(node.content, opened=node.opened().is_opened)
    return span


def _was_broken_off(node: ChatMessage) -> bool:
    """Return whether the reply may have ended before its reasoning's closing mark."""
    ended = node.finish is not None and node.finish.reason is FinishReason.STOP
    return not ended and (node.prompt is not None or node.packed is not None)


def _count(pieces: Sequence[int], length: int, end: int) -> int:
    """Return how many tokens begin before `end`; the last token ends at `length`."""
    at, count = length - sum(pieces), 0
    for piece in pieces:
        if at >= end:
            break
        at, count = at + piece, count + 1
    return count


def _seconds(node: ChatMessage, tokens: int, all_tokens: int) -> float | None:
    """Return the duration; None unless one generation made all of the reply."""
    if node.finish is None or not tokens or node.finish.tokens != all_tokens:
        return None
    return node.finish.seconds * tokens / all_tokens
