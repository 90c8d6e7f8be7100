"""What of an answer is thinking: where it begins and where it ends.

Owns the marks that models put around their thinking, and how they are found in a text.
Only the beginning of an answer can be thinking; marks anywhere else are text. Knows no
tokenizer and no template.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CHANNELS = (
    "<|channel|>analysis<|message|>",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
)
"""In the harmony format of gpt-oss thinking and answer are two messages; these stand
before the one and between both. What a model says on other channels in between is
thinking too."""
MARKS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), CHANNELS)
"""What stands before and after it: the first pair in the chat templates of Qwen3,
DeepSeek-R1, SmolLM3 and others, the second in that of Mistral's Magistral."""

_OPENING = re.compile(r"\s*(" + "|".join(re.escape(a) for a, _ in MARKS) + r")\n*")
# Where the prompt has the opening mark, the answer has only the closing one; it stands
# at the end of a line there, as it hardly does where an answer speaks of it.
_ALONE = re.compile("(" + "|".join(re.escape(b) for _, b in MARKS) + r")[ \t]*(?=\n|$)")


@dataclass(frozen=True, slots=True)
class ReasoningSpan:
    """The thinking at the beginning of an answer, as places in its text."""

    start: int
    """Where its words begin, behind the opening mark."""
    stop: int
    """Where they end, before the closing mark."""
    end: int
    """Where the words of the answer begin."""
    opening: str
    """The mark before it; empty where that is the end of the prompt."""
    closing: str
    """The mark behind it; empty where it has not come to its end."""


def thinking_in(text: str, *, opened: bool = False) -> ReasoningSpan | None:
    """The thinking in an answer, if there is any; `opened` says that the prompt ended
    with the mark before it."""
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
    """Whether a prompt ends with the mark before thinking, so that an answer begins
    with it."""
    return prompt.rstrip().endswith(tuple(opening for opening, _ in MARKS))
