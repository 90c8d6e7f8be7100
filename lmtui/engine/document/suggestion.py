"""Suggestion rules: when a suggestion at a cursor ends, and which part of it is shown.

A suggestion is a prefix of the model's text, in whole characters. If the model was
interrupted, it ends with a whole word. It never repeats the text after the cursor, nor
four words in a row of its own or of the text just before it. Knows strings and
probabilities; no model.
"""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from lmtui.engine.document.words import can_cut, in_word, word_end
from lmtui.setting_field import setting

_FOLLOWING = 8192  # code points after the cursor that a suggestion is compared with
_REPEATED = 24  # that many equal ones, without white space, are no coincidence
_LINE_REPEATED = 2  # a shorter rest of a line may be equal by coincidence
_PRECEDING = 200  # code points before the cursor that a suggestion may not repeat
_LOOP = 4  # that many equal words in a row are no coincidence
_WORD = re.compile(r"\S+")
_MARKS = ".,;:!?…-–—*_'\"“”‘’«»()[]{}|"


@dataclass(frozen=True, slots=True)
class SuggestionRules:
    """When a suggestion is shown, and what ends it besides an end token and a full
    context."""

    delay: float = setting(
        0.15,
        "Seconds after the last key at which the editor shows a suggestion, which the "
        "model writes meanwhile; 0 shows it at every key.",
        low=0,
        high=60,
        key="ghost_delay",
        flag=None,
    )
    max_tokens: int = setting(
        48,
        "Maximum number of tokens of a suggestion in the editor.",
        low=1,
        high=4096,
        key="ghost_tokens",
        flag=None,
    )
    seconds: float | None = setting(
        0.6,
        "A suggestion ends with the first whole word after this many seconds.",
        low=0,
        high=600,
        key="ghost_seconds",
        flag=None,
    )
    min_prob: float | None = setting(
        0.05,
        "A suggestion ends before the token with which the probability of all of it, "
        "the product of those of its tokens, falls below this.",
        low=0,
        high=1,
        key="ghost_prob",
        flag=None,
    )
    spare_following: bool = True
    """Never suggest what already follows the cursor."""


class SuggestionBuilder:
    """Suggestion that is built token by token; the part shown never shrinks.

    `before` and `after` are the text on both sides of the cursor. `sees_after` says
    that the model read `after` too (fill-in-the-middle), so that its end token means
    that both sides meet.
    """

    def __init__(
        self,
        rules: SuggestionRules,
        after: str = "",
        *,
        before: str = "",
        sees_after: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._before = before[-_PRECEDING:]
        self._after = after[:_FOLLOWING] if rules.spare_following else ""
        self._sees_after = sees_after
        self._clock = clock
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._tokens = 0
        self._prob = 1.0  # of all tokens together
        self._started = 0.0
        self.shown = ""
        """Part that is certain to be in the suggestion; it only grows."""
        self.suggestion: str | None = None
        """The suggestion, once it has ended; empty if there is nothing to suggest."""

    def feed(self, data: bytes, prob: float) -> bool:
        """Add a token other than an end token; return False once the suggestion has
        ended."""
        if self.suggestion is None:
            self._add(data, prob)
        return self.suggestion is None

    def finish(self, *, done: bool = False) -> str:
        """End the suggestion for a reason outside these rules. Unless the model itself
        is `done`, with an end token, it may be within a word."""
        if self.suggestion is None:
            self._finish(len(self._text), done=done)
        assert self.suggestion is not None
        return self.suggestion

    def _add(self, data: bytes, prob: float) -> None:
        if self._tokens == 0:
            self._started = self._clock()
        self._tokens += 1
        self._prob *= prob
        before = len(self._text)
        whole = self._decode(data)
        least = self._rules.min_prob
        if not whole or (least is not None and self._prob < least):
            self._finish(before)
        elif (
            _repeated_from(self._text, self._after) is not None
            or loop_start(self._before, self._text) is not None
            or self._tokens >= self._rules.max_tokens
            or (self._late() and self._text[: self._last_word()].strip())
        ):
            self._finish(len(self._text))
        else:
            self.shown = self._certain_text()

    def _decode(self, data: bytes) -> bool:
        """Append whole characters; return False for bytes that can't become any."""
        try:
            self._text += self._decoder.decode(data)
        except UnicodeDecodeError:
            return False
        return True

    def _late(self) -> bool:
        limit = self._rules.seconds
        return limit is not None and self._clock() - self._started >= limit

    def _last_word(self) -> int:
        return word_end(self._text, len(self._text))

    def _certain_text(self) -> str:
        """Return the part that no later token can remove."""
        if _begins_with_word(self._after):
            return ""  # whether it joins that word is known only at its end
        sure = self._text[: self._last_word()]
        certain = min(_agreement(sure, self._after), _possible_loop(self._before, sure))
        kept = sure[:certain].rstrip()
        return "" if _repeats(kept, self._after) else kept

    def _finish(self, size: int, *, done: bool = False) -> None:
        written = self._text[: size if done else word_end(self._text, size)]
        start = loop_start(self._before, f"{written} ")
        self.shown = self.suggestion = self._without_overlap(
            written[:start], done=done and start is None
        )

    def _without_overlap(self, text: str, *, done: bool) -> str:
        """Return `text` without the part that repeats `after`; empty where the two
        can't be adjacent."""
        after = self._after
        if not text.strip() or _repeats(text, after):
            return ""
        cut = _repeated_from(text, after)
        if cut is None:
            cut = _overlap(text, after)
        kept = text[:cut]
        if not after or after[0].isspace():
            kept = kept.rstrip()
        if not kept.strip() or _repeats(kept, after):
            return ""
        free = cut < len(text) or not _begins_with_word(after)
        return kept if free or self._may_touch(kept, done) else ""

    def _may_touch(self, text: str, done: bool) -> bool:
        """Return whether `text` may stand directly before the word that follows."""
        if self._sees_after:
            return done or not in_word(text[-1])
        return text[-1].isspace()


def _begins_with_word(text: str) -> bool:
    return bool(text) and in_word(text[0])


def _without_space(text: str) -> str:
    return "".join(text.split())


def _repeats(text: str, after: str) -> bool:
    """Return whether `text` is only a prefix of `after`, white space aside."""
    squeezed = _without_space(text)
    return bool(squeezed) and _without_space(after).startswith(squeezed)


def _overlap(text: str, after: str) -> int:
    """Return where the longest suffix of `text` begins that is a prefix of `after`.

    Before a word, the suffix has to begin with a word: one equal letter means nothing.
    """
    whole = _begins_with_word(after)
    for offset in range(len(text)):
        if after.startswith(text[offset:]) and (not whole or can_cut(text, offset)):
            return offset
    return len(text)


def _agreement(text: str, after: str) -> int:
    """Return the offset from which `text` may turn out to repeat `after`: like
    `_overlap`, white space aside."""
    following = _without_space(after)
    for offset, character in enumerate(text):
        if not character.isspace() and following.startswith(
            _without_space(text[offset:])
        ):
            return offset
    return len(text)


def _repeated_from(text: str, after: str) -> int | None:
    """Return where `text` begins to repeat the rest of the line, or the next line, if
    it surely does."""
    rest = _without_space(after.partition("\n")[0])[:_REPEATED]
    if rest:
        return _find_squeezed(text, rest) if len(rest) >= _LINE_REPEATED else None
    following = _without_space(next((ln for ln in after.split("\n") if ln.strip()), ""))
    if len(following) < _LINE_REPEATED:
        return None
    start = 0
    for line in text.split("\n")[:-1]:  # the last one is not complete
        if _without_space(line) == following:
            return start
        start += len(line) + 1
    return None


def _find_squeezed(text: str, target: str) -> int | None:
    """Return where `target`, which has no white space, begins in `text`, white space
    aside."""
    offsets = [i for i, character in enumerate(text) if not character.isspace()]
    start = _without_space(text).find(target)
    return offsets[start] if start >= 0 else None


def loop_start(before: str, text: str) -> int | None:
    """Return where `text` begins to repeat four words in a row that stand in `before`
    or in itself; 0 where that begins in `before`, None where nothing is repeated.

    Words are compared without the punctuation around them, once white space has ended
    them. Mostly marks, such as those of a list or a table, are no repetition.
    """
    matches = [m for m in _WORD.finditer(before + text) if m.end() < m.endpos]
    words = [match[0].strip(_MARKS) for match in matches]
    seen: set[tuple[str, ...]] = set()
    for first, last in enumerate(matches[_LOOP - 1 :]):
        run = tuple(words[first : first + _LOOP])
        if run in seen and run.count("") < 3 and last.end() > len(before):
            return max(0, matches[first].start() - len(before))
        seen.add(run)
    return None


def _possible_loop(before: str, text: str) -> int:
    """Return where the last words of `text` begin that may become a repetition; its
    length if none can. The last one may not be whole."""
    matches = list(_WORD.finditer(before + text))
    words = [match[0].strip(_MARKS) for match in matches]
    for first in range(max(0, len(words) - _LOOP), len(words)):
        *whole, last = words[first:]
        for earlier in range(first):
            end = earlier + len(whole)
            if words[earlier:end] == whole and words[end].startswith(last):
                return max(0, matches[first].start() - len(before))
    return len(text)
