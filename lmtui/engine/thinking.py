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
MARKS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    CHANNELS,
    ("<|channel>thought", "<channel|>"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<mm:think>", "</mm:think>"),
)
"""Opening and closing mark: the first pair in the chat templates of Qwen3, DeepSeek-R1,
SmolLM3 and others, then those of Magistral, gpt-oss, Gemma 4, Seed-OSS, Command A,
Apertus and MiniMax-M3."""

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


class ThinkingFinder:
    """Finds the thinking in an answer that grows, without reading it again each time.

    After every `find` the result is that of `thinking_in` for the text so far.
    """

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
        if self._opening:
            while text.startswith("\n", self._start):
                self._start += 1
            marks = [dict(MARKS)[self._opening]]
            self._searched = max(self._searched, self._start)
        else:
            marks = [closing for _, closing in MARKS]
        found = [(at, m) for m in marks if (at := text.find(m, self._searched)) >= 0]
        if found:
            self._stop, self._closing = min(found)
        else:
            longest = max(map(len, marks))
            self._searched = max(self._searched, len(text) - longest + 1)

    def _found(self, text: str) -> ReasoningSpan | None:
        opening, stop = self._opening or "", self._stop
        if not (opening or self._opened):
            # Nothing has opened it: the closing mark counts at the end of a line only.
            if stop < 0:
                return None
            spoken_of = any(text.find(mark, 0, stop) >= 0 for mark, _ in MARKS)
            if spoken_of or not _ALONE.match(text, stop):
                self._is_final = True
                return None
            line = text[stop + len(self._closing) :].lstrip(" \t")
            self._is_final = line.strip("\n") != ""
            return _upto(text, 0, stop, "", self._closing)
        span = _upto(text, self._start, stop, opening, self._closing)
        self._is_final = stop >= 0 and span.end < len(text)
        return span


def opens(prompt: str) -> bool:
    """Return whether a prompt ends with an opening mark, so that the answer begins with
    thinking."""
    return prompt.rstrip().endswith(tuple(opening for opening, _ in MARKS))
