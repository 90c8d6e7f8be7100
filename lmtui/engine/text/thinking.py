"""Detection of the thinking at the beginning of an answer.

Marks anywhere else in an answer are text. Knows no tokenizer and no template.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

CHANNELS = (
    "<|channel|>analysis<|message|>",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
)
"""Marks in the harmony format of gpt-oss, where thinking and answer are two messages:
before the thinking, and between the two. Text on other channels in between is thinking
too."""
MARKS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    CHANNELS,
    ("<|channel>thought\n", "<channel|>"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<mm:think>", "</mm:think>"),
)
"""Opening and closing mark: the first pair in the chat templates of Qwen3, DeepSeek-R1,
SmolLM3 and others, then those of Magistral, gpt-oss, Gemma 4, Seed-OSS, Command A,
Apertus and MiniMax-M3."""

_OPENING = re.compile(r"\s*(" + "|".join(re.escape(a) for a, _ in MARKS) + r")\n*")
_CLOSINGS = tuple(closing for _, closing in MARKS)
"""Thinking ends with the first of these: another model than the one that began it may
have gone on with it."""
_LONE = tuple(closing for _, closing in MARKS[:3])
"""Closing marks of models whose prompts may end with the opening one. The answer then
has only the closing mark, at the end of a line; an answer that mentions the mark hardly
has it there."""
_ALONE = re.compile("(" + "|".join(map(re.escape, _LONE)) + r")[ \t]*(?=\n|$)")


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


def _first(marks: Sequence[str], text: str, start: int) -> tuple[int, str]:
    """Return where the first of some marks is, and which; -1 without one."""
    offsets = [(at, mark) for mark in marks if (at := text.find(mark, start)) >= 0]
    return min(offsets, default=(-1, ""))


def _ends_alone(text: str, stop: int) -> bool:
    """Return whether a closing mark ends thinking that nothing in the text opens."""
    spoken_of = any(text.find(mark, 0, stop) >= 0 for mark, _ in MARKS)
    return stop >= 0 and not spoken_of and bool(_ALONE.match(text, stop))


def _upto(
    text: str, start: int, stop: int, opening: str, closing: str
) -> ReasoningSpan:
    if stop < 0:
        return ReasoningSpan(start, len(text), len(text), opening, "")
    end = stop + len(closing)
    while text.startswith("\n", end):
        end += 1
    return ReasoningSpan(start, stop, end, opening, closing)


class ThinkingFinder:
    """Finds the thinking in an answer that grows, and reads no part of it again."""

    def __init__(self, *, opened: bool = False) -> None:
        """`opened` says that the prompt ended with the opening mark."""
        self._opened = opened
        self._opening: str | None = None  # "" where there is none
        self._start = 0  # where the thinking begins
        self._closing = ""
        self._stop = -1  # where the closing mark begins
        self._searched = 0  # up to where there is no closing mark
        self._is_final = False
        self._span: ReasoningSpan | None = None

    def find(self, text: str) -> ReasoningSpan | None:
        """Return the span of the thinking in an answer, which begins with the text that
        was given before."""
        if self._is_final:
            return self._span
        if not self._opening:
            self._find_opening(text)
        if self._stop < 0:
            self._find_closing(text)
        self._span = self._found(text)
        return self._span

    def _find_opening(self, text: str) -> None:
        if self._opening is None and (match := _OPENING.match(text)):
            self._opening, self._start = match[1], match.end()
            self._searched = self._start
        elif self._opening is None:
            said = text.lstrip()
            if not any(mark.startswith(said) for mark, _ in MARKS):
                self._opening = ""  # no mark can come any more

    def _find_closing(self, text: str) -> None:
        marks = _CLOSINGS if self._opening or self._opened else _LONE
        if self._opening:
            while text.startswith("\n", self._start):
                self._start += 1
            self._searched = max(self._searched, self._start)
        self._stop, self._closing = _first(marks, text, self._searched)
        if self._stop < 0:
            longest = max(map(len, marks))
            self._searched = max(self._searched, len(text) - longest + 1)

    def _found(self, text: str) -> ReasoningSpan | None:
        opening, stop = self._opening or "", self._stop
        if not (opening or self._opened):
            # Nothing has opened it: the closing mark counts at the end of a line only.
            if stop < 0:
                return None
            if not _ends_alone(text, stop):
                self._is_final = True
                return None
            line = text[stop + len(self._closing) :].lstrip(" \t")
            self._is_final = line.strip("\n") != ""
            return _upto(text, 0, stop, "", self._closing)
        span = _upto(text, self._start, stop, opening, self._closing)
        self._is_final = stop >= 0 and span.end < len(text)
        return span


def thinking_in(text: str, *, opened: bool = False) -> ReasoningSpan | None:
    """Return the span of the thinking in an answer, if any; `opened` says that the
    prompt ended with the opening mark."""
    return ThinkingFinder(opened=opened).find(text)


def opens(prompt: str) -> bool:
    """Return whether a prompt ends with an opening mark, so that the answer begins with
    thinking."""
    return prompt.rstrip().endswith(tuple(opening.rstrip() for opening, _ in MARKS))


def before_thinking(prompt: str) -> tuple[str, tuple[str, str] | None]:
    """Return a prompt without the thinking, open or empty, that it ends with, and its
    marks; the whole prompt and None where it ends with none."""
    for opening, closing in MARKS:
        mark, end = re.escape(opening.rstrip()), re.escape(closing)
        if match := re.search(rf"(?:{mark}\s*)?{end}\s*$|{mark}\s*$", prompt):
            return prompt[: match.start()], (opening, closing)
    return prompt, None


def behind_thinking(answer: str) -> str:
    """Return what a template wrote of an answer, without an open or empty thinking at
    its beginning."""
    for opening, closing in MARKS:
        mark, end = re.escape(opening.rstrip()), re.escape(closing)
        if match := re.match(rf"\s*(?:{mark}\s*)?{end}\s*|\s*{mark}\s*", answer):
            return answer[match.end() :]
    return answer


def marks_of(template: str) -> tuple[str, str] | None:
    """Return the marks around thinking that a chat template writes or looks for; None
    if it has none."""
    pairs = ((a, b) for a, b in MARKS if a.rstrip() in template and b in template)
    return next(pairs, None)
