"""Find and replace in a text: words, or a regular expression, with a time limit.

Matches never overlap; the first one wins. Regular expressions are those of the `regex`
package, which releases the GIL while it matches and ends at a time limit.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lmtui.errors import LmtuiError

Span = tuple[int, int]
"""Start and end, offsets in code points."""

SECONDS = 1.0
"""Time limit of a search for a regular expression."""
_ESCAPED = re.compile(r"\\.|\(\?P?[<=][^>)]*", re.DOTALL)
"""Parts of a regular expression whose capitals are not letters of the text."""


@dataclass(frozen=True, slots=True)
class Query:
    words: str = ""
    match_case: bool = False
    """Whether case always matters; otherwise it does if the words have a capital."""
    whole_words: bool = False
    """Whether no letter, digit or underscore may adjoin a match."""
    regex: bool = False
    """Whether the words are a regular expression; ^ and $ match at every line."""

    @property
    def case_matters(self) -> bool:
        words = _ESCAPED.sub("", self.words) if self.regex else self.words
        return self.match_case or has_capital(words)


@dataclass(frozen=True, slots=True)
class Matches:
    starts: Sequence[int] = ()
    ends: Sequence[int] = ()
    cut_off: bool = False
    """Whether the search ended at its time limit, so that later matches are
    missing."""

    def __len__(self) -> int:
        return len(self.starts)

    def span(self, number: int) -> Span:
        return self.starts[number], self.ends[number]

    def spans(self) -> tuple[Span, ...]:
        return tuple(zip(self.starts, self.ends, strict=True))

    def within(self, low: int, high: int) -> tuple[Span, ...]:
        """Return the spans of the matches that overlap an interval."""
        first = bisect_right(self.ends, low)
        end = bisect_left(self.starts, high)
        return tuple(map(self.span, range(first, end)))

    def at(self, position: int) -> int | None:
        """Return the number of the match that begins at an offset, else of the one that
        ends there, else None."""
        for edges in (self.starts, self.ends):
            number = bisect_left(edges, position)
            if number < len(edges) and edges[number] == position:
                return number
        return None

    def at_or_after(self, position: int) -> int | None:
        """Return the number of the first match at or after an offset, else the first of
        all."""
        if not self.starts:
            return None
        return bisect_left(self.starts, position) % len(self.starts)

    def before(self, position: int) -> int | None:
        """Return the number of the last match that begins before an offset, else the
        last."""
        if not self.starts:
            return None
        return (bisect_left(self.starts, position) - 1) % len(self.starts)


def find(text: str, query: Query, seconds: float = SECONDS) -> Matches:
    """Return all matches in `text`; none for an empty search text.

    A regular expression is searched for at most `seconds`; the matches up to then are
    returned.

    Raises:
        LmtuiError: the regular expression is not valid; the title says why.
    """
    if not query.words:
        return Matches()
    if not query.regex:
        spans = [match.span() for match in _pattern_of_words(query).finditer(text)]
        return _matches(spans)
    spans = []
    try:
        for match in _search(text, query, seconds):
            spans.append(match.span())
    except TimeoutError:
        return _matches(spans, cut_off=True)
    return _matches(spans)


def has_capital(words: str) -> bool:
    return any(character.isupper() for character in words)


def replacements(
    text: str, query: Query, by: str, numbers: range, seconds: float = SECONDS
) -> list[str]:
    r"""Return what replaces the matches with these numbers.

    It is `by`; of a regular expression `by` is a template, in which `\1` and `\g<name>`
    stand for the groups of the match.

    Raises:
        LmtuiError: the template is not valid, or the time is over.
    """
    if not query.regex:
        return [by] * len(numbers)
    if wrong := wrong_template(query, by):
        raise LmtuiError(wrong)
    matches = islice(_search(text, query, seconds), numbers.start, numbers.stop)
    try:
        return [match.expand(by) for match in matches]
    except TimeoutError:
        raise LmtuiError("the search takes too long") from None


def wrong_template(query: Query, by: str) -> str:
    """Return why `by` can't replace the matches of a regular expression; "" where it
    can, or where the expression itself is not valid."""
    if not query.regex:
        return ""
    try:
        compiled = _compiled(query)
    except LmtuiError:
        return ""
    names = {number: name for name, number in compiled.groupindex.items()}
    groups = (names.get(number, "") for number in range(1, compiled.groups + 1))
    same = "".join(f"(?P<{name}>)" if name else "()" for name in groups)
    try:
        re.compile(same).sub(by, "")
    except (re.error, IndexError, ValueError) as error:
        return str(getattr(error, "msg", None) or error)
    return ""


def replaced(text: str, spans: Sequence[Span], texts: Sequence[str]) -> str:
    """Return `text` with one of `texts` in place of each span; the spans are in
    order."""
    parts: list[str] = []
    end = 0
    for (start, following), by in zip(spans, texts, strict=True):
        parts += (text[end:start], by)
        end = following
    return "".join((*parts, text[end:]))


def _matches(spans: Sequence[Span], *, cut_off: bool = False) -> Matches:
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    return Matches(starts, ends, cut_off)


def _pattern_of_words(query: Query) -> re.Pattern[str]:
    words = re.escape(query.words)
    words = rf"(?<!\w){words}(?!\w)" if query.whole_words else words
    return re.compile(words, re.NOFLAG if query.case_matters else re.IGNORECASE)


def _compiled(query: Query) -> Any:
    import regex  # imported here: most searches are for words

    flags = regex.MULTILINE if query.case_matters else regex.MULTILINE | regex.I
    try:
        pattern = regex.compile(query.words, flags)
        if not query.whole_words:
            return pattern
        # The newline ends a comment of a verbose pattern.
        inner = query.words + ("\n" if pattern.flags & regex.VERBOSE else "")
        return regex.compile(rf"(?<!\w)(?:{inner})(?!\w)", flags)
    except RecursionError:
        raise LmtuiError("too many parentheses") from None
    except (regex.error, ValueError, KeyError, OverflowError) as error:
        where = getattr(error, "pos", None)
        reason = str(getattr(error, "msg", None) or error)
        at = f", character {where + 1}" if isinstance(where, int) else ""
        raise LmtuiError(reason + at) from None


def _search(text: str, query: Query, seconds: float) -> Iterator[Any]:
    pattern, end = _compiled(query), time.monotonic() + seconds
    for match in pattern.finditer(text, timeout=seconds, concurrent=True):
        yield match
        if time.monotonic() > end:
            raise TimeoutError
