"""Detection of the thinking at the beginning of an answer.

Marks anywhere else in an answer are text. Knows no tokenizer and no template.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CHANNELS = (
    "<|channel|>analysis<|message|>",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
)
"""Marks in the harmony format of gpt-oss, where thinking and answer are two messages:
before the thinking, and between the two. Text on other channels in between is thinking
too."""
MARKS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), CHANNELS)
"""Opening and closing mark: the first pair in the chat templates of Qwen3, DeepSeek-R1,
SmolLM3 and others, the second in that of Mistral's Magistral."""

_OPENING = re.compile(r"\s*(" + "|".join(re.escape(a) for a, _ in MARKS) + r")\n*")
# Where the prompt ends with the opening mark, the answer has only the closing one, at
# the end of a line; an answer that mentions the mark hardly has it there.
_ALONE = re.compile("(" + "|".join(re.escape(b) for _, b in MARKS) + r")[ \t]*(?=\n|$)")


@dataclass(frozen=True, slots=True)
class ReasoningSpan:
    """Span of the thinking at the beginning of an answer, as offsets in code points."""

    start: int
    """Where the thinking begins, after the opening mark."""
    stop: int
    """Where the thinking ends, before the closing mark."""
    end: int
    """Where the answer proper begins."""
    opening: str
    """The mark before the thinking; empty where the prompt has it."""
    closing: str
    """The mark after the thinking; empty where it has not ended."""


def thinking_in(text: str, *, opened: bool = False) -> ReasoningSpan | None:
    """Return the span of the thinking in an answer, if any; `opened` says that the
    prompt ended with the opening mark."""
    if match := _OPENING.match(text):
        opening, start = match[1], match.end()
        closing = dict(MARKS)[opening]
        return _upto(text, start, text.find(closing, start), opening, closing)
    closings = [mark for _, mark in MARKS if mark in text]
    closing = min(closings, key=text.find, default="")
    stop = text.find(closing) if closing else -1
    if opened:
        return _upto(text, 0, stop, "", closing)
    spoken_of = any(text.find(mark, 0, stop) >= 0 for mark, _ in MARKS)
    if stop < 0 or spoken_of or not _ALONE.match(text, stop):
        return None
    return _upto(text, 0, stop, "", closing)


def _upto(
    text: str, start: int, stop: int, opening: str, closing: str
) -> ReasoningSpan:
    if stop < 0:
        return ReasoningSpan(start, len(text), len(text), opening, "")
    end = stop + len(closing)
    while text.startswith("\n", end):
        end += 1
    return ReasoningSpan(start, stop, end, opening, closing)


def opens(prompt: str) -> bool:
    """Return whether a prompt ends with an opening mark, so that the answer begins with
    thinking."""
    return prompt.rstrip().endswith(tuple(opening for opening, _ in MARKS))
