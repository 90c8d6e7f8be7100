"""Find and replace in a text: words, or a regular expression, with a time limit.

Matches never overlap; the first one wins. Regular expressions are those of the `regex`
package, which ends at a time limit.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from lmtui.errors import LmtuiError

Span = tuple[int, int]
"""Start and end, offsets in code points."""

SECONDS = 0.2
"""Time limit of a search for a regular expression, which holds up the caller. `regex`
measures the processor time of all threads: beside a busy model it ends sooner."""
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
        return self.match_case or any(map(str.isupper, words))


@dataclass(frozen=True, slots=True)
class Matches:
    spans: Sequence[Span] = ()
    groups: Sequence[Any] = ()
    """Match objects of a regular expression, for templates; none for words."""
    cut_off: bool = False
    """Whether the search ended at its time limit, so that later matches are
    missing."""

    def __len__(self) -> int:
        return len(self.spans)

    def within(self, low: int, high: int) -> Sequence[Span]:
        """Return the spans of the matches that overlap an interval."""
        first = bisect_right(self.spans, low, key=itemgetter(1))
        return self.spans[first : bisect_left(self.spans, high, key=itemgetter(0))]

    def at(self, position: int) -> int | None:
        """Return the number of the match that begins at an offset, else of the one that
        ends there, else None."""
        for edge in (0, 1):
            number = bisect_left(self.spans, position, key=itemgetter(edge))
            if number < len(self) and self.spans[number][edge] == position:
                return number
        return None

    def at_or_after(self, position: int) -> int | None:
        """Return the number of the first match at or after an offset, else the first of
        all."""
        if not self.spans:
            return None
        return bisect_left(self.spans, position, key=itemgetter(0)) % len(self)

    def before(self, position: int) -> int | None:
        """Return the number of the last match that begins before an offset, else the
        last."""
        after = self.at_or_after(position)
        return None if after is None else (after - 1) % len(self)

    def replacements(self, by: str, numbers: Iterable[int]) -> list[str]:
        r"""Return what replaces the matches with these numbers.

        It is `by`; of a regular expression `by` is a template, in which `\1` and
        `\g<name>` stand for the groups of the match.

        Raises:
            LmtuiError: the template is not valid.
        """
        if not self.groups:
            return [by for _ in numbers]
        try:
            return [self.groups[number].expand(by) for number in numbers]
        except IndexError:
            raise LmtuiError("there is no such group") from None
        except Exception as error:
            raise _not_valid(error) from None


def find(text: str, query: Query, seconds: float = SECONDS) -> Matches:
    """Return all matches in `text`; none for an empty search text.

    A regular expression is searched for at most `seconds`; the matches up to then are
    returned.

    Raises:
        LmtuiError: the regular expression is not valid; the title says why.
    """
    if not query.words:
        return Matches()
    pattern = _compiled(query)
    if not query.regex:
        return Matches([match.span() for match in pattern.finditer(text)])
    found: list[Any] = []
    cut_off = False
    try:
        found.extend(pattern.finditer(text, timeout=seconds))
    except TimeoutError:
        cut_off = True
    return Matches([match.span() for match in found], found, cut_off)


def replaced(text: str, spans: Sequence[Span], texts: Sequence[str]) -> str:
    """Return `text` with one of `texts` in place of each span; the spans are in
    order."""
    parts: list[str] = []
    end = 0
    for (start, following), by in zip(spans, texts, strict=True):
        parts += (text[end:start], by)
        end = following
    return "".join((*parts, text[end:]))


def _compiled(query: Query) -> Any:
    import regex  # imported here: it takes 25 ms

    flags = regex.MULTILINE if query.case_matters else regex.MULTILINE | regex.I
    words = query.words if query.regex else regex.escape(query.words)
    try:
        pattern = regex.compile(words, flags)
        if not query.whole_words:
            return pattern
        # The newline ends a comment of a verbose pattern.
        inner = words + ("\n" if pattern.flags & regex.VERBOSE else "")
        return regex.compile(rf"(?<!\w)(?:{inner})(?!\w)", flags)
    except RecursionError:
        raise LmtuiError("too many parentheses") from None
    except (regex.error, ValueError, KeyError, OverflowError) as error:
        raise _not_valid(error) from None


def _not_valid(error: Exception) -> LmtuiError:
    where = getattr(error, "pos", None)
    at = f", character {where + 1}" if isinstance(where, int) else ""
    return LmtuiError(str(getattr(error, "msg", None) or error) + at)
